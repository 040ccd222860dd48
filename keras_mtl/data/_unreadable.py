"""Files that cannot be decoded: an error that names them, or left out and counted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import tensorflow as tf

_LOG = logging.getLogger("keras_mtl")
CHOICES = ("raise", "skip")

_CHUNK = 16  # files that are decoded together


class Unreadable(list[str]):
    """What could not be read so far, each once, in the order in which it was met.

    Args:
        what: what is read, `"image"`.
        mode: `"raise"` or `"skip"`.
    """

    def __init__(self, what: str, mode: str) -> None:
        super().__init__()
        self._what = what
        self._mode = mode
        self._known: set[str] = set()

    def met(self, place: bytes, reason: str = "") -> None:
        """Takes note of one, or raises.

        Args:
            place: where it is: a path, or a path and a line.
            reason: what is wrong with it.

        Raises:
            ValueError: if it should not be skipped.
        """
        name = place.decode(errors="replace")
        because = f" ({reason})" if reason else ""
        if self._mode == "raise":
            raise ValueError(
                f"Each {self._what} should be readable. Received: {name}{because}. Mend or remove it, or leave such "
                "ones out by `on_unreadable='skip'`."
            )
        if name not in self._known:
            self._known.add(name)
            self.append(name)
            _LOG.warning("Skipped the %s %s, which cannot be read%s: %d so far", self._what, name, because, len(self))


def decoded(
    examples: tf.data.Dataset, decode: Callable[[Any], Any], stand_in: Any, found: Unreadable
) -> tf.data.Dataset:
    """Pairs `(path, labels)` as `(decode(path), labels)`, in their order and in batches of some number.

    Args:
        examples: the pairs.
        decode: from a path to a tensor, in a graph.
        stand_in: a tensor of the shape and dtype of what is decoded.
        found: takes note of what cannot be decoded.
    """

    # A failure of an operation can be caught by a data set only. One for each example would cost more than to decode
    # it: so one for some of them, which are taken one by one where there was a failure.
    def chunk(paths: Any, labels: Any) -> tf.data.Dataset:
        whole = tf.data.Dataset.from_tensors((paths, labels))
        together = whole.map(
            lambda paths, labels: (tf.map_fn(decode, paths, fn_output_signature=stand_in.dtype), labels)
        ).map(lambda decoded, labels: (tf.ensure_shape(decoded, (None, *stand_in.shape)), labels))
        tried = whole.unbatch().flat_map(one)
        kept = tried.filter(lambda path, example, labels, is_good: tf.ensure_shape(report(path, is_good), ()))
        one_by_one = kept.map(lambda path, example, labels, is_good: (example, labels)).batch(_CHUNK)
        return together.ignore_errors().concatenate(one_by_one).take(1)

    def one(path: Any, labels: Any) -> tf.data.Dataset:
        example = tf.data.Dataset.from_tensors((path, labels))
        good = example.map(lambda path, labels: (path, decode(path), labels, True)).ignore_errors()
        return good.concatenate(example.map(lambda path, labels: (path, stand_in, labels, False))).take(1)

    def report(path: Any, is_good: Any) -> Any:
        def met(place: bytes) -> bool:
            found.met(place)
            return False

        return tf.cond(is_good, lambda: True, lambda: tf.numpy_function(met, [path], tf.bool))

    return examples.batch(_CHUNK).interleave(
        chunk, cycle_length=tf.data.AUTOTUNE, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
