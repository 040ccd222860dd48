"""What tasks have in common whose labels are class indices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mtl._checks import check_integer
from keras_mtl.losses import ClassWeighted, SmoothedCrossentropy
from keras_mtl.tasks._base import Task
from keras_mtl.tasks._named_metrics import metric_of_classes
from keras_mtl.tasks._yes_or_no import check_smoothing


class ClassIndices(Task):
    """A task that predicts a distribution over classes, for an example or for each place in it.

    Args:
        name: see `Task`.
        num_classes: the number of classes, at least `min_classes`.
        class_weights: a finite number of at least 0 for each class, by which the loss of its labels is multiplied.
            Defaults to None: all count alike.
        label_smoothing: the share of a label that is spread evenly over all classes in the kind's own loss, from 0 to
            1. Defaults to 0.
        **kwargs: the other arguments of `Task`.

    Raises:
        ValueError: if an argument is out of range, or `label_smoothing` goes with a `loss`.
    """

    #: The least number of classes.
    min_classes: int = 2

    missing_label = -1
    accuracy_class = keras.metrics.SparseCategoricalAccuracy
    activation = "softmax"
    label_dtype = "int32"

    def __init__(
        self,
        name: str,
        num_classes: int,
        *,
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        **kwargs: Any,
    ) -> None:
        self.num_classes = self.num_outputs = check_integer(num_classes, "num_classes", minimum=self.min_classes)
        super().__init__(name, **kwargs)
        self.class_weights: list[float] | None = None
        if class_weights is not None:
            self.class_weights = ClassWeighted.checked(class_weights, pairs=False, number=self.num_classes)
        self.label_smoothing = check_smoothing(label_smoothing, kwargs.get("loss"))

    def default_loss(self) -> keras.losses.Loss:
        """The cross-entropy with class indices."""
        if self.label_smoothing:
            return SmoothedCrossentropy(self.label_smoothing)
        return keras.losses.SparseCategoricalCrossentropy()

    def adapted(self, loss: keras.losses.Loss) -> keras.losses.Loss:
        """A loss with the weights of the classes.

        Args:
            loss: the kind's own, or one that was given in its place.
        """
        return loss if self.class_weights is None else ClassWeighted(loss, self.class_weights)

    def named_metric(self, name: str) -> keras.metrics.Metric | None:
        """Precision, recall, F1, average precision and mean intersection over union.

        Args:
            name: of the metric.
        """
        return metric_of_classes(name, self.num_classes, multi_label=False)

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
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "class_weights": self.class_weights,
            "label_smoothing": self.label_smoothing,
        }
