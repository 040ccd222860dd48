"""The cross-entropy with class indices that are not taken quite at their word."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_mtl._checks import check_fraction
from keras_mtl._registry import serializable


@serializable
class SmoothedCrossentropy(keras.losses.Loss):
    """The cross-entropy with class indices and label smoothing, which Keras has for one-hot labels only.

    Against overconfident predictions. Tasks with `label_smoothing` are trained by it.

    Source: C. Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR, 2016.

    Args:
        label_smoothing: the share of the label that is spread evenly over all classes, from 0 to 1. Defaults to 0.1.
        reduction: as in `keras.losses.Loss`. Defaults to `"sum_over_batch_size"`.
        name: the name of the loss. Defaults to `"smoothed_crossentropy"`.
        dtype: as in `keras.losses.Loss`. Defaults to None.

    Raises:
        ValueError: if `label_smoothing` is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_mtl import losses
    >>> round(float(losses.SmoothedCrossentropy(0.2)(np.array([0]), np.array([[0.5, 0.25, 0.25]]))), 4)
    0.7856
    """

    def __init__(
        self,
        label_smoothing: float = 0.1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "smoothed_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.label_smoothing = check_fraction(label_smoothing, "label_smoothing")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each label.

        Args:
            y_true: class indices `(batch, ...)` or `(batch, ..., 1)`.
            y_pred: probabilities `(batch, ..., num_classes)`.

        Returns:
            A tensor `(batch, ...)`.
        """
        if len(y_true.shape) == len(y_pred.shape):
            y_true = ops.squeeze(y_true, axis=-1)
        one_hot = ops.one_hot(ops.cast(y_true, "int32"), y_pred.shape[-1], dtype=y_pred.dtype)
        return keras.losses.categorical_crossentropy(one_hot, y_pred, label_smoothing=self.label_smoothing)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "label_smoothing": self.label_smoothing}
