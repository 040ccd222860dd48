"""A loss with a value for each label of an example, so that each may be missing on its own."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_mtl._checks import check_fraction
from keras_mtl._registry import serializable
from keras_mtl.losses._by_example import check_within


@serializable
class LabelwiseCrossentropy(keras.losses.Loss):
    """The binary cross-entropy of each label by itself, which Keras' own averages over the labels of an example.

    `tasks.MultiLabelClassification` is trained by it. Sample weights may have the shape of the labels.

    Args:
        label_smoothing: how far labels are moved towards 0.5, from 0 to 1: 0 becomes `label_smoothing / 2`. Defaults
            to 0.
        reduction: as in `keras.losses.Loss`. Defaults to `"sum_over_batch_size"`.
        name: the name of the loss. Defaults to `"labelwise_crossentropy"`.
        dtype: as in `keras.losses.Loss`. Defaults to None.

    Raises:
        ValueError: if `label_smoothing` is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_mtl import losses
    >>> loss = losses.LabelwiseCrossentropy(reduction="sum")
    >>> labels, predictions, present = np.array([[1.0, 0.0]]), np.array([[0.5, 0.9]]), np.array([[1.0, 0.0]])
    >>> round(float(loss(labels, predictions, sample_weight=present)), 4)
    0.6931
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        reduction: str | None = "sum_over_batch_size",
        name: str = "labelwise_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.label_smoothing = check_fraction(label_smoothing, "label_smoothing")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each label.

        Args:
            y_true: numbers from 0 to 1, `(batch, num_labels)`.
            y_pred: probabilities of that shape.

        Returns:
            A tensor of that shape.
        """
        y_true = ops.cast(y_true, y_pred.dtype)
        smoothed = y_true * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        return ops.binary_crossentropy(smoothed, y_pred)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


@serializable
class LabelwiseLoss(keras.losses.Loss):
    """Another loss, with a value for each label instead of the mean over the last axis.

    `tasks.MultiLabelClassification` makes one of the `loss` that it is given.

    Args:
        loss: a `keras.losses.Loss` that averages over the last axis, as most of Keras' do, its name or a config.
        name: the name of this one. Defaults to that of `loss`.

    Raises:
        ValueError: if it is no loss.

    Example:

    >>> import numpy as np
    >>> from keras_mtl import losses
    >>> loss = losses.LabelwiseLoss("BinaryFocalCrossentropy")
    >>> tuple(loss.call(np.array([[1.0, 0.0]]), np.array([[0.5, 0.9]])).shape)
    (1, 2)
    """

    def __init__(self, loss: Any, name: str | None = None) -> None:
        self.loss = as_loss(loss)
        check_within(self.loss, "LabelwiseLoss")
        super().__init__(name=name or self.loss.name, reduction=self.loss.reduction, dtype=self.loss.dtype)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each label, a tensor of the shape of `y_pred`.

        Args:
            y_true: labels `(batch, num_labels)`.
            y_pred: predictions of that shape.
        """
        return self.loss.call(ops.expand_dims(y_true, -1), ops.expand_dims(y_pred, -1))

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {"loss": keras.saving.serialize_keras_object(self.loss), "name": self.name}


def as_loss(identifier: Any) -> keras.losses.Loss:
    """A loss from an instance, the name of its class or a config.

    Raises:
        ValueError: if it is none, or a bare function, which takes no sample weights.
    """
    loss = keras.losses.get(identifier)
    if not isinstance(loss, keras.losses.Loss):
        raise ValueError(
            "Parameter `loss` should be a `keras.losses.Loss`, the name of its class ('MeanSquaredError', not 'mse') "
            f"or its config. Received: loss={identifier!r}"
        )
    return loss
