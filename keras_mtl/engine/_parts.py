"""The part of a batch that a replica has, which may be empty."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from keras_mtl._layers import inner_layers
from keras_mtl.engine._replicas import num_replicas

# Layers that fail on a batch without examples (max pooling ends the process), or find no numbers for its statistics.
_NEED_ONE = (
    *(keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D),
    *(keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose),
    *(keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D),
    *(keras.layers.SeparableConv1D, keras.layers.SeparableConv2D),
    *(keras.layers.ConvLSTM1D, keras.layers.ConvLSTM2D, keras.layers.ConvLSTM3D),
    *(keras.layers.MaxPooling1D, keras.layers.MaxPooling2D, keras.layers.MaxPooling3D),
    *(keras.layers.AdaptiveMaxPooling1D, keras.layers.AdaptiveMaxPooling2D, keras.layers.AdaptiveMaxPooling3D),
    *(keras.layers.RandomElasticTransform, keras.layers.RandAugment, keras.layers.AugMix),
    *(keras.layers.MelSpectrogram, keras.layers.BatchNormalization),
)


def divided(strategy: tf.distribute.Strategy, batch: Any) -> Any:
    """A batch that was given whole, for each replica its part of it, as data sets are divided.

    Args:
        strategy: the model's.
        batch: arrays or tensors, ragged or sparse ones too, with one number of rows, or None.
    """
    if strategy.num_replicas_in_sync == 1:
        return batch

    def own(batch: Any) -> Any:
        index = tf.distribute.get_replica_context().replica_id_in_sync_group
        return keras.tree.map_structure(lambda leaf: _part(leaf, index, strategy.num_replicas_in_sync), batch)

    return strategy.run(own, args=(keras.tree.map_structure(_as_tensor, batch),))


def _as_tensor(leaf: Any) -> Any:
    return leaf if leaf is None or isinstance(leaf, _ROWS) else tf.convert_to_tensor(leaf)


_ROWS = (tf.RaggedTensor, tf.SparseTensor)


def _part(leaf: Any, index: Any, number: int) -> Any:
    if leaf is None:
        return None
    rows = tf.cast(leaf.nrows() if isinstance(leaf, tf.RaggedTensor) else tf.shape(leaf)[0], "int64")
    size = -(-rows // number)
    begin = tf.minimum(tf.cast(index, "int64") * size, rows)
    end = tf.minimum(begin + size, rows)
    if not isinstance(leaf, tf.SparseTensor):
        return leaf[begin:end]
    others = leaf.dense_shape[1:]
    return tf.sparse.slice(leaf, tf.concat([[begin], tf.zeros_like(others)], 0), tf.concat([[end - begin], others], 0))


def on_a_row_at_least(model: keras.Model, call: Callable[[Any], Any], x: Any) -> Any:
    """Calls a model on its inputs; where a replica has no examples, on one of ones, which is not in the result.

    It is for models with convolutions, max pooling and some others, which fail on an empty batch, and with batch
    normalization, whose moving statistics take the ones in, as what layers add to the losses does. Ones, for zeros are
    padding to some layers.

    Args:
        model: the model.
        call: from inputs to predictions by task, or to these and more, in which the row stays.
        x: the inputs of a replica, dense tensors; others are left as they are.
    """
    leaves = keras.tree.flatten(x)
    dense = all(isinstance(leaf, tf.Tensor) and leaf.shape.rank for leaf in leaves)
    if num_replicas() == 1 or not dense or leaves[0].shape[0]:
        return call(x)
    if not any(isinstance(layer, _NEED_ONE) for layer in inner_layers(model)):
        return call(keras.tree.map_structure(_of_any_size, x))
    size = tf.shape(leaves[0])[0]

    def with_row(leaf: Any) -> Any:
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


def _of_any_size(leaf: Any) -> Any:
    """A tensor whose graph does not know that it is empty: some operations, of LSTM and of sums, fail where it does."""
    if tf.executing_eagerly() or leaf.shape[0] != 0:
        return leaf
    return tf.compat.v1.placeholder_with_default(leaf, [None, *leaf.shape[1:]])
