"""A loss that is weighted together with others."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_mtl._registry import serializable
from keras_mtl.losses._coordinator import Coordinator, without_gradient
from keras_mtl.losses._masked import Given, Masked


@serializable
class BalancedLoss(keras.losses.Loss):
    """The loss of one task, as `losses.balanced` makes it: its value is the plain one, and the total is the balanced.

    One that comes from a file knows no others: it is good for `evaluate`, and refuses to be trained by.

    Args:
        loss: the loss: a `keras.losses.Loss`, or a config of one.
        name: the name of this one. Defaults to `"balanced_loss"`.

    Example:

    >>> from keras_mtl import losses
    >>> by_task, callback = losses.balanced({"a": "mse", "b": "mae"}, "uncertainty")
    >>> float(by_task["a"]([[0.0]], [[2.0]]))
    4.0
    """

    def __init__(self, loss: Any, name: str = "balanced_loss") -> None:
        if isinstance(loss, dict):
            loss = keras.saving.deserialize_keras_object(loss)
        if not isinstance(loss, keras.losses.Loss):
            raise ValueError(f"Parameter `loss` should be a `keras.losses.Loss`. Received: loss={loss!r}")
        super().__init__(name=name, reduction=loss.reduction, dtype=loss.dtype)
        self.loss = loss
        self._coordinator: Coordinator | None = None
        self._index = 0

    def coordinate(self, coordinator: Coordinator, index: int) -> None:
        """Tells it which of the losses of a coordinator it is.

        Args:
            coordinator: what the losses share.
            index: the number of the task.
        """
        self._coordinator, self._index = coordinator, index

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of a batch, reported to the coordinator.

        Args:
            y_true: the labels.
            y_pred: the predictions.
            sample_weight: of the examples, or None.
        """
        count = ops.shape(y_pred)[0]
        if isinstance(self.loss, Masked):
            value, count = self.loss.value_and_count(y_true, y_pred, sample_weight)
            active = count > 0
        else:
            value = self.loss(y_true, y_pred, sample_weight=sample_weight)
            # What Keras makes of ones, who knows the mask of the predictions.
            weights = None if sample_weight is None else ops.cast(ops.not_equal(sample_weight, 0), self.dtype)
            ones = Given(name=self.name, reduction="sum", dtype=self.dtype)
            active = ops.sum(ones(ops.ones(()), y_pred, sample_weight=weights)) > 0
        if self._coordinator is None:
            return without_gradient(
                value,
                "This loss was loaded from a file, without the balancer that weighs it. To go on training, make losses "
                "by `keras_mtl.losses.balanced` again, and compile the model with them.",
            )
        return self._coordinator.collect(self._index, ops.sum(value), active, count)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each example.

        Args:
            y_true: the labels.
            y_pred: the predictions.
        """
        return self.loss.call(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {"loss": keras.saving.serialize_keras_object(self.loss), "name": self.name}
