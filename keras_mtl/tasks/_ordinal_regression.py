"""One of several classes that have an order."""

from __future__ import annotations

from typing import Any

import keras

from keras_mtl import heads
from keras_mtl.metrics import RankError
from keras_mtl.tasks._base import registry
from keras_mtl.tasks._class_indices import ClassIndices


@registry.register("ordinal_regression")
class OrdinalRegression(ClassIndices):
    """One of `num_classes` classes that have an order: grades, stages, ratings, groups of age.

    The proportional-odds model: the head forms one score, and ordered thresholds, which are learnt, cut it into
    classes. The probability that the class is at most k is the logistic function of threshold k minus the score, so
    that these never contradict each other. The output is a probability for each class, `(batch, num_classes)`; labels
    are class indices, `(batch,)` or `(batch, 1)`, of an integer dtype. Trained by the cross-entropy, which is the
    likelihood of that model, compared by the mean absolute error in ranks (of the predicted median); the accuracy of
    the most probable class is logged beside it.

    Source: P. McCullagh, "Regression Models for Ordinal Data", Journal of the Royal Statistical Society B, 1980.

    Args:
        name: see `Task`.
        num_classes: the number of classes, at least 3: for two there is `BinaryClassification`.
        class_weights: a finite number of at least 0 for each class, by which the loss of its labels is multiplied.
            Defaults to None: all count alike.
        label_smoothing: the share of a label that is spread evenly over all classes in the kind's own loss, from 0 to
            1. Defaults to 0.
        **kwargs: the other arguments of `Task`.

    Raises:
        ValueError: if an argument is out of range, or `label_smoothing` goes with a `loss`.

    Example:

    >>> from keras_mtl import tasks
    >>> [metric.name for metric in tasks.OrdinalRegression("grade", num_classes=5).metrics]
    ['rank_error', 'accuracy']
    """

    min_classes = 3
    primary_metric_class = RankError
    primary_metric = "rank_error"
    higher_is_better = False

    def own_metrics(self) -> list[keras.metrics.Metric]:
        """The mean absolute error in ranks, and the accuracy."""
        return [RankError(), keras.metrics.SparseCategoricalAccuracy(name="accuracy")]

    def head(self, features: Any) -> Any:
        """The layers of the score and its thresholds: from features `(batch, ..., channels)`."""
        return heads.ordinal_head(
            features, self.name, num_classes=self.num_classes, hidden_units=self.hidden_units, dropout=self.dropout
        )
