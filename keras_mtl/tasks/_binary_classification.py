"""Yes or no."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mtl.tasks._base import Task, registry


@registry.register("binary_classification")
class BinaryClassification(Task):
    """Yes or no.

    The output is the probability of "yes", `(batch, 1)`; labels are numbers from 0 to 1, `(batch,)` or `(batch, 1)`, of
    any integer, boolean or float dtype. Trained by the binary cross-entropy, compared by the area under the ROC curve;
    the accuracy at a threshold of 0.5 is logged beside it.

    Args:
        name: see `Task`.
        **kwargs: the other arguments of `Task`.

    Raises:
        ValueError: if an argument is out of range.

    Example:

    >>> from keras_mtl import tasks
    >>> [metric.name for metric in tasks.BinaryClassification("is_cat").metrics]
    ['auc', 'accuracy']
    """

    primary_metric_class = keras.metrics.AUC
    primary_metric = "auc"
    higher_is_better = True
    missing_label = -1
    accuracy_class = keras.metrics.BinaryAccuracy
    activation = "sigmoid"
    num_outputs = 1

    def default_loss(self) -> keras.losses.Loss:
        """The binary cross-entropy."""
        return keras.losses.BinaryCrossentropy()

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Fresh metrics: the area under the curve, the accuracy, then those that were asked for."""
        auc, *asked_for = super().metrics
        return [auc, keras.metrics.BinaryAccuracy(name="accuracy"), *asked_for]

    def check_dtype(self, dtype: np.dtype) -> None:
        """Raises unless the dtype is a number or boolean."""
        if dtype.kind not in "biuf":
            raise self.label_error("be of an integer, boolean or float dtype", f"dtype {dtype}")

    def valid(self, labels: Any) -> Any:
        """Numbers in range."""
        labels = ops.cast(labels, "float32")
        return (labels >= 0) & (labels <= 1)

    @property
    def valid_labels(self) -> str:
        """The range, in words."""
        return "be from 0 to 1"
