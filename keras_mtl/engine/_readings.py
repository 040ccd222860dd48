"""What `fit` has read of a data set in this process: the order of what comes next depends on it."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

# By what has another order in each reading: how often `fit` has begun to read it, and has come to its end.
_BEGUN: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
_TAKEN: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()


def reading_begins(source: Any, number: int = 1) -> None:
    """Notes that `fit` begins to read data: a pass, or one stream for all epochs."""
    _add(_BEGUN, source, number)


def pass_taken(source: Any, number: int = 1) -> None:
    """Notes that `fit` has come to the end of a pass that it began."""
    _add(_TAKEN, source, number)


def readings(source: Any) -> tuple[int, int]:
    """How many passes through some data were taken, and how many readings were begun beside them and broken off."""
    keys = _ordered(source)
    taken, begun = ([counts.get(key, 0) for key in keys] for counts in (_TAKEN, _BEGUN))
    return max(taken, default=0), max(begun, default=0) - min(taken, default=0)


def share_order(first: Any, second: Any) -> bool:
    """Whether reading one data set changes the order of the other: they have a `shuffle` in common that reshuffles."""
    return not _reshuffled(first).isdisjoint(_reshuffled(second))


def _add(counts: weakref.WeakKeyDictionary[Any, int], source: Any, number: int) -> None:
    for key in _ordered(source):
        counts[key] = counts.get(key, 0) + number


def _ordered(source: Any) -> set[Any]:
    """What the readings are counted by: two data sets may come from one `shuffle`, which goes on with both."""
    if isinstance(source, tf.data.Dataset):
        return _reshuffled(source) or {source}
    with contextlib.suppress(TypeError):  # some iterators have no weak references
        return {weakref.ref(source)()} if isinstance(source, Iterator) else set()
    return set()


def _reshuffled(data: Any) -> set[tf.data.Dataset]:
    """The parts of a pipeline that have another order in each reading.

    Those within the function of a `flat_map`, say, are not found. The attributes are private, and where a later
    TensorFlow has others, nothing is found: tests/unit/engine/test_readings.py would notice.
    """
    found: set[tf.data.Dataset] = set()
    waiting = [data] if isinstance(data, tf.data.Dataset) else []
    while waiting:
        part = waiting.pop()
        if getattr(part, "_reshuffle_each_iteration", False) or getattr(part, "_rerandomize", False):
            found.add(part)
        try:
            waiting.extend(part._inputs())
        except (AttributeError, NotImplementedError):
            continue
    return found
