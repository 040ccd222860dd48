"""A loss in which some classes count more than others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mtl._checks import check_number, check_one_of
from keras_mtl._registry import serializable
from keras_mtl.losses._by_example import check_within
from keras_mtl.losses._labelwise import LabelwiseLoss, as_loss


@serializable
class ClassWeighted(keras.losses.Loss):
    """Another loss, each value multiplied by the weight of the label's class.

    The mean is still over the number of labels, as with `class_weight` in Keras' `fit`. Tasks with `class_weights`
    make one of their loss.

    Args:
        loss: a `keras.losses.Loss`, its name or a config.
        class_weights: finite numbers of at least 0. Where labels are class indices, one for each class. Otherwise a
            pair of weights, for 0 and for 1, or a list of such pairs, one for each label of an example; labels between
            0 and 1 have a weight between.
        multi_label: whether labels are numbers from 0 to 1. Defaults to False: class indices.
        name: the name of this one. Defaults to that of `loss`.

    Raises:
        ValueError: if an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_mtl import losses
    >>> loss = losses.ClassWeighted("SparseCategoricalCrossentropy", [1.0, 3.0])
    >>> round(float(loss(np.array([0, 1]), np.array([[0.5, 0.5], [0.5, 0.5]]))), 4)
    1.3863
    """

    def __init__(
        self, loss: Any, class_weights: Sequence[Any], multi_label: bool = False, name: str | None = None
    ) -> None:
        self.loss = as_loss(loss)
        check_within(self.loss, "ClassWeighted")
        super().__init__(name=name or self.loss.name, reduction=self.loss.reduction, dtype=self.loss.dtype)
        self.multi_label = bool(check_one_of(multi_label, "multi_label", [True, False]))
        self.class_weights = self.checked(class_weights, pairs=self.multi_label)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The weighted loss of each label.

        Args:
            y_true: labels `(batch, ...)`.
            y_pred: predictions `(batch, ..., num_outputs)`.

        Raises:
            ValueError: if `loss` has not a value for each label.
        """
        values = self.loss.call(y_true, y_pred)
        if self.multi_label:
            weights = ops.convert_to_tensor(self.class_weights, dtype=values.dtype)
            y_true = ops.cast(y_true, values.dtype)
            counts = weights[..., 0] * (1.0 - y_true) + weights[..., 1] * y_true
        else:
            weights = ops.convert_to_tensor(self.class_weights, dtype=values.dtype)
            counts = ops.take(weights, ops.cast(y_true, "int32"), axis=0)
        return values * self._like(counts, values)

    def _like(self, counts: Any, values: Any) -> Any:
        """The weights of the labels with the axes of the values of the loss."""
        shape, rank = tuple(counts.shape), len(values.shape)
        if len(shape) == rank + 1 and shape[-1] == 1:
            counts = ops.squeeze(counts, axis=-1)
        elif len(shape) == rank - 1 and values.shape[-1] == 1:
            counts = ops.expand_dims(counts, axis=-1)
        pairs = zip(counts.shape, values.shape, strict=False)
        if len(counts.shape) != rank or any(None not in pair and pair[0] != pair[1] for pair in pairs):
            mend = (
                "Take a loss with a value for each label, as `LabelwiseCrossentropy`, or `LabelwiseLoss` around it."
                if self.multi_label
                else "Labels should be class indices, not one-hot, and the loss one with a value for each of them."
            )
            raise ValueError(
                "A loss within weights of classes should have a value for each label. Received: labels of shape "
                f"{shape} and values of shape {tuple(values.shape)}, by the loss {self.loss.name!r} "
                f"({type(self.loss).__name__}). {mend}"
            )
        return counts

    @staticmethod
    def innermost(loss: keras.losses.Loss) -> keras.losses.Loss:
        """The loss within weights of classes, and within a loss of each label: itself if it is in neither.

        Args:
            loss: any loss.
        """
        while isinstance(loss, (ClassWeighted, LabelwiseLoss)):
            loss = loss.loss
        return loss

    @staticmethod
    def checked(value: Any, *, pairs: bool, number: int | None = None) -> list[Any]:
        """Returns weights of classes as a list, or for labels from 0 to 1 as a pair or a list of pairs.

        Args:
            value: what was given as `class_weights`.
            pairs: whether labels are numbers from 0 to 1.
            number: how many weights, or pairs, there should be; None for any number.

        Raises:
            ValueError: if it is anything else, or a weight is no finite number of at least 0.
        """
        if isinstance(value, np.ndarray):
            value = value.tolist()
        form = "a pair of weights, for 0 and for 1, or a list of such pairs" if pairs else "a list of weights by class"
        count = "" if number is None else f", {number} of them"
        if not isinstance(value, (list, tuple)) or not value:
            raise ValueError(f"Parameter `class_weights` should be {form}{count}. Received: class_weights={value!r}")
        if pairs and isinstance(value[0], (list, tuple)):
            lengths = {len(row) if isinstance(row, (list, tuple)) else 1 for row in value}
            fits = lengths == {2} and number in (None, len(value))
            rows = [list(row) if isinstance(row, (list, tuple)) else [row] for row in value]
        else:
            fits = len(value) == 2 if pairs else number in (None, len(value))
            rows = [list(value)]
        if not fits:
            raise ValueError(f"Parameter `class_weights` should be {form}{count}. Received: class_weights={value!r}")
        checked = [[check_number(weight, "class_weights") for weight in row] for row in rows]
        return checked if pairs and isinstance(value[0], (list, tuple)) else checked[0]

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {
            "loss": keras.saving.serialize_keras_object(self.loss),
            "class_weights": self.class_weights,
            "multi_label": self.multi_label,
            "name": self.name,
        }
