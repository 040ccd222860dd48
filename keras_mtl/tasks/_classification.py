"""One of several classes."""

from __future__ import annotations

from typing import Any

import keras

from keras_mtl.tasks._base import registry
from keras_mtl.tasks._class_indices import ClassIndices


@registry.register("classification")
class Classification(ClassIndices):
    """One of `num_classes` classes that exclude each other.

    The output is a probability for each class, `(batch, num_classes)`; labels are class indices, `(batch,)` or
    `(batch, 1)`, of an integer dtype, from 0 to `num_classes - 1`. Trained by the cross-entropy, compared by accuracy.

    Args:
        name: see `Task`.
        num_classes: the number of classes, at least 2.
        class_weights: a finite number of at least 0 for each class, by which the loss of its labels is multiplied.
            Defaults to None: all count alike.
        label_smoothing: the share of a label that is spread evenly over all classes in the kind's own loss, from 0 to
            1. Defaults to 0.
        **kwargs: the other arguments of `Task`.

    Raises:
        ValueError: if an argument is out of range, or `label_smoothing` goes with a `loss`.

    Example:

    >>> from keras_mtl import tasks
    >>> task = tasks.Classification("breed", num_classes=37, hidden_units=64, metrics=["f1"])
    >>> task.primary_metric, task.higher_is_better
    ('accuracy', True)
    """

    primary_metric_class = keras.metrics.SparseCategoricalAccuracy
    primary_metric = "accuracy"
    higher_is_better = True

    def check_shape(self, shape: Any) -> None:
        """Raises for all but `(batch,)` and `(batch, 1)`."""
        if len(shape) == 2 and shape[1] == self.num_classes:
            raise self.label_error(
                "be class indices of shape (batch,)", f"shape {tuple(shape)}", "One-hot labels: pass y.argmax(axis=-1)."
            )
        super().check_shape(shape)
