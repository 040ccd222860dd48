"""Gradient surgery: each gradient loses what points against another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_mtl._checks import check_seed
from keras_mtl.balancers._base import Source, registry
from keras_mtl.balancers._gradient import GramianBalancer


@registry.register("pcgrad")
class PCGrad(GramianBalancer):
    """Projects each task's gradient off those that it conflicts with, and adds up what is left.

    For each task, the other tasks' gradients are gone through in a random order, and where the task's gradient, as far
    as it has been projected, has a negative inner product with another, it is projected on the plane normal to that
    other. Use it where the tasks' gradients often point apart.

    Source: T. Yu, S. Kumar, A. Gupta, S. Levine, K. Hausman, C. Finn, "Gradient Surgery for Multi-Task Learning",
    NeurIPS 2020, algorithm 1. As there, the result is the sum of the projected gradients, and projections are on the
    other tasks' gradients as they came, not as they were projected. The projections are carried out on the Gramian,
    which is the same arithmetic without another pass over the parameters. The paper has no weights of tasks: here a
    task's `weight` multiplies its loss beforehand. The official code projects the gradients of all parameters together,
    those of one task alone among them; here these keep the gradient of their own loss.

    Args:
        seed: an integer for the order of projections. Defaults to a random one. With two tasks there is no choice.
        **kwargs: `gradients` and `update_every`, as in `GramianBalancer`, and the arguments of `keras.layers.Layer`.

    Example:

    >>> from keras_mtl import balancers
    >>> balancers.PCGrad().direction([[1.0, 0.0], [-1.0, 1.0]]).numpy()
    array([0.5, 1.5], dtype=float32)
    """

    source = Source("Yu et al.", "Gradient Surgery for Multi-Task Learning", "NeurIPS", 2020, "2001.06782")

    def __init__(self, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = check_seed(seed)

    def build(self, input_shape: Sequence[int]) -> None:
        """Creates the random generator, on every replica of the strategy that is in force."""
        if not self.built:
            self.seed_generator = keras.random.SeedGenerator(self.seed)
        super().build(input_shape)

    def call(self, gramian: Any, active: Any) -> Any:
        """The sum of the rows of the projections' coefficients."""
        num_tasks = gramian.shape[0]
        tasks = ops.arange(num_tasks, dtype="int32")
        counted = ops.cast(active, gramian.dtype)
        squared_norms = ops.diagonal(gramian)
        # A random order of the tasks in each row: sorting uniform numbers shuffles.
        numbers = keras.random.uniform((num_tasks, num_tasks), seed=self.seed_generator, dtype="float32")
        order = ops.cast(ops.argsort(numbers, axis=1), "int32")
        # Row i has the coefficients of task i's gradient, as far as it is projected: [num_tasks, num_tasks].
        projected = ops.eye(num_tasks, dtype=gramian.dtype)
        for position in range(num_tasks):
            other = order[:, position]
            product = ops.sum(projected * ops.take(gramian, other, axis=0), axis=1)
            conflict = ops.logical_and(product < 0, other != tasks)
            step = ops.where(conflict, ops.divide_no_nan(product, ops.take(squared_norms, other)), 0.0)
            projected = projected - ops.expand_dims(step, 1) * ops.one_hot(other, num_tasks, dtype=gramian.dtype)
        return ops.sum(ops.expand_dims(counted, 1) * projected, axis=0)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "seed": self.seed}
