"""The part of a batch that a replica has, which may be empty."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_mtl.engine._replicas import num_replicas


def divided(strategy: tf.distribute.Strategy, batch: Any) -> Any:
    """A batch that was given whole, for each replica its part of it, as data sets are divided.

    Args:
        strategy: the model's.
        batch: arrays or tensors with one number of rows, or None.
    """
    if strategy.num_replicas_in_sync == 1:
        return batch
    batch = keras.tree.map_structure(lambda leaf: None if leaf is None else tf.convert_to_tensor(leaf), batch)

    def own(batch: Any) -> Any:
        index = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, "int32")

        def part(leaf: Any) -> Any:
            if leaf is None:
                return None
            size = -(-tf.shape(leaf)[0] // strategy.num_replicas_in_sync)
            return leaf[index * size : (index + 1) * size]

        return keras.tree.map_structure(part, batch)

    return strategy.run(own, args=(batch,))


def on_a_row_at_least(call: Callable[[Any], Any], x: Any) -> Any:
    """Calls a model on its inputs; where a replica has no examples, on one of ones, which is not in the result.

    Convolutions fail on an empty batch, and the statistics of one are no numbers. Ones, as zeros are padding to some
    layers. The moving statistics of a batch normalization take them in.

    Args:
        call: from inputs to predictions by task, or to these and more, in which the row stays.
        x: the inputs of a replica.
    """
    leaves = [leaf for leaf in keras.tree.flatten(x) if isinstance(leaf, tf.Tensor)]
    if num_replicas() == 1 or not leaves or leaves[0].shape.rank is None or leaves[0].shape[0]:
        return call(x)
    size = tf.shape(leaves[0])[0]

    def with_row(leaf: Any) -> Any:
        if not isinstance(leaf, tf.Tensor):
            return leaf
        row = tf.concat([[1], tf.shape(leaf)[1:]], 0)
        filling = tf.constant("a") if leaf.dtype == tf.string else tf.cast(1, leaf.dtype)
        found = tf.cond(tf.equal(size, 0), lambda: tf.fill(row, filling), lambda: leaf)
        return tf.ensure_shape(found, [None, *leaf.shape[1:]])

    def own(prediction: Any) -> Any:
        found = prediction[:size]
        # Private: Keras has no public way to a tensor's mask. tests/integration/test_empty_parts.py would notice.
        mask = getattr(prediction, "_keras_mask", None)
        if mask is not None:
            found._keras_mask = mask[:size]
        return found

    found = call(keras.tree.map_structure(with_row, x))
    if isinstance(found, tuple):
        return keras.tree.map_structure(own, found[0]), *found[1:]
    return keras.tree.map_structure(own, found)
