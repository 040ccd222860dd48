"""From examples to batches: the cache, the order and the prefetching that all readers share."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_mtl._checks import check_integer

Prepare = Callable[[Any, dict[str, Any]], tuple[Any, dict[str, Any]]]

DISK_BUFFER = 1000  # examples of a cache on disk that are held to choose the next one from


def check_common(batch_size: Any, shuffle_seed: Any, cache: Any) -> None:
    """Raises a `ValueError` for arguments of a reader that are out of their range.

    Args:
        batch_size: an integer of at least 1.
        shuffle_seed: an integer of at least 0, or None.
        cache: None, `"memory"`, or a path.
    """
    check_integer(batch_size, "batch_size")
    if shuffle_seed is not None:
        check_integer(shuffle_seed, "shuffle_seed", minimum=0)
    if cache is not None and (not isinstance(cache, (str, os.PathLike)) or not os.fspath(cache)):
        raise ValueError(
            f"Parameter `cache` should be None, 'memory', or the path of a file to write. Received: cache={cache!r}"
        )


def check_size(value: Any, parameter: str) -> tuple[int, int]:
    """A height and a width.

    Raises:
        ValueError: if it is something else.
    """
    is_pair = isinstance(value, (tuple, list)) and len(value) == 2
    if not is_pair:
        raise ValueError(
            f"Parameter `{parameter}` should be a height and a width, (224, 224) for one. Received: "
            f"{parameter}={value!r}"
        )
    height, width = (check_integer(size, f"{parameter}[{index}]") for index, size in enumerate(value))
    return height, width


def cached(examples: tf.data.Dataset, cache: str | os.PathLike[str] | None) -> tf.data.Dataset:
    """The examples, kept after their first pass if a cache was asked for."""
    if cache is None:
        return examples
    # A source that is abandoned may end as if it were complete, and the cache would hold a part for good: with its
    # number asserted, it fails instead, in a pass that nobody reads any more.
    number = examples.cardinality()
    if number >= 0:
        examples = examples.apply(tf.data.experimental.assert_cardinality(number))
    return examples.cache("" if cache == "memory" else os.fspath(cache))


def prepared(examples: tf.data.Dataset, prepare: Prepare | None) -> tf.data.Dataset:
    """The examples after the user's own function, before any cache.

    Raises:
        ValueError: if it is no function, or gives something else than inputs and labels.
    """
    if prepare is None:
        return examples
    if not callable(prepare):
        raise ValueError(
            f"Parameter `prepare` should be a function of (inputs, {{label: value}}) that returns both. Received: "
            f"prepare={prepare!r}"
        )
    found = examples.map(prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    spec = found.element_spec
    if not isinstance(spec, tuple) or len(spec) != 2 or not isinstance(spec[1], dict):
        raise ValueError(
            f"Parameter `prepare` should return (inputs, {{label: value}}). Received elements like: {spec}"
        )
    return found


def shuffled(examples: tf.data.Dataset, buffer: int, seed: int | None) -> tf.data.Dataset:
    """The examples in a new order in each pass that the seed determines, or as they are."""
    if seed is None:
        return examples
    return examples.shuffle(max(buffer, 1), seed=seed, reshuffle_each_iteration=True)
