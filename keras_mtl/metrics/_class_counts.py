"""Scores of each class, averaged over the classes: precision, recall, F1 and intersection over union."""

from __future__ import annotations

import abc
from typing import Any

import keras
from keras import ops

from keras_mtl._checks import check_integer
from keras_mtl._registry import serializable


class ClassCounts(keras.metrics.Metric, abc.ABC):
    """A score that is formed of each class from how often it was right, predicted and labelled, then averaged.

    Classes that were neither predicted nor among the labels are left out of the average; without any class the score is
    0. Labels of weight 0 do not count.

    Args:
        num_classes: the number of classes, or of labels of an example, at least 1.
        multi_label: False (the default) where classes exclude each other: labels are class indices `(batch, ...)` or
            `(batch, ..., 1)`, predictions `(batch, ..., num_classes)`, and the largest counts. True where each label is
            by itself: both are `(batch, num_classes)`, and what is above 0.5 is taken as 1.
        name: the name of the metric. Defaults to that of its class.
        dtype: of the counts. Defaults to `keras.config.floatx()`.

    Raises:
        ValueError: if `num_classes` is out of range.
    """

    def __init__(self, num_classes: int, multi_label: bool = False, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.num_classes = check_integer(num_classes, "num_classes")
        self.multi_label = multi_label
        self.right, self.predicted, self.labelled = (
            self.add_variable((self.num_classes,), "zeros", name=part) for part in ("right", "predicted", "labelled")
        )

    @abc.abstractmethod
    def scores(self, right: Any, predicted: Any, labelled: Any) -> Any:
        """The score of each class, `[num_classes]`.

        Args:
            right: how often each class was predicted rightly, `[num_classes]`.
            predicted: how often it was predicted.
            labelled: how often it was the label.
        """

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch.

        Args:
            y_true: the labels.
            y_pred: the predictions.
            sample_weight: None, or a tensor `(batch, ...)` that weighs examples or labels.
        """
        label, number, weights = by_class(y_true, y_pred, sample_weight, self.multi_label, self.dtype)
        if self.multi_label:
            label, number = (ops.cast(value > 0.5, self.dtype) for value in (label, number))
            right, predicted, labelled = (ops.sum(one * weights, axis=0) for one in (label * number, number, label))
        else:
            number = ops.argmax(number, axis=-1)
            alike = ops.cast(ops.equal(ops.cast(number, label.dtype), label), self.dtype)
            right = ops.segment_sum(weights * alike, label, self.num_classes)
            predicted = ops.segment_sum(weights, number, self.num_classes)
            labelled = ops.segment_sum(weights, label, self.num_classes)
        self.right.assign_add(right)
        self.predicted.assign_add(predicted)
        self.labelled.assign_add(labelled)

    def result(self) -> Any:
        """The mean of the scores, a scalar."""
        right, predicted, labelled = (ops.convert_to_tensor(v) for v in (self.right, self.predicted, self.labelled))
        seen = ops.cast(predicted + labelled > 0, self.dtype)
        return ops.divide_no_nan(ops.sum(self.scores(right, predicted, labelled) * seen), ops.sum(seen))

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "num_classes": self.num_classes, "multi_label": self.multi_label}


@serializable
class Precision(ClassCounts):
    """Of what was predicted, the share that is right, averaged over the classes (macro average).

    Example:

    >>> from keras_mtl import metrics
    >>> metric = metrics.Precision(num_classes=2)
    >>> metric.update_state([0, 1, 1], [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    >>> float(metric.result())
    0.75
    """

    def scores(self, right: Any, predicted: Any, labelled: Any) -> Any:
        """Right by predicted."""
        del labelled
        return ops.divide_no_nan(right, predicted)


@serializable
class Recall(ClassCounts):
    """Of what is labelled, the share that was predicted, averaged over the classes (macro average).

    Example:

    >>> from keras_mtl import metrics
    >>> metric = metrics.Recall(num_classes=2)
    >>> metric.update_state([0, 1, 1], [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    >>> float(metric.result())
    0.75
    """

    def scores(self, right: Any, predicted: Any, labelled: Any) -> Any:
        """Right by labelled."""
        del predicted
        return ops.divide_no_nan(right, labelled)


@serializable
class F1(ClassCounts):
    """The harmonic mean of precision and recall, averaged over the classes (macro average).

    Example:

    >>> from keras_mtl import metrics
    >>> metric = metrics.F1(num_classes=1, multi_label=True)
    >>> metric.update_state([[1.0], [1.0], [0.0]], [[0.9], [0.2], [0.8]])
    >>> float(metric.result())
    0.5
    """

    def scores(self, right: Any, predicted: Any, labelled: Any) -> Any:
        """Twice right by the sum of predicted and labelled."""
        return ops.divide_no_nan(2.0 * right, predicted + labelled)


@serializable
class MeanIoU(ClassCounts):
    """The intersection over union of predicted and labelled places, averaged over the classes.

    Example:

    >>> from keras_mtl import metrics
    >>> metric = metrics.MeanIoU(num_classes=2)
    >>> metric.update_state([[0, 1, 1]], [[[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]])
    >>> float(metric.result())
    0.5
    """

    def scores(self, right: Any, predicted: Any, labelled: Any) -> Any:
        """Intersection by union."""
        return ops.divide_no_nan(right, predicted + labelled - right)


def by_class(y_true: Any, y_pred: Any, sample_weight: Any, multi_label: bool, dtype: Any) -> tuple[Any, Any, Any]:
    """Labels, predictions and weights of a batch with all places in one axis.

    Args:
        y_true: labels: class indices `(batch, ...)` or `(batch, ..., 1)`, or numbers `(batch, num_classes)`.
        y_pred: predictions `(batch, ..., num_classes)`.
        sample_weight: None, or a tensor of as many axes as the labels or fewer.
        multi_label: whether labels are numbers.
        dtype: of the weights.

    Returns:
        Class indices `[n]`, predictions `[n, num_classes]` and weights `[n]`; for several labels labels, predictions
        and weights are `[n, num_classes]`.
    """
    y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    shape = ops.shape(y_pred) if multi_label else ops.shape(y_pred)[:-1]
    weights = ops.ones(shape, dtype=dtype)
    if sample_weight is not None:
        given = ops.cast(sample_weight, dtype)
        if len(given.shape) > len(shape):
            given = ops.squeeze(given, axis=-1)
        for _ in range(len(shape) - len(given.shape)):
            given = ops.expand_dims(given, -1)
        weights = weights * given
    if multi_label:
        return ops.reshape(ops.cast(y_true, dtype), shape), y_pred, weights
    predictions = ops.reshape(y_pred, (-1, y_pred.shape[-1]))
    return ops.reshape(ops.cast(y_true, "int32"), (-1,)), predictions, ops.reshape(weights, (-1,))
