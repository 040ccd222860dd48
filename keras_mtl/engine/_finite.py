"""Whether gradients are finite, and zeros in the place of those that are not to count."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from keras_mtl.engine._seldom import seldom


def are_finite(gradients: Sequence[Any]) -> Any:
    """Whether gradients, dense or by rows, or None, are finite on this replica, a boolean tensor."""
    return each_finite([gradients])[0]


def each_finite(groups: Sequence[Sequence[Any]]) -> Any:
    """Whether the gradients of each group, dense or by rows, or None, are finite on this replica, `[num_groups]`.

    Their sums tell it in one pass over the numbers, unless one is not finite: then each number is looked at.
    """
    values = [_values(group) for group in groups]

    def total(group: Sequence[Any]) -> Any:
        sums = [tf.cast(tf.reduce_sum(value), "float32") for value in group]
        return tf.add_n(sums) if sums else tf.zeros(())

    def look(group: Sequence[Any]) -> Any:
        found = [tf.reduce_all(tf.math.is_finite(value)) for value in group]
        return tf.reduce_all(tf.stack(found)) if found else tf.constant(True)

    finite = tf.math.is_finite(tf.stack([total(group) for group in values]))
    return seldom(tf.reduce_all(finite), lambda: finite, lambda: tf.stack([look(group) for group in values]))


def zeros_unless(flag: Any, gradients: Sequence[Any]) -> list[Any]:
    """Gradients, dense or by rows, or None, or zeros of their make if a flag is false."""
    return _changed_unless(flag, gradients, lambda values: [tf.zeros_like(value) for value in values])


def zeros_where_not(flags: Any, groups: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Groups of gradients, dense or by rows, or None: zeros of their make in those whose flag is false.

    Args:
        flags: a boolean for each group, `[num_groups]`.
        groups: the gradients.
    """
    owners = [index for index, group in enumerate(groups) for gradient in group if gradient is not None]

    def change(values: Sequence[Any]) -> list[Any]:
        kept = tf.unstack(flags, len(groups))
        return [tf.where(kept[owner], value, tf.zeros_like(value)) for owner, value in zip(owners, values, strict=True)]

    chosen = iter(_changed_unless(tf.reduce_all(flags), [gradient for group in groups for gradient in group], change))
    return [[next(chosen) for _ in group] for group in groups]


def _changed_unless(flag: Any, gradients: Sequence[Any], change: Callable[[Sequence[Any]], list[Any]]) -> list[Any]:
    """A condition, and no product or choice: it hands the gradients on as they are, without a copy."""
    values = _values(gradients)
    if not values:
        return list(gradients)
    chosen = iter(seldom(flag, lambda: values, lambda: change(values)))
    return [_with_values(gradient, chosen) for gradient in gradients]


def _values(gradients: Sequence[Any]) -> list[Any]:
    return [g.values if isinstance(g, tf.IndexedSlices) else g for g in gradients if g is not None]


def _with_values(gradient: Any, values: Iterator[Any]) -> Any:
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(next(values), gradient.indices, gradient.dense_shape)
    return None if gradient is None else next(values)
