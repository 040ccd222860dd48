"""Metrics that tasks add to Keras': of classes and labels by themselves, averaged, and with labels left out by weights.

>>> from keras_mtl import metrics
>>> metric = metrics.F1(num_classes=3)
>>> metric.update_state([0, 1, 2], [[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1]])
>>> round(float(metric.result()), 4)
0.5556
"""

from keras_mtl.metrics._average_precision import AveragePrecision
from keras_mtl.metrics._class_counts import F1, ClassCounts, MeanIoU, Precision, Recall
from keras_mtl.metrics._labelwise import LabelwiseMetric
from keras_mtl.metrics._rank_error import RankError

__all__ = ["F1", "AveragePrecision", "ClassCounts", "LabelwiseMetric", "MeanIoU", "Precision", "RankError", "Recall"]
