"""Files that cannot be decoded: an error that names them, or left out and counted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

_LOG = logging.getLogger("keras_mtl")
CHOICES = ("raise", "skip")

CHUNK = 64  # files that are handed on together where batches are taken apart again
_SKIP_CHUNK = 16  # files that are decoded together, and one by one if one of them fails


class Unreadable(list[str]):
    """What could not be read so far, each once, in the order in which it was met.

    Args:
        what: what is read, `"image"`.
        mode: `"raise"` or `"skip"`.
    """

    def __init__(self, what: str, mode: str) -> None:
        super().__init__()
        self._what = what
        self.skips = mode == "skip"
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
        if not self.skips:
            raise ValueError(
                f"Each {self._what} should be readable. Received: {name}{because}. Mend or remove it, or leave such "
                "ones out by `on_unreadable='skip'`."
            )
        if name not in self._known:
            self._known.add(name)
            self.append(name)
            _LOG.warning("Skipped the %s %s, which cannot be read%s: %d so far", self._what, name, because, len(self))


def decoded(
    examples: tf.data.Dataset,
    decode: Callable[[Any], Any],
    stand_in: Any,
    found: Unreadable,
    chunk: int,
    paths: Sequence[str],
) -> tf.data.Dataset:
    """Pairs `(path, labels)` as `(decode(path), labels)`, in their order and in batches, or an error that names a path.

    Args:
        examples: the pairs, whose labels are a dict.
        decode: from a path to a tensor, in a graph.
        stand_in: a tensor of the shape and dtype of what is decoded.
        found: raises for what cannot be decoded.
        chunk: how many make a batch.
        paths: all paths, in any order.
    """
    number = len(paths)

    # Where an example failed, its batch is missing, which is seen by the one that comes in its place. What failed is
    # then looked for among all paths: this way nothing is done for each example as long as none fails, and what is
    # decoded goes straight into its batch.
    def numbered(position: Any, pair: Any) -> tuple[Any, Any, dict[str, Any]]:
        return position, decode(pair[0]), pair[1]

    def search() -> bool:
        for path in paths:
            try:
                decode(tf.constant(path))
            except tf.errors.OpError as error:
                found.met(path.encode(), str(error.message).split("\n")[0])
        raise ValueError("A file could not be read, and now all of them can. Begin again.")

    def checked(index: Any, rows: Any) -> tuple[Any, dict[str, Any]]:
        positions, files, labels = rows
        is_next = tf.equal(positions[0], index * chunk)
        check = tf.cond(is_next, lambda: True, lambda: tf.numpy_function(search, [], tf.bool))
        with tf.control_dependencies([check]):
            return tf.identity(files), labels

    good = examples.enumerate().map(numbered, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    # Behind the others, in place of the last batch if one is missing.
    none = {key: tf.zeros(spec.shape, spec.dtype) for key, spec in examples.element_spec[1].items()}
    last = tf.data.Dataset.from_tensors((tf.constant(number, "int64"), stand_in, none)).batch(1)
    batches = good.batch(chunk).ignore_errors().concatenate(last)
    return batches.enumerate().map(checked).take(-(-number // chunk))


def decoded_or_skipped(
    examples: tf.data.Dataset, decode: Callable[[Any], Any], stand_in: Any, found: Unreadable
) -> tf.data.Dataset:
    """Pairs `(path, labels)` as `(decode(path), labels)`, in order and in batches of some number, but those that fail.

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
        one_by_one = kept.map(lambda path, example, labels, is_good: (example, labels)).batch(_SKIP_CHUNK)
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

    return examples.batch(_SKIP_CHUNK).interleave(
        chunk, cycle_length=tf.data.AUTOTUNE, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
