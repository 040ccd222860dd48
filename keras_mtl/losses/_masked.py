"""A loss whose labels may be missing."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mtl._registry import serializable
from keras_mtl.losses._by_example import has_own_call
from keras_mtl.losses._class_weighted import ClassWeighted
from keras_mtl.losses._labelwise import as_loss


@serializable
class Masked(keras.losses.Loss):
    """Another loss, of those labels that are there: by it, a plain `keras.Model` is trained where labels are missing.

    A label is missing where it is NaN or `missing_label`. Where the loss has one value for several numbers, as
    `MeanSquaredError` has for the last axis, or one with an attribute `axis` for those axes, their label is missing if
    one of them is. For a label of each number put it around `LabelwiseCrossentropy` or `LabelwiseLoss`, and for a label
    of each place give labels an axis of size 1 at the end, `(batch, length, 1)`, or class indices.

    Missing labels have no part in the value, nor in its gradient where predictions are finite. The loss is computed of
    a label 0 in their place: one that is not defined there, as an error relative to the label, has a gradient of NaN,
    unless it guards its division, `ops.divide_no_nan`. The mean is over the
    labels that are there, and 0 if there are none. The reduction is that of `loss`: `"sum"` adds up the values,
    `"mean_with_sample_weight"` divides their sum by that of the weights, and None leaves a 0 in the place of those that
    are missing. What a mask of Keras leaves out, such as that of `Embedding(mask_zero=True)`, does not count either; as
    in Keras, it has to be a mask of the places that the prediction has.

    The value is that of a task of `MultiTaskModel` with the same labels. There too a label whose sample weight is 0 is
    a missing one, where Keras' own losses count it in their mean: with all labels there and no weight of 0, the value
    is that of `loss`. Under a `tf.distribute` strategy, as with masks in Keras, the mean is over each replica's labels,
    and then over the replicas; `MultiTaskModel` has the mean over all labels.

    It is the outermost one: put it around `ClassWeighted` and the like. A `MultiTaskModel` refuses it, as labels may be
    missing there anyway. Keras' metrics know nothing of missing labels; those of `MultiTaskModel` leave them out.

    Args:
        loss: a `keras.losses.Loss`, its name or a config, whose `call` has a value for each example that depends on no
            other one.
        missing_label: an integer that stands for a missing label beside NaN, such as -1 where labels are class indices.
            Defaults to None: NaN alone does.
        name: the name of this one. Defaults to that of `loss`.

    Raises:
        ValueError: if an argument is of another kind.

    Example:

    >>> import numpy as np
    >>> from keras_mtl import losses
    >>> loss = losses.Masked("MeanSquaredError")
    >>> float(loss(np.array([[1.0], [np.nan]]), np.array([[3.0], [9.0]])))
    4.0
    >>> loss = losses.Masked("SparseCategoricalCrossentropy", missing_label=-1)
    >>> round(float(loss(np.array([0, -1]), np.array([[0.5, 0.5], [0.9, 0.1]]))), 4)
    0.6931
    """

    def __init__(self, loss: Any, missing_label: int | None = None, name: str | None = None) -> None:
        self.loss = as_loss(loss)
        if has_own_call(self.loss) or isinstance(self.loss, keras.losses.Circle):
            raise ValueError(
                "Parameter `loss` should have a value for each example, by its `call` alone, that depends on no other "
                "example. A masked loss masks once, and a balanced one is made of masked ones: "
                f"`losses.balanced({{task: losses.Masked(loss)}})`. Received: loss={loss!r}"
            )
        super().__init__(name=name or self.loss.name, reduction=self.loss.reduction, dtype=self.loss.dtype)
        if missing_label is not None:
            if isinstance(missing_label, bool) or not isinstance(missing_label, Integral):
                raise ValueError(
                    "Parameter `missing_label` should be an integer, such as -1, or None where NaN alone stands for a "
                    f"missing label. Received: missing_label={missing_label!r}"
                )
            missing_label = int(missing_label)
        self.missing_label = missing_label

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of a batch.

        Args:
            y_true: labels `(batch, ...)`.
            y_pred: predictions `(batch, ...)`.
            sample_weight: a weight for each example, or for each value of the loss; None for 1.
        """
        return self.value_and_count(y_true, y_pred, sample_weight)[0]

    def value_and_count(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tuple[Any, Any]:
        """The loss of a batch, and how many labels it is the loss of, a scalar: those that are there, and count.

        Args:
            y_true: labels `(batch, ...)`.
            y_pred: predictions `(batch, ...)`.
            sample_weight: a weight for each example, or for each value of the loss; None for 1.
        """
        values, missing = self._values(y_true, y_pred)
        weights = ops.ones((), dtype=self.dtype)
        if sample_weight is not None:
            weights = ops.convert_to_tensor(sample_weight, dtype=self.dtype)
        weights = ops.where(missing, 0.0, _with_axes(weights, len(values.shape)))
        weights = weights * ops.ones_like(values)
        counted = ops.cast(ops.not_equal(weights, 0.0), self.dtype)
        # Keras does the rest, who knows the mask of the predictions and the replicas. Its mean would be over all
        # values; that by the sum of the weights is over those that count, if 1 is the weight of each.
        reduction = self.reduction
        if reduction in ("mean", "sum_over_batch_size"):
            value = self._reduced(values * weights, y_pred, counted, "mean_with_sample_weight")
        else:
            value = self._reduced(values, y_pred, weights, reduction)
        return value, ops.sum(self._reduced(counted, y_pred, None, "sum"))

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The values of the loss, 0 where the label is missing.

        Args:
            y_true: labels `(batch, ...)`.
            y_pred: predictions `(batch, ...)`.
        """
        return self._values(y_true, y_pred)[0]

    @staticmethod
    def absent(labels: Any, missing_label: int | None) -> Any:
        """Which numbers stand for a missing label: booleans of the shape of `labels`.

        Args:
            labels: an array or tensor.
            missing_label: the integer that does so beside NaN, or None.
        """
        dtype = keras.backend.standardize_dtype(labels.dtype)
        absent = ops.isnan(labels) if "float" in dtype else ops.zeros_like(labels, dtype="bool")
        if missing_label is not None and _has(dtype, missing_label):
            absent = ops.logical_or(absent, ops.equal(labels, missing_label))
        return absent

    def _values(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        """The values of the loss, and which of them have no label, booleans that broadcast to them."""
        # Not in the dtype of the loss as yet, where two integers may become the same number.
        y_true = ops.convert_to_tensor(y_true)
        absent = self.absent(y_true, self.missing_label)
        innermost = ClassWeighted.innermost(self.loss)
        ignored = getattr(innermost, "ignore_class", None)  # these have no part in the mean of Keras' loss either
        if ignored is not None:
            absent = ops.logical_or(absent, self.absent(y_true, ignored))
        # A valid label in their place: what is computed of NaN has a gradient of NaN, even where it does not count.
        filled = ops.cast(ops.where(absent, ops.zeros((), dtype=y_true.dtype), y_true), self.dtype)
        predictions = ops.convert_to_tensor(y_pred, dtype=self.dtype)
        values = ops.convert_to_tensor(self.loss.call(filled, predictions), dtype=self.dtype)
        rank = len(values.shape)
        if rank == 0:
            raise ValueError(
                f"A masked loss needs a value for each example. Received: one for the batch, by the loss "
                f"{self.loss.name!r} ({type(self.loss).__name__}). Where it has an argument `axis`, leave out 0."
            )
        axis = _axis_of(innermost)
        axes = tuple(axis) if isinstance(axis, (list, tuple)) else (-1 if axis is None else axis,)
        if len(absent.shape) == rank + len(axes):
            missing = ops.any(absent, axis=axes)
        else:
            within = tuple(range(rank, len(absent.shape)))
            missing = _with_axes(ops.any(absent, axis=within) if within else absent, rank)
        pairs = zip(missing.shape, values.shape, strict=True)
        if any(None not in pair and 1 not in pair and len(set(pair)) > 1 for pair in pairs):
            raise ValueError(
                "A masked loss needs to know which labels a value is of: those along its attribute `axis`, or the last "
                f"axes. Received: labels of shape {tuple(absent.shape)} and values of shape {tuple(values.shape)}, by "
                f"the loss {self.loss.name!r} ({type(innermost).__name__})."
            )
        return ops.where(missing, 0.0, values), missing

    def _reduced(self, values: Any, y_pred: Any, weights: Any, reduction: str | None) -> Any:
        return Given(name=self.name, reduction=reduction, dtype=self.dtype)(values, y_pred, sample_weight=weights)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {
            "loss": keras.saving.serialize_keras_object(self.loss),
            "missing_label": self.missing_label,
            "name": self.name,
        }


class Given(keras.losses.Loss):
    """Reduces values that are given as labels."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The values."""
        del y_pred
        return y_true


def _axis_of(loss: keras.losses.Loss) -> Any:
    """The axes of the numbers that a value of the loss is of."""
    if isinstance(loss, keras.losses.CosineSimilarity):
        # Private: this one has no attribute for it. tests/unit/losses/test_masked.py would notice.
        return loss._fn_kwargs["axis"]
    return getattr(loss, "axis", -1)


def _with_axes(tensor: Any, rank: int) -> Any:
    """Sample weights, or which labels are missing, with as many axes as the values of the loss."""
    shape = tuple(tensor.shape)
    while len(tensor.shape) > rank and tensor.shape[-1] == 1:
        tensor = ops.squeeze(tensor, axis=-1)
    if len(tensor.shape) > rank:
        raise ValueError(
            f"Sample weights should have at most {rank} axes, as the values of the loss have. Received: weights of "
            f"shape {shape}. Give one for each example, or for each value."
        )
    for _ in range(rank - len(tensor.shape)):
        tensor = ops.expand_dims(tensor, axis=-1)
    return tensor


def _has(dtype: str, value: int) -> bool:
    """Whether a dtype has the integer."""
    if dtype == "bool" or "float" in dtype:
        return dtype != "bool"
    return bool(np.iinfo(dtype).min <= value <= np.iinfo(dtype).max)
