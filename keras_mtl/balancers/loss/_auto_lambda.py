"""Weights with which a step on the training data is best for a second stream of data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mtl._checks import check_number
from keras_mtl._math import adam_step
from keras_mtl.balancers._base import Source, registry
from keras_mtl.balancers._loss import BilevelBalancer


@registry.register("auto_lambda")
class AutoLambda(BilevelBalancer):
    """Learns weights with which a step on the training losses lowers the primary tasks' losses on other data the most.

    The weights are moved by Adam, along the gradient of the primary tasks' losses on a batch of a second stream after a
    trial step on the training batch. With all tasks primary it balances them; with some, the others become auxiliary
    tasks, which have weight as far as they help. Use it to find out which tasks help the one that you care for.

    Source: S. Liu, S. James, A. J. Davison, E. Johns, "Auto-Lambda: Disentangling Dynamic Task Relationships", TMLR
    2022. As in the official code, the weights are free: one may fall below 0 for a task that does harm, and nothing
    normalizes them. The trial step there has the momentum and the weight decay of the optimizer; here it is plain
    gradient descent, as in the paper's formula. A task's `weight` multiplies its weight, or is the preference of a
    gradient balancer behind it that takes one, and multiplies its loss on the second stream; the paper has none.

    Args:
        primary: the names of the tasks that count on the second stream. Defaults to all.
        learning_rate: of the weights, at least 0. Defaults to 0.0001, as in the official code: the weights then need
            thousands of steps.
        initial: the weight with which each task begins, at least 0. Defaults to 0.1.
        **kwargs: the arguments of `keras.layers.Layer`: `name`, `trainable`, and `dtype`, by default float32.

    Raises:
        ValueError: if an argument is out of its range, or, in `compile`, if a primary task is not one of the model's.

    Example:

    >>> import numpy as np
    >>> from keras_mtl import balancers
    >>> balancer = balancers.AutoLambda(primary=["breed"], learning_rate=0.01)
    >>> balancer.bind(["breed", "age"], weights=[1.0, 1.0], losses=[None, None])
    >>> balancer.primary_weights().numpy()
    array([1., 0.], dtype=float32)
    >>> active = np.array([True, True])
    >>> balancer.lookahead(np.array([2.0, -1.0]), 0.1, active)  # the gradient of "age" points against that of "breed"
    >>> balancer(np.array([0.5, 1.0]), active).numpy().round(3)
    array([0.11, 0.09], dtype=float32)
    """

    source = Source("Liu et al.", "Auto-Lambda: Disentangling Dynamic Task Relationships", "TMLR", 2022, "2202.03091")

    _is_primary: np.ndarray | None = None

    def __init__(
        self,
        primary: Sequence[str] | None = None,
        learning_rate: float = 1e-4,
        initial: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        is_list = isinstance(primary, Sequence) and not isinstance(primary, str)
        if primary is not None and not (is_list and primary and all(isinstance(task, str) for task in primary)):
            raise ValueError(
                "Parameter `primary` should be a list of at least one task name, or None. "
                f"Received: primary={primary!r}"
            )
        self.primary = None if primary is None else list(primary)
        self.learning_rate = check_number(learning_rate, "learning_rate")
        self.initial = check_number(initial, "initial")

    def bind(
        self,
        names: Sequence[str],
        weights: Sequence[float],
        losses: Sequence[keras.losses.Loss | None],
        num_gradients: int = 0,
    ) -> None:
        """Finds the primary tasks."""
        if self.primary is not None:
            unknown = [task for task in self.primary if task not in names]
            if unknown:
                raise ValueError(
                    f"Parameter `primary` of the balancer `AutoLambda` should name tasks of {list(names)}. Received: "
                    f"{list(self.primary)}; not expected: {unknown}"
                )
            self._is_primary = np.asarray([task in self.primary for task in names])
        super().bind(names, weights, losses, num_gradients)

    def build(self, input_shape: Sequence[int]) -> None:
        """Creates the weights and the state of Adam, all `[num_tasks]`."""
        if not self.built:
            shape = tuple(input_shape[:1])
            self.loss_weights = self.add_weight(
                shape=shape,
                initializer=lambda shape, dtype: self.initial * ops.ones(shape, dtype),
                trainable=False,
                name="loss_weights",
            )
            for name in ("first_moments", "second_moments"):
                setattr(self, name, self.add_weight(shape=shape, initializer="zeros", trainable=False, name=name))
            self.num_updates = self.add_weight(
                shape=shape, dtype="int32", initializer="zeros", trainable=False, name="num_updates"
            )
        super().build(input_shape)

    def call(self, losses: Any, active: Any) -> Any:
        """The weights as they are."""
        weights = ops.stop_gradient(self.loss_weights)
        return self.preference(losses.shape[0]) * ops.where(active, weights, 0.0)

    def primary_weights(self) -> Any:
        """The `weight` of the primary tasks, 0 for the others."""
        weights = self.second_stream_weights(self.loss_weights.shape[0])
        if self.primary is None:
            return weights
        if self._is_primary is None:
            raise ValueError(
                "The balancer `AutoLambda` has primary tasks by name, and does not know the order of the tasks yet. "
                "Call `bind` first, as `compile` does."
            )
        return ops.where(self._is_primary, weights, 0.0)

    def lookahead(self, slopes: Any, learning_rate: Any, active: Any) -> None:
        """A step of Adam on the weights."""
        slopes = ops.convert_to_tensor(slopes, dtype=self.compute_dtype)
        learning_rate = ops.convert_to_tensor(learning_rate, dtype=self.compute_dtype)
        counted = ops.logical_and(ops.convert_to_tensor(active, dtype="bool"), ops.isfinite(slopes))
        # The preference is there because the slopes are for what `call` returns, which it multiplies.
        gradients = -learning_rate * ops.where(counted, slopes, 0.0) * self.preference(slopes.shape[0])
        state = [self.first_moments, self.second_moments, self.num_updates]
        weights = ops.stop_gradient(self.loss_weights)
        weights, stepped = adam_step(weights, gradients, state, counted, learning_rate=self.learning_rate)
        for variable, value in zip([self.loss_weights, *state], [weights, *stepped], strict=True):
            variable.assign(value)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {
            **super().get_config(),
            "primary": None if self.primary is None else list(self.primary),
            "learning_rate": self.learning_rate,
            "initial": self.initial,
        }
