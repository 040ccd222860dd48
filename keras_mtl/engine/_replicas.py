"""Sums over the replicas of a `tf.distribute` strategy, from within a replica."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def num_replicas() -> int:
    """How many replicas there are: 1 without a strategy."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def sum_over_replicas(values: Any) -> Any:
    """A tensor, or each of a list of tensors, summed over the replicas."""
    if num_replicas() == 1 or (isinstance(values, list) and not values):
        return values
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values)
