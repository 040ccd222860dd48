"""What tasks have in common whose labels are numbers from 0 to 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mtl._checks import check_fraction
from keras_mtl.losses import ClassWeighted
from keras_mtl.tasks._base import Task
from keras_mtl.tasks._named_metrics import metric_of_classes


class YesOrNo(Task):
    """A task that predicts probabilities of "yes", each by itself.

    Args:
        name: see `Task`.
        class_weights: finite numbers of at least 0, by which the loss of labels 0 and 1 is multiplied: a pair, or,
            where an example has several labels, a list of such pairs too. Defaults to None: all count alike.
        label_smoothing: how far labels are moved towards 0.5 in the kind's own loss, from 0 to 1. Defaults to 0.
        **kwargs: the other arguments of `Task`.

    Raises:
        ValueError: if an argument is out of range, or `label_smoothing` goes with a `loss`.
    """

    higher_is_better = True
    missing_label = -1
    accuracy_class = keras.metrics.BinaryAccuracy
    activation = "sigmoid"
    num_outputs = 1

    def __init__(
        self, name: str, *, class_weights: Sequence[Any] | None = None, label_smoothing: float = 0.0, **kwargs: Any
    ) -> None:
        self.class_weights = None
        super().__init__(name, **kwargs)
        if class_weights is not None:
            self.class_weights = ClassWeighted.checked(class_weights, pairs=True, number=self.num_outputs)
        self.label_smoothing = check_smoothing(label_smoothing, kwargs.get("loss"))

    def adapted(self, loss: keras.losses.Loss) -> keras.losses.Loss:
        """A loss with the weights of 0 and 1.

        Args:
            loss: the kind's own, or one that was given in its place.
        """
        return loss if self.class_weights is None else ClassWeighted(loss, self.class_weights, multi_label=True)

    def named_metric(self, name: str) -> keras.metrics.Metric | None:
        """Precision, recall, F1 and average precision.

        Args:
            name: of the metric.
        """
        return metric_of_classes(name, self.num_outputs, multi_label=True)

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

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {
            **super().get_config(),
            "class_weights": self.class_weights,
            "label_smoothing": self.label_smoothing,
        }


def check_smoothing(value: Any, loss: Any) -> float:
    """Returns `label_smoothing` if it is from 0 to 1, and no loss was given that it would not reach."""
    smoothing = check_fraction(value, "label_smoothing")
    if smoothing and loss is not None:
        raise ValueError(
            "Parameter `label_smoothing` goes with the loss of the kind of task. Received: "
            f"label_smoothing={value!r} and loss={loss!r}. Give a loss that smooths the labels itself."
        )
    return smoothing
