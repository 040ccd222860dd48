"""Whether gradients are finite, and zeros in the place of those that are not to count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf


def are_finite(gradients: Sequence[Any]) -> Any:
    """Whether gradients, dense or by rows, or None, are finite on this replica, a boolean tensor.

    Their sum tells it in one pass over the numbers, unless it is not finite: then each number is looked at.
    """
    values = _values(gradients)
    if not values:
        return tf.constant(True)
    total = tf.add_n([tf.cast(tf.reduce_sum(value), "float32") for value in values])
    return tf.cond(
        tf.math.is_finite(total),
        lambda: tf.constant(True),
        lambda: tf.reduce_all([tf.reduce_all(tf.math.is_finite(value)) for value in values]),
    )


def zeros_unless(flag: Any, gradients: Sequence[Any]) -> list[Any]:
    """Gradients, dense or by rows, or None, or zeros of their make if a flag is false.

    A condition, and no product or choice: it hands the gradients on as they are, without a copy.
    """
    values = _values(gradients)
    if not values:
        return list(gradients)
    chosen = iter(tf.cond(flag, lambda: values, lambda: [tf.zeros_like(value) for value in values]))
    return [_with_values(gradient, chosen) for gradient in gradients]


def _values(gradients: Sequence[Any]) -> list[Any]:
    return [g.values if isinstance(g, tf.IndexedSlices) else g for g in gradients if g is not None]


def _with_values(gradient: Any, values: Iterator[Any]) -> Any:
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(next(values), gradient.indices, gradient.dense_shape)
    return None if gradient is None else next(values)
