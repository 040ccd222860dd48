"""A task's loss as the sum over its labels."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

#: Reductions of losses that are summed, and not divided.
SUMS = ("sum", "none", None)


class SummedLoss(keras.losses.Loss):
    """Sums the values of another loss, each with the weight of its label.

    Args:
        task: the name of the task.
        loss: the loss.
        shape: that of the labels' weights: an axis for the batch, and those in which labels may be missing.
    """

    def __init__(self, task: str, loss: keras.losses.Loss, shape: tf.TensorShape) -> None:
        super().__init__(name=loss.name, reduction="sum", dtype=loss.dtype)
        self._task, self._loss, self._shape = task, loss, shape

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The value of each label.

        Where the loss has several for a label, it is their mean, as Keras means over all values, or their sum where
        the loss sums.

        Args:
            y_true: the labels.
            y_pred: the predictions.

        Raises:
            ValueError: if the values have other axes than the labels.
        """
        values = self._loss.call(y_true, y_pred)
        shape, rank = tuple(values.shape), len(self._shape)
        sizes = list(zip(shape, self._shape, strict=False))
        expected = tuple(self._shape)
        if len(shape) < rank or any(None not in pair and pair[0] != pair[1] for pair in sizes):
            mend = (
                "Return the values, without a mean or a sum over them."
                if not shape
                else "Where it has an argument `axis`, name the axes of one label alone."
            )
            raise ValueError(
                f"The loss of task {self._task!r} should have a value for each label, of shape {expected}, so that "
                "those that are missing can be left out: one for each example, and for each place where the task "
                f"has labels of places. Received: values of shape {shape}, by the loss {self._loss.name!r} "
                f"({type(self._loss).__name__}). {mend}"
            )
        if len(shape) > rank:
            reduce = tf.reduce_sum if self._loss.reduction in SUMS else tf.reduce_mean
            values = reduce(values, axis=list(range(rank, len(shape))))
        return values
