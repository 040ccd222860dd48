"""Random weights of the gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_mtl._checks import check_seed
from keras_mtl.balancers._base import Source, registry
from keras_mtl.balancers._gradient import GramianBalancer


@registry.register("random")
class Random(GramianBalancer):
    """Weighs the gradients by random numbers of sum 1, drawn anew in each step.

    The weights are the softmax, over the active tasks, of independent numbers from the standard normal distribution.
    They look at nothing: use it as the baseline that a method which does should beat.

    Source: B. Lin, F. Ye, Y. Zhang, I. W. Tsang, "Reasonable Effectiveness of Random Weighting: A Litmus Test for
    Multi-Task Learning", TMLR 2022: random gradient weighting. Only the gradients of the shared parameters are
    weighted. A task's `weight` multiplies its loss beforehand.

    Args:
        seed: an integer for the weights. Defaults to a random one.
        **kwargs: `gradients` and `update_every`, as in `GramianBalancer`, and the arguments of `keras.layers.Layer`.

    Raises:
        ValueError: if `seed` is not an integer.

    Example:

    >>> from keras_mtl import balancers
    >>> direction = balancers.Random(seed=0).direction([[1.0, 0.0], [0.0, 1.0]]).numpy()
    >>> round(float(direction.sum()), 4)
    1.0
    """

    source = Source(
        "Lin et al.",
        "Reasonable Effectiveness of Random Weighting: A Litmus Test for Multi-Task Learning",
        "TMLR",
        2022,
        "2111.10603",
    )
    needs = "nothing"
    cost = "little"
    compares = False
    needs_gramian = False

    def __init__(self, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = check_seed(seed)

    def build(self, input_shape: Sequence[int]) -> None:
        """Creates the random generator, on every replica of the strategy that is in force."""
        if not self.built:
            self.seed_generator = keras.random.SeedGenerator(self.seed)
        super().build(input_shape)

    def call(self, gramian: Any, active: Any) -> Any:
        """The softmax of normal numbers."""
        numbers = keras.random.normal((gramian.shape[0],), seed=self.seed_generator, dtype="float32")
        powers = ops.where(active, ops.exp(ops.cast(numbers, gramian.dtype)), 0.0)
        return ops.divide_no_nan(powers, ops.sum(powers))

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "seed": self.seed}
