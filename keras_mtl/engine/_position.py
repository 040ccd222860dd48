"""Where in its data a training is: what was read before is read past, arrays have an order for each epoch."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def number_of_batches(x: Any) -> int | None:
    """The batches of a pass through a `tf.data.Dataset`: None if that is not known, or without end, or `x` is none."""
    size = int(x.cardinality()) if isinstance(x, tf.data.Dataset) else -1
    return size if size >= 0 else None


def is_endless(x: tf.data.Dataset) -> bool:
    """Whether a data set is known to have no end."""
    return int(x.cardinality()) == tf.data.INFINITE_CARDINALITY


def read_past(x: tf.data.Dataset, passes: int) -> None:
    """Reads a data set as `fit` reads it on one device, several times, and throws it away.

    Where the number of batches is known, Keras makes two iterators an epoch, and throws one of them away unread; a
    `shuffle` that reshuffles draws its next order for each of them. tests/unit/engine/test_position.py would notice if
    that were otherwise.
    """
    for _ in range(passes):
        for _ in x:
            pass
        if number_of_batches(x) is not None:
            iter(x)


def endless(x: tf.data.Dataset) -> tf.data.Dataset:
    """Pass after pass through a data set, in one stream."""
    return x.repeat()


class ShuffledArrays:
    """Batches of arrays, in an order that is a function of a seed and the number of the epoch alone.

    Args:
        arrays: a structure of arrays or tensors with the same first dimension.
        batch_size: examples in a batch.

    Raises:
        ValueError: if they have other numbers of examples.
    """

    def __init__(self, arrays: Any, batch_size: int) -> None:
        self._number = _number_of_examples(arrays)
        # In the memory of the host, as large as they may be, whatever device is at work.
        with tf.device("CPU:0"), tf.init_scope():
            # As Keras does: arrays of floating-point numbers in the precision of the models.
            self._arrays = keras.tree.map_structure(_as_tensor, keras.tree.lists_to_tuples(arrays))
            self._seed = tf.Variable([0, 0], trainable=False, dtype="int64")
        self._batch_size = batch_size

    def begin(self, seed: int, epoch: int) -> None:
        """Sets the order of the next pass."""
        self._seed.assign([seed, epoch])

    def dataset(self) -> tf.data.Dataset:
        """The batches of a pass."""

        def batches(_: Any) -> tf.data.Dataset:
            order = tf.random.experimental.stateless_shuffle(tf.range(self._number, dtype="int64"), seed=self._seed)
            return tf.data.Dataset.from_tensor_slices(order).batch(self._batch_size)

        def rows(indices: Any) -> Any:
            return keras.tree.map_structure(lambda array: tf.gather(array, indices), self._arrays)

        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
        size = math.ceil(self._number / self._batch_size)
        stream = tf.data.Dataset.from_tensors(0).flat_map(batches).map(rows, tf.data.AUTOTUNE)
        stream = stream.apply(tf.data.experimental.assert_cardinality(size)).with_options(options)
        return stream.prefetch(tf.data.AUTOTUNE)


def can_shuffle(arrays: Any) -> bool:
    """Whether all of a structure are NumPy arrays or tensors of examples."""
    return all(isinstance(array, np.ndarray) or tf.is_tensor(array) for array in keras.tree.flatten(arrays))


def _number_of_examples(arrays: Any) -> int:
    leaves = keras.tree.flatten(arrays)
    numbers = {int(leaf.shape[0]) if len(leaf.shape) else None for leaf in leaves}
    number = numbers.pop()
    if numbers or number is None:
        raise ValueError(
            "All arrays of `x`, `y` and `sample_weight` should have the same number of examples, along their first "
            f"axis. Received: arrays of the shapes {[tuple(leaf.shape) for leaf in leaves]}. Give as many of each."
        )
    return number


def _as_tensor(array: Any) -> Any:
    if isinstance(array, np.ndarray) and array.dtype.kind == "f":
        return tf.convert_to_tensor(array.astype(keras.backend.floatx()))
    return tf.convert_to_tensor(array)
