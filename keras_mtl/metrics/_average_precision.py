"""The area under the curve of precision over recall, averaged over classes or labels."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_mtl._checks import check_integer
from keras_mtl._registry import serializable
from keras_mtl.metrics._class_counts import by_class


@serializable
class AveragePrecision(keras.metrics.Metric):
    """The average precision of each class, its examples against all others, averaged over the classes (mAP).

    For rare labels, of which an area under the ROC curve says little. It is the sum over the thresholds of the
    precision times what the recall gains there. Classes without a positive label are left out, and without any class it
    is 0. Labels of weight 0 do not count. Predictions are sorted into `num_thresholds` bins of equal width: those in
    one bin count as equal.

    Args:
        num_classes: the number of classes, or of labels of an example, at least 1.
        multi_label: False (the default) where labels are class indices `(batch, ...)` or `(batch, ..., 1)`, with
            predictions `(batch, ..., num_classes)`; True where both are `(batch, num_classes)`, and a label above 0.5
            is positive.
        num_thresholds: the number of bins from 0 to 1, at least 1. Defaults to 1000.
        name: the name of the metric. Defaults to `"average_precision"`.
        dtype: of the counts. Defaults to `keras.config.floatx()`.

    Raises:
        ValueError: if an argument is out of range.

    Example:

    >>> from keras_mtl import metrics
    >>> metric = metrics.AveragePrecision(num_classes=1, multi_label=True)
    >>> metric.update_state([[1.0], [0.0], [1.0]], [[0.9], [0.6], [0.3]])
    >>> round(float(metric.result()), 4)
    0.8333
    """

    def __init__(
        self,
        num_classes: int,
        multi_label: bool = False,
        num_thresholds: int = 1000,
        name: str = "average_precision",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.num_classes = check_integer(num_classes, "num_classes")
        self.multi_label = multi_label
        self.num_thresholds = check_integer(num_thresholds, "num_thresholds")
        shape = (self.num_classes, self.num_thresholds)
        self.positives = self.add_variable(shape, "zeros", name="positives")
        self.negatives = self.add_variable(shape, "zeros", name="negatives")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch.

        Args:
            y_true: the labels.
            y_pred: the predictions, from 0 to 1.
            sample_weight: None, or a tensor `(batch, ...)` that weighs examples or labels.
        """
        label, number, weights = by_class(y_true, y_pred, sample_weight, self.multi_label, self.dtype)
        if self.multi_label:
            positive = ops.cast(label > 0.5, self.dtype)
        else:
            positive = ops.one_hot(label, self.num_classes, dtype=self.dtype)
            weights = ops.expand_dims(weights, -1)
        bins = ops.cast(ops.floor(ops.cast(number, self.dtype) * self.num_thresholds), "int32")
        cells = ops.clip(bins, 0, self.num_thresholds - 1)  # [n, num_classes]
        cells = ops.reshape(cells + ops.arange(self.num_classes, dtype="int32") * self.num_thresholds, (-1,))
        for counts, one in ((self.positives, positive), (self.negatives, 1.0 - positive)):
            found = ops.segment_sum(ops.reshape(one * weights, (-1,)), cells, self.num_classes * self.num_thresholds)
            counts.assign_add(ops.reshape(found, counts.shape))

    def result(self) -> Any:
        """The mean of the average precisions, a scalar."""
        gained = ops.convert_to_tensor(self.positives)
        right, wrong = (
            ops.flip(ops.cumsum(ops.flip(ops.convert_to_tensor(counts), axis=1), axis=1), axis=1)
            for counts in (self.positives, self.negatives)
        )
        areas = ops.sum(gained * ops.divide_no_nan(right, right + wrong), axis=1)
        total = ops.sum(gained, axis=1)
        return ops.divide_no_nan(ops.sum(ops.divide_no_nan(areas, total)), ops.sum(ops.cast(total > 0, self.dtype)))

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "multi_label": self.multi_label,
            "num_thresholds": self.num_thresholds,
        }
