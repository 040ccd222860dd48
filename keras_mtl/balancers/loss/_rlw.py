"""Random weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_mtl._checks import check_one_of, check_seed
from keras_mtl._math import masked_softmax
from keras_mtl.balancers._base import Source, registry
from keras_mtl.balancers._loss import LossBalancer

_DISTRIBUTIONS = ("normal", "uniform", "dirichlet", "bernoulli", "constrained_bernoulli")


@registry.register("rlw")
class RLW(LossBalancer):
    """Draws new weights at random in each step.

    The weights add up to 1 over the tasks in the batch, and are equal on the average. Use it as a yardstick: a method
    that is no better than random weights has not earned its cost.

    Source: B. Lin, F. Ye, Y. Zhang, I. W. Tsang, "Reasonable Effectiveness of Random Weighting: A Litmus Test for
    Multi-Task Learning", TMLR 2022. A task's `weight` multiplies its weight here; the paper has none. LibMTL, the
    authors' code, takes the softmax of Dirichlet numbers as well, which brings them close to equal, and leaves the sum
    of Bernoulli numbers as it is.

    Args:
        distribution: what the weights are drawn from. `"normal"` and `"uniform"`: the softmax of standard normal
            numbers, or of numbers between 0 and 1. `"dirichlet"`: evenly from all positive weights with the sum 1.
            `"bernoulli"`: each task is in or out by the toss of a coin, at least one is in, and all that are in weigh
            the same. `"constrained_bernoulli"`: one task has all the weight. Defaults to `"normal"`.
        seed: an integer. Defaults to a random one.
        **kwargs: the arguments of `keras.layers.Layer`: `name`, `trainable`, and `dtype`, by default float32.

    Raises:
        ValueError: if the distribution is unknown, or the seed is no integer.

    Example:

    >>> import numpy as np
    >>> from keras_mtl import balancers
    >>> weights = balancers.RLW(seed=0)(np.array([0.5, 1.0]), np.array([True, True])).numpy()
    >>> bool(np.all(weights > 0)), round(float(weights.sum()), 3)
    (True, 1.0)
    """

    source = Source(
        "Lin et al.",
        "Reasonable Effectiveness of Random Weighting: A Litmus Test for Multi-Task Learning",
        "TMLR",
        2022,
        "2111.10603",
    )

    def __init__(self, distribution: str = "normal", seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.distribution = check_one_of(distribution, "distribution", _DISTRIBUTIONS)
        self.seed = check_seed(seed)

    def build(self, input_shape: Sequence[int]) -> None:
        """Creates the random generator, on every replica of the strategy that is in force."""
        if not self.built:
            self.seed_generator = keras.random.SeedGenerator(self.seed)
        super().build(input_shape)

    def call(self, losses: Any, active: Any) -> Any:
        """Random weights with the sum 1."""
        num_tasks = losses.shape[0]
        draw = keras.random.normal if self.distribution == "normal" else keras.random.uniform
        with self.random_streams_kept_unless(ops.any(active)):
            numbers = ops.cast(draw((num_tasks,), seed=self.seed_generator, dtype="float32"), self.compute_dtype)
        weights = self._weights(numbers, active)
        return self.preference(num_tasks) * weights

    def _weights(self, numbers: Any, active: Any) -> Any:
        if self.distribution == "dirichlet":
            # Exponential numbers, divided by their sum, are Dirichlet numbers with the parameters 1.
            return masked_softmax(ops.log(ops.maximum(-ops.log1p(-numbers), 1e-30)), active)
        if self.distribution == "bernoulli":
            chosen = _some(numbers, active)
            return ops.divide_no_nan(chosen, ops.sum(chosen))
        if self.distribution == "constrained_bernoulli":
            first = ops.argmax(ops.where(active, numbers, -1.0))
            one = ops.one_hot(first, numbers.shape[0], dtype=numbers.dtype)
            return one * ops.cast(active, numbers.dtype)
        return masked_softmax(numbers, active)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "distribution": self.distribution, "seed": self.seed}


def _some(numbers: Any, active: Any) -> Any:
    """Fair coins for the active tasks, given that not all show tails: 1 and 0, `[num_tasks]`.

    One coin after the other: while none has shown heads, the chance of heads with n coins to come is (1/2) / (1 -
    2^-n). That is the same as to toss all of them again and again until one shows heads, without an end that is open.
    """
    counted = ops.cast(active, numbers.dtype)
    to_come = ops.flip(ops.cumsum(ops.flip(counted)))
    given_none = ops.divide_no_nan(0.5 * counted, 1 - ops.power(ops.cast(0.5, numbers.dtype), to_come))
    some, coins = ops.zeros((), numbers.dtype), []
    for task in range(numbers.shape[0]):
        chance = ops.where(some > 0, 0.5, given_none[task])
        coins.append(counted[task] * ops.cast(numbers[task] < chance, numbers.dtype))
        some = some + coins[-1]
    return ops.stack(coins)
