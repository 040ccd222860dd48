"""A map in the size of another one, be the sizes known or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_mtl._registry import serializable


# `keras.layers.Resizing` and `keras.ops.image.resize` want the size when the graph is made.
@serializable
class ResizeLike(keras.layers.Layer):
    """Resizes a map to the height and width of another one, bilinearly.

    Args:
        **kwargs: the arguments of `keras.layers.Layer`.

    Example:

    >>> import keras
    >>> from keras_mtl import heads
    >>> heads.ResizeLike()([keras.Input((None, None, 5)), keras.Input((32, None, 3))]).shape
    (None, 32, None, 5)
    """

    def call(self, inputs: Sequence[Any]) -> Any:
        """The first of two maps `(batch, height, width, channels)`, in the size of the second."""
        x, like = inputs
        for axis in (1, 2):
            shares = ops.cast(_shares(ops.shape(x)[axis], ops.shape(like)[axis]), x.dtype)
            x = ops.moveaxis(ops.matmul(ops.moveaxis(x, axis, -1), shares), -1, axis)
        return x

    def compute_output_shape(self, input_shape: Sequence[Sequence[int | None]]) -> tuple[int | None, ...]:
        """The shape of the second map, with the channels of the first."""
        first, second = input_shape
        return (first[0], *second[1:3], first[3])


def _shares(size: Any, wanted: Any) -> Any:
    """What each of `size` numbers counts in each of `wanted` between them, float32 `[size, wanted]`.

    Number `i` of those wanted is at `(i + 1/2) size / wanted - 1/2`, or at the nearer end where that is outside.
    """
    scale = ops.cast(size, "float32") / ops.cast(wanted, "float32")
    place = (ops.cast(ops.arange(wanted, dtype="int32"), "float32") + 0.5) * scale - 0.5
    place = ops.clip(place, 0.0, ops.cast(size, "float32") - 1.0)
    number = ops.cast(ops.expand_dims(ops.arange(size, dtype="int32"), 1), "float32")
    return ops.relu(1.0 - ops.abs(place - number))
