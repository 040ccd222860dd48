"""Sample weights with the axes of the labels that they are of."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from keras_mtl.tasks import Task


def weight_of_labels(task: Task, weight: Any, labels: Any) -> Any:
    """A weight of examples, or of places, that broadcasts to the labels.

    As in Keras, it may have axes of 1 at the end that the labels have not.

    Args:
        task: the task.
        weight: a tensor `(batch, ...)`.
        labels: a tensor with a number for each label, of known rank.

    Raises:
        ValueError: if it has other axes, as far as that is known when a step is traced.
    """
    rank = labels.shape.rank
    # Keras forgets the rank where a step is given `(batch,)` and then `(batch, 1)`.
    beyond = () if weight.shape.rank is None else tuple(weight.shape)[rank:]
    if weight.shape.rank is None or (None in beyond and {None, 1}.issuperset(beyond) and _fit(weight, labels)):
        sizes = tf.concat([tf.shape(weight), tf.ones([rank], "int32")], 0)[:rank]
        return tf.reshape(weight, tf.ensure_shape(sizes, [rank]))
    received = tuple(weight.shape)
    while weight.shape.rank > rank and weight.shape[-1] == 1:
        weight = tf.squeeze(weight, -1)
    for _ in range(rank - weight.shape.rank):
        weight = tf.expand_dims(weight, -1)
    if weight.shape.rank > rank or not _fit(weight, labels):
        raise ValueError(
            f"Sample weights of task {task.name!r} ({type(task).__name__}) should be one for each example, of shape "
            f"(batch,){'' if rank == 1 else f', or one for each label, of shape {tuple(labels.shape)}'}. "
            f"Received: shape {received}"
        )
    return weight


def _fit(weight: Any, labels: Any) -> bool:
    pairs = zip(weight.shape, labels.shape, strict=False)
    return all(None in pair or pair[0] in (1, pair[1]) for pair in pairs)
