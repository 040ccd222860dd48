"""Maps brought to the size of other maps, be the sizes known or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_mtl._registry import serializable


# Keras' adaptive pooling wants the sizes when the graph is made.
@serializable
class AverageTo(keras.layers.Layer):
    """Averages a map, window by window, to the size of another map.

    Of `n` numbers along an axis, number `i` of the `m` asked for is the average of those from `floor(i n / m)` up to
    `ceil((i + 1) n / m)`; where `m` is larger than `n`, numbers are repeated.

    Args:
        **kwargs: the arguments of `keras.layers.Layer`.
    """

    def call(self, inputs: Sequence[Any]) -> Any:
        """The first of two maps `(batch, ..., channels)`, in the size of the second."""
        x, like = inputs
        for axis in range(1, len(x.shape) - 1):
            windows = ops.cast(_windows(ops.shape(x)[axis], ops.shape(like)[axis]), x.dtype)
            x = ops.moveaxis(ops.matmul(ops.moveaxis(x, axis, -1), windows), -1, axis)
        return x

    def compute_output_shape(self, input_shape: Sequence[Sequence[int | None]]) -> tuple[int | None, ...]:
        """The shape of the second map, with the channels of the first."""
        first, second = input_shape
        return (*second[:-1], first[-1])


def _windows(size: Any, wanted: Any) -> Any:
    """What each of `size` numbers counts in each of `wanted` averages, float32 `[size, wanted]`."""
    position = ops.expand_dims(ops.arange(size, dtype="int32"), 1)
    number = ops.arange(wanted, dtype="int32")
    first = number * size // wanted
    end = ((number + 1) * size + wanted - 1) // wanted
    within = ops.cast((position >= first) & (position < end), "float32")
    return within / ops.cast(end - first, "float32")
