"""One of several classes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mtl._checks import check_integer
from keras_mtl.tasks._base import Task, registry


@registry.register("classification")
class Classification(Task):
    """One of `num_classes` classes that exclude each other.

    The output is a probability for each class, `(batch, num_classes)`; labels are class indices, `(batch,)` or
    `(batch, 1)`, of an integer dtype, from 0 to `num_classes - 1`. Trained by the cross-entropy, compared by accuracy.

    Args:
        name: see `Task`.
        num_classes: the number of classes, at least 2.
        **kwargs: the other arguments of `Task`.

    Raises:
        ValueError: if an argument is out of range.

    Example:

    >>> from keras_mtl import tasks
    >>> task = tasks.Classification("breed", num_classes=37, hidden_units=64)
    >>> task.primary_metric, task.higher_is_better
    ('accuracy', True)
    """

    primary_metric_class = keras.metrics.SparseCategoricalAccuracy
    primary_metric = "accuracy"
    higher_is_better = True
    missing_label = -1
    accuracy_class = keras.metrics.SparseCategoricalAccuracy
    activation = "softmax"
    label_dtype = "int32"

    def __init__(self, name: str, num_classes: int, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self.num_classes = check_integer(num_classes, "num_classes", minimum=2)
        self.num_outputs = self.num_classes

    def default_loss(self) -> keras.losses.Loss:
        """The cross-entropy with class indices."""
        return keras.losses.SparseCategoricalCrossentropy()

    def check_shape(self, shape: Any) -> None:
        """Raises for all but `(batch,)` and `(batch, 1)`."""
        if len(shape) == 2 and shape[1] == self.num_classes:
            raise self.label_error(
                "be class indices of shape (batch,)", f"shape {tuple(shape)}", "One-hot labels: pass y.argmax(axis=-1)."
            )
        super().check_shape(shape)

    def check_dtype(self, dtype: np.dtype) -> None:
        """Raises unless the dtype is an integer."""
        if dtype.kind not in "iu":
            raise self.label_error("be of an integer dtype", f"dtype {dtype}", 'Pass y.astype("int32").')

    def valid(self, labels: Any) -> Any:
        """Indices in range."""
        labels = ops.cast(labels, "int64")  # a number of classes may be beyond the range of the labels' dtype
        return (labels >= 0) & (labels < self.num_classes)

    @property
    def valid_labels(self) -> str:
        """The range, in words."""
        return f"be class indices from 0 to {self.num_classes - 1}"

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "num_classes": self.num_classes}
