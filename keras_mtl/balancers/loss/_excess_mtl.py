"""Weights by how far each task is from its optimum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_mtl._checks import check_integer, check_number
from keras_mtl._math import largest, masked_softmax, multiplicative_update
from keras_mtl.balancers._base import Source, registry
from keras_mtl.balancers._loss import GradientNormBalancer


@registry.register("excess_mtl")
class ExcessMTL(GradientNormBalancer):
    """Gives more weight to tasks that are further from their optimum, whatever their loss is there.

    The excess risk of a task, what its loss is above the least that it can be, is estimated by `g @ inv(H) @ g` from
    its gradient `g`, with the diagonal matrix `H` of the roots of the sums of all squared gradients so far. It is
    divided by what it was at first, and the weights, which add up to 1, are multiplied by `exp(learning_rate *
    excess)`. Use it where the labels of some tasks are noisy: methods that look at losses would take the noise for a
    task that is hard.

    Source: Y. He, S. Zhou, G. Zhang, H. Yun, Y. Xu, B. Zeng, T. Chilimbi, H. Zhao, "Robust Multi-Task Learning with
    Excess Risks", ICML 2024. The official code adds 1e-7 under the root, which here only guards against a division by
    zero, and multiplies the weights by the number of tasks; give the tasks a `weight` of that number for it. By default
    the gradients are those of the features, not those of the shared parameters, which the official code takes:
    `gradients="shared"` here. A step in which a task's gradient is zero does not count as its first. The weights add up
    to 1 over the tasks in the batch. A task's `weight` multiplies its weight here; the paper has none. The state has a
    number for each task and each number of its gradient.

    Args:
        learning_rate: the step of the weights' logarithms, at least 0. Defaults to 0.01.
        warmup_steps: over how many steps of a task its first excess risk is the mean, at least 1; its weight is not
            moved in them. Defaults to 1, as in the official code.
        **kwargs: `gradients`, as in `GradientNormBalancer`, and the arguments of `keras.layers.Layer`.

    Raises:
        ValueError: if an argument is out of its range.

    Example:

    >>> import numpy as np
    >>> from keras_mtl import balancers
    >>> balancer = balancers.ExcessMTL(learning_rate=1.0)
    >>> losses, active = np.array([1.0, 1.0]), np.array([True, True])
    >>> balancer(losses, active, np.array([[2.0], [2.0]])).numpy()
    array([0.5, 0.5], dtype=float32)
    >>> balancer(losses, active, np.array([[2.0], [0.0]])).numpy().round(3)  # the second is at its optimum
    array([0.67, 0.33], dtype=float32)
    """

    source = Source("He et al.", "Robust Multi-Task Learning with Excess Risks", "ICML", 2024, "2402.02009")
    keeps_gradients = True

    def __init__(self, learning_rate: float = 0.01, warmup_steps: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.learning_rate = check_number(learning_rate, "learning_rate")
        self.warmup_steps = check_integer(warmup_steps, "warmup_steps")

    def build(self, input_shape: Sequence[int]) -> None:
        """Creates the sums of squares `[num_tasks, num_gradients]`, and the weights and first risks `[num_tasks]`."""
        if not self.built:
            shape = tuple(input_shape[:1])
            num_gradients = input_shape[1] if len(input_shape) > 1 else 0
            self.squared_gradients = self.add_weight(
                shape=(*shape, num_gradients), initializer="zeros", trainable=False, name="squared_gradients"
            )
            self.log_weights = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="log_weights")
            self.first_risks = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="first_risks")
            self.num_steps = self.add_weight(
                shape=shape, dtype="int32", initializer="zeros", trainable=False, name="num_steps"
            )
        super().build(input_shape)

    def __call__(self, losses: Any, active: Any, jacobian: Any) -> Any:
        """`call`, which needs to know the length of the gradients beforehand."""
        if not self.built:
            self.build(jacobian.shape)
        return super().__call__(losses, active, jacobian)

    def call(self, losses: Any, active: Any, jacobian: Any) -> Any:  # type: ignore[override]
        """The weights after their update."""
        if jacobian.shape[1] != self.num_gradients:
            raise ValueError(
                f"The balancer `ExcessMTL` has state for gradients of {self.num_gradients} numbers. Received: "
                f"gradients of {jacobian.shape[1]} numbers. Make a new one."
            )
        counted = ops.logical_and(active, ops.isfinite(losses))
        limit = largest(jacobian)
        gradients = ops.clip(jacobian, -(limit**0.5), limit**0.5)
        squares = ops.stop_gradient(self.squared_gradients)
        summed = ops.minimum(squares + ops.square(gradients), limit)
        self.squared_gradients.assign(ops.where(ops.expand_dims(counted, 1), summed, squares))
        risks = ops.sum(gradients * ops.divide_no_nan(gradients, ops.sqrt(summed)), axis=1)

        first_risks, num_steps = ops.stop_gradient(self.first_risks), ops.stop_gradient(self.num_steps)
        in_warmup = ops.logical_and(counted, num_steps < self.warmup_steps)
        measured = ops.logical_and(in_warmup, risks > 0)
        mean = first_risks + (risks - first_risks) / ops.cast(num_steps + 1, risks.dtype)
        self.first_risks.assign(ops.where(measured, mean, first_risks))
        self.num_steps.assign(ops.where(measured, num_steps + 1, num_steps))

        moved = ops.logical_and(counted, num_steps >= self.warmup_steps)
        relative = ops.minimum(ops.divide_no_nan(risks, first_risks), limit)
        log_weights = ops.stop_gradient(self.log_weights)
        exponents = ops.where(moved, self.learning_rate * relative, 0.0)
        log_weights = multiplicative_update(log_weights, exponents, counted)
        self.log_weights.assign(log_weights)
        return self.preference(losses.shape[0]) * masked_softmax(log_weights, active)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {
            **super().get_config(),
            "learning_rate": self.learning_rate,
            "warmup_steps": self.warmup_steps,
        }
