"""Which examples of a data set go into a mixture: those of a shard that are not excluded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_mtl.data._layout import Layout
from keras_mtl.data._leaks import Leaks

_CHUNK = 64  # examples that are filled at once: one by one costs more than everything else


def excluded_positions(exclude: Any, datasets: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The positions to leave out, sorted, by data set."""
    if exclude is None:
        exclude = {}
    elif isinstance(exclude, Leaks):
        exclude = exclude.overlaps("train")
        unread = [name for name in datasets if name not in exclude]
        if unread:
            raise ValueError(
                f"Parameter `exclude` should know every data set, with a split 'train'. Received: leaks of "
                f"{sorted(exclude)}, and data sets {unread} besides. Give them to `find_leaks` by these names."
            )
    elif not isinstance(exclude, Mapping) or not set(exclude) <= set(datasets):
        raise ValueError(
            f"Parameter `exclude` should be what `find_leaks` returned, or positions by data set: {list(datasets)}. "
            f"Received: exclude={exclude!r}"
        )
    found = {}
    for name in datasets:
        positions = np.unique(np.asarray(exclude.get(name, ()), dtype="float64"))
        if positions.ndim != 1 or (positions != np.floor(positions)).any() or (positions < 0).any():
            raise ValueError(
                f"Parameter `exclude` should hold positions, integers of at least 0. Received: for data set {name!r}: "
                f"{exclude[name]!r}"
            )
        found[name] = positions.astype("int64")
    return found


def num_examples(
    name: str, dataset: tf.data.Dataset, exclude: Any, excluded: np.ndarray, index: int, number: int
) -> float | None:
    """How many examples the shard of a data set has: None if that is not known."""
    size = int(dataset.cardinality())
    if isinstance(exclude, Leaks):
        read = exclude.sizes[name, "train"]
        if size not in (read, tf.data.UNKNOWN_CARDINALITY):
            raise ValueError(
                f"Parameter `exclude` should be of the same data. Received: leaks found in {read} training examples of "
                f"{name!r}, and a data set of {size}"
            )
        size = read
    if size == tf.data.INFINITE_CARDINALITY:
        return math.inf
    if size == tf.data.UNKNOWN_CARDINALITY:
        if not any(True for _ in dataset.take(1)):
            raise ValueError(f"Data set {name!r} should have one example at least. Received: an empty data set")
        return None
    if len(excluded) and excluded[-1] >= size:
        raise ValueError(
            f"Parameter `exclude` should hold positions below {size}, the size of data set {name!r}. Received: "
            f"{excluded[-1]}"
        )
    left = len(range(index, size, number)) - int((excluded % number == index).sum())
    if left == 0:
        raise ValueError(
            f"Data set {name!r} should have one example at least. Received: {size} examples, of which {len(excluded)} "
            f"are excluded, and {left} are left in shard {index} of {number}"
        )
    return left


def examples(
    dataset: tf.data.Dataset, layout: Layout, excluded: np.ndarray, index: int, number: int
) -> tf.data.Dataset:
    """The examples of a data set's shard that are not excluded, with all inputs and labels."""
    if number > 1:
        dataset = dataset.shard(number, index)
    chunks = dataset.batch(_CHUNK)
    if len(excluded):

        def keep(chunk: Any, element: Any) -> Any:
            rows = tf.range(tf.shape(next(iter(element[1].values())))[0], dtype="int64")
            positions = index + number * (chunk * _CHUNK + rows)
            nearest = tf.minimum(tf.searchsorted(excluded, positions), len(excluded) - 1)
            kept = tf.boolean_mask(rows, tf.gather(excluded, nearest) != positions)
            return tf.nest.map_structure(lambda part: tf.gather(part, kept), element)

        chunks = chunks.enumerate().map(keep)
    return chunks.map(layout.fill).unbatch()
