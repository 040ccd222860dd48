"""Gradient vaccine: gradients are turned towards each other, as far as they usually are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mtl._checks import check_fraction, check_seed
from keras_mtl.balancers._base import Source, registry
from keras_mtl.balancers._gradient import GramianBalancer

# A target this near to 1 would need an unbounded multiple of the other task's gradient.
_LARGEST_TARGET = 1 - 1e-6


@registry.register("gradvac")
class GradVac(GramianBalancer):
    """Turns each task's gradient towards the others, to the angles that they usually have, and adds up the results.

    For each pair of tasks a moving average of the cosine of the angle between their gradients is kept. For each task,
    the other tasks' gradients are gone through in a random order, and where the cosine of the task's gradient, as far
    as it has been changed, with another is below its average, so much of that other is added that it becomes the
    average. PCGrad is the case in which all averages are 0. Use it where related tasks agree most of the time: it acts
    on gradients that agree less than usual, not only on those in conflict.

    Source: Z. Wang, Y. Tsvetkov, O. Firat, Y. Cao, "Gradient Vaccine: Investigating and Improving Multi-task
    Optimization in Massively Multilingual Models", ICLR 2021, algorithm 1. The whole of the shared parameters is one
    group; the paper also has a group for each layer. As in the paper, an average is updated in every step, by the
    cosine with the gradient as far as it has been changed; LibMTL updates it only where the cosine was below it. The
    arithmetic is carried out on the Gramian. A pair of which one task is not active, or has a zero gradient, has no
    cosine, and its average stays. A task's `weight` multiplies its loss beforehand.

    Args:
        beta: the share of the present cosine in its average, from 0 to 1. Defaults to 0.01.
        seed: an integer for the order of the other tasks. Defaults to a random one. With two tasks there is no choice.
        **kwargs: `gradients` and `update_every`, as in `GramianBalancer`, and the arguments of `keras.layers.Layer`.

    Raises:
        ValueError: if `beta` is not a number from 0 to 1, or `seed` not an integer.

    Example:

    >>> from keras_mtl import balancers
    >>> balancers.GradVac().direction([[1.0, 0.0], [-1.0, 1.0]]).numpy()
    array([0.5, 1.5], dtype=float32)
    """

    source = Source(
        "Wang et al.",
        "Gradient Vaccine: Investigating and Improving Multi-task Optimization in Massively Multilingual Models",
        "ICLR",
        2021,
        "2010.05874",
    )

    def __init__(self, beta: float = 0.01, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.beta = check_fraction(beta, "beta")
        self.seed = check_seed(seed)

    def build(self, input_shape: Sequence[int]) -> None:
        """Creates the averages of the cosines, zeros `[num_tasks, num_tasks]`, and the random generator."""
        if not self.built:
            self.targets = self.add_weight(
                shape=(input_shape[0], input_shape[0]), initializer="zeros", trainable=False, name="targets"
            )
            self.seed_generator = keras.random.SeedGenerator(self.seed)
        super().build(input_shape)

    def call(self, gramian: Any, active: Any) -> Any:
        """The sum of the rows of coefficients."""
        num_tasks = gramian.shape[0]
        tasks = ops.arange(num_tasks, dtype="int32")
        rounding = 4 * float(np.finfo(self.compute_dtype).eps) ** 0.5
        norms = ops.sqrt(ops.maximum(ops.diagonal(gramian), 0.0))
        inverse_norms = ops.divide_no_nan(ops.ones_like(norms), norms)
        present = ops.logical_and(active, norms > 0)
        cosines = gramian * ops.expand_dims(inverse_norms, 1) * ops.expand_dims(inverse_norms, 0)
        # A random order of the tasks in each row: sorting uniform numbers shuffles.
        numbers = keras.random.uniform((num_tasks, num_tasks), seed=self.seed_generator, dtype="float32")
        order = ops.cast(ops.argsort(numbers, axis=1), "int32")
        targets = ops.convert_to_tensor(self.targets)  # [num_tasks, num_tasks]: row i is that of task i's gradient
        # Row i has task i's gradient, as far as it is changed, of gradients of norm 1, in units of its own norm.
        unit = ops.eye(num_tasks, dtype=gramian.dtype)
        changed = unit
        for position in range(num_tasks):
            other = order[:, position]
            chosen = ops.one_hot(other, num_tasks, dtype=gramian.dtype)
            product = ops.sum(changed * ops.take(cosines, other, axis=0), axis=1)
            length = ops.sqrt(ops.maximum(ops.sum(ops.matmul(changed, cosines) * changed, axis=1), 0.0))
            # What is shorter is rounding: the task's gradient is used up, and has no angle.
            is_pair = ops.logical_and(
                ops.logical_and(present, ops.take(present, other)),
                ops.logical_and(other != tasks, length > rounding * ops.sum(ops.abs(changed), axis=1)),
            )
            cosine = ops.clip(ops.divide_no_nan(product, length), -1.0, 1.0)
            target = ops.sum(targets * chosen, axis=1)
            bounded = ops.clip(target, -_LARGEST_TARGET, _LARGEST_TARGET)
            ratio = ops.sqrt((1.0 - cosine) * (1.0 + cosine)) / ops.sqrt((1.0 - bounded) * (1.0 + bounded))
            added = ops.where(ops.logical_and(is_pair, cosine < target), length * (bounded * ratio - cosine), 0.0)
            changed = changed + ops.expand_dims(added, 1) * chosen
            moved = ops.where(is_pair, self.beta * (cosine - target), 0.0)
            targets = targets + ops.expand_dims(moved, 1) * chosen
        self.targets.assign(targets)
        scales = ops.expand_dims(norms, 1) * ops.expand_dims(inverse_norms, 0)
        return ops.sum(ops.expand_dims(ops.cast(active, gramian.dtype), 1) * (unit + (changed - unit) * scales), axis=0)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "beta": self.beta, "seed": self.seed}
