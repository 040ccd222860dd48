"""Whether tensors are finite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def are_finite(gradients: Sequence[Any]) -> Any:
    """Whether gradients, dense or by rows, or None, are finite on this replica, a boolean tensor.

    Their sum tells it in one pass over the numbers, unless it is not finite: then each number is looked at.
    """
    values = [g.values if isinstance(g, tf.IndexedSlices) else g for g in gradients if g is not None]
    if not values:
        return tf.constant(True)
    total = tf.add_n([tf.cast(tf.reduce_sum(value), "float32") for value in values])
    return tf.cond(
        tf.math.is_finite(total),
        lambda: tf.constant(True),
        lambda: tf.reduce_all([tf.reduce_all(tf.math.is_finite(value)) for value in values]),
    )
