"""Gradient sign dropout: each number of the gradient takes one sign."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_mtl._checks import check_fraction, check_seed
from keras_mtl.balancers._base import Source, registry
from keras_mtl.balancers._gradient import GradientBalancer


@registry.register("graddrop")
class GradDrop(GradientBalancer):
    """Picks one sign for each number of the gradient at random, and adds up the tasks that have that sign there.

    Positive is picked with the probability `(1 + sum / sum of sizes) / 2` over the tasks: their purity. Where the
    tasks agree nothing is dropped. Use it where tasks conflict in some parameters and not in others.

    Source: Z. Chen, J. Ngiam, Y. Huang, T. Luong, H. Kretzschmar, Y. Chai, D. Anguelov, "Just Pick a Sign: Optimizing
    Deep Multitask Models with Gradient Sign Dropout", NeurIPS 2020, algorithm 1. Differs from the paper: there it is a
    layer at the end of the shared part, acts on the gradients of the activations, multiplied by the signs of these and
    summed over the batch, and its function of the purity may be another than the identity. Here it acts on the
    gradients of the shared parameters. The paper's leak may differ between tasks; here there is one.

    Args:
        leak: how much of what would be dropped is kept, from 0 to 1, where it is the sum of the gradients. Defaults
            to 0.
        seed: an integer for the signs. Defaults to a random one.
        **kwargs: the arguments of `keras.layers.Layer`: `name`, `trainable`, and `dtype`, by default float32.

    Raises:
        ValueError: if `leak` is not a number from 0 to 1, or `seed` not an integer.

    Example:

    >>> from keras_mtl import balancers
    >>> direction = balancers.GradDrop(seed=0).direction([[1.0, 3.0, -2.0], [2.0, -1.0, -2.0]]).numpy()
    >>> direction[0], direction[1] in (3.0, -1.0), direction[2]
    (np.float32(3.0), True, np.float32(-4.0))
    """

    by_number = True
    source = Source(
        "Chen et al.",
        "Just Pick a Sign: Optimizing Deep Multitask Models with Gradient Sign Dropout",
        "NeurIPS",
        2020,
        "2010.06808",
    )

    def __init__(self, leak: float = 0.0, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.leak = check_fraction(leak, "leak")
        self.seed = check_seed(seed)

    def build(self, input_shape: Sequence[int]) -> None:
        """Creates the random generator, on every replica of the strategy that is in force."""
        if not self.built:
            self.seed_generator = keras.random.SeedGenerator(self.seed)
        super().build(input_shape)

    def call(self, jacobian: Any, active: Any) -> Any:
        """The sum of the numbers of the sign that is picked, and the leak of the rest."""
        del active  # its gradient is zero
        # Two sums of one kind, which add in one order: else `below` would not be exactly 0 where the tasks agree.
        total = ops.sum(jacobian, axis=0)  # [num_parameters]
        above = ops.sum(ops.relu(jacobian), axis=0)
        below = total - above  # what is negative: exactly 0, or the total, where the tasks agree
        numbers = keras.random.uniform(above.shape, seed=self.seed_generator, dtype="float32")
        # The paper's probability of the positive sign, (1 + sum / sum of sizes) / 2, is above / (above - below).
        kept = ops.where(ops.cast(numbers, above.dtype) * (above - below) < above, above, below)
        return kept if self.leak == 0 else self.leak * total + (1.0 - self.leak) * kept

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "leak": self.leak, "seed": self.seed}
