"""The metrics of classes that go by a name."""

from __future__ import annotations

import keras

from keras_mtl import metrics

_CLASSES = {
    "precision": metrics.Precision,
    "recall": metrics.Recall,
    "f1": metrics.F1,
    "average_precision": metrics.AveragePrecision,
    "mean_iou": metrics.MeanIoU,
}


def metric_of_classes(name: str, num_classes: int, *, multi_label: bool) -> keras.metrics.Metric | None:
    """The metric of that name, averaged over the classes, or None if there is none.

    Args:
        name: `"precision"`, `"recall"`, `"f1"`, `"average_precision"` or `"mean_iou"`.
        num_classes: the number of classes, or of labels of an example.
        multi_label: whether labels are numbers from 0 to 1, and not class indices.
    """
    if name not in _CLASSES:
        return None
    return _CLASSES[name](num_classes, multi_label=multi_label, name=name)
