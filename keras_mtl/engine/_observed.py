"""A train function that can show a batch before it trains on it: callbacks of Keras never see one."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    from keras_mtl.engine._protocol import TrainableModel


@dataclass(frozen=True)
class ReadBefore:
    """In place of an iterator over the data: a batch that was read from it, divided among the replicas."""

    batch: Any

    def __iter__(self) -> Iterator[Any]:
        """The batch, once: Keras' own function, which one replica has under XLA, reads it so."""
        yield self.batch


def observed(
    model: TrainableModel, train_function: Callable[[Any], dict[str, Any]], waiting: list[Callable[[Any], None]]
) -> Callable[[Any], dict[str, Any]]:
    """A train function that hands its next batch to an observer first, if one is waiting for it.

    The batch is read from the iterator, shown, and put before the train function again as an iterator of the same
    structure, so that it is the same graph which trains on the same numbers.

    Args:
        model: a compiled model.
        train_function: what `fit` calls for one or several steps.
        waiting: the observers, which are taken out as they are called.
    """

    def function(iterator: Any) -> dict[str, Any]:
        if not waiting or not isinstance(iterator, (tf.data.Iterator, tf.distribute.DistributedIterator)):
            return train_function(iterator)
        batches = list(itertools.islice(iterator, model.steps_per_execution))
        if not batches:
            raise StopIteration
        while waiting:
            waiting.pop()(batches[0])
        if isinstance(iterator, tf.data.Iterator):
            return train_function(_again(batches, iterator.element_spec))
        return [train_function(ReadBefore(batch)) for batch in batches][-1]

    return function


def _again(batches: Sequence[Any], element_spec: Any) -> Any:
    """An iterator over batches that were read already, with the structure of the one that they came from."""
    datasets = [tf.data.Dataset.from_tensors(batch) for batch in batches]
    joined = functools.reduce(lambda first, second: first.concatenate(second), datasets)
    # With the shapes of the first iterator, unknown sizes among them: the graph would be traced again for others.
    return iter(tf.data.experimental.from_variant(tf.data.experimental.to_variant(joined), element_spec))
