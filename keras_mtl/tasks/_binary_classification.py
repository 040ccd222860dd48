"""Yes or no."""

from __future__ import annotations

import keras

from keras_mtl.tasks._base import registry
from keras_mtl.tasks._yes_or_no import YesOrNo


@registry.register("binary_classification")
class BinaryClassification(YesOrNo):
    """Yes or no.

    The output is the probability of "yes", `(batch, 1)`; labels are numbers from 0 to 1, `(batch,)` or `(batch, 1)`, of
    any integer, boolean or float dtype. Trained by the binary cross-entropy, compared by the area under the ROC curve;
    the accuracy at a threshold of 0.5 is logged beside it.

    Args:
        name: see `Task`.
        class_weights: two finite numbers of at least 0, by which the loss of labels 0 and 1 is multiplied. Defaults to
            None: both count alike.
        label_smoothing: how far labels are moved towards 0.5 in the kind's own loss, from 0 to 1. Defaults to 0.
        **kwargs: the other arguments of `Task`.

    Raises:
        ValueError: if an argument is out of range, or `label_smoothing` goes with a `loss`.

    Example:

    >>> from keras_mtl import tasks
    >>> [metric.name for metric in tasks.BinaryClassification("is_cat").metrics]
    ['auc', 'accuracy']
    """

    primary_metric_class = keras.metrics.AUC
    primary_metric = "auc"

    def default_loss(self) -> keras.losses.Loss:
        """The binary cross-entropy."""
        return keras.losses.BinaryCrossentropy(label_smoothing=self.label_smoothing)

    def own_metrics(self) -> list[keras.metrics.Metric]:
        """The area under the ROC curve, and the accuracy."""
        return [keras.metrics.AUC(name="auc"), keras.metrics.BinaryAccuracy(name="accuracy")]
