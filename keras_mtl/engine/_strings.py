"""Arrays of strings on their way into Keras."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf


def strings_as_tensors(x: Any) -> Any:
    """Inputs with tensors in place of NumPy arrays of strings, which Keras slices in one dimension, as objects, only.

    Args:
        x: arrays, a structure of them, or a data set, which is returned as it is.
    """

    def one(value: Any) -> Any:
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "USO":
            return value
        if value.dtype.kind == "O" and not all(isinstance(cell, (str, bytes)) for cell in value.flat):
            return value
        return tf.constant(value, tf.string)

    return keras.tree.map_structure(one, x)
