"""Lines of text files, each with its labels, as batches."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_mtl._checks import check_integer, check_one_of
from keras_mtl.data._batches import Prepare, cached, check_common, prepared, shuffled
from keras_mtl.data._columns import ClassNames, check_class_names
from keras_mtl.data._labels import MISSING
from keras_mtl.data._unreadable import CHOICES, Unreadable

_CHUNK = 1024  # lines that are taken apart at once
_MOST_GROUPS = 9  # to which RE2 can refer in a replacement
_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}".encode()  # with which some programs begin a file in UTF-8
_ODD = "\N{REPLACEMENT CHARACTER}"


def from_text_lines(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    pattern: str,
    *,
    batch_size: int,
    text: str = "text",
    numbers: Sequence[str] = (),
    class_names: ClassNames | None = None,
    encoding: str = "utf-8",
    prepare: Prepare | None = None,
    shuffle_seed: int | None = None,
    shuffle_buffer: int = 10_000,
    cache: str | os.PathLike[str] | None = None,
    on_unreadable: str = "raise",
) -> tf.data.Dataset:
    """Batches of the lines of text files, each of which holds a text and its labels.

    Lines are read as they are needed: files may be larger than the memory. Blank lines are passed over.

    Args:
        paths: a file, or several, read one after the other. A name that ends in `.gz` is unpacked.
        pattern: a regular expression of a whole line, without its end, whose named groups are the text and the labels:
            `r"(?P<stars>[0-4]) (?P<text>.*)"`, or for two labels `r"(?P<fine>(?P<coarse>\\w+):\\w+) (?P<text>.*)"`.
            What Python's `re` and RE2 have in common will do. An empty group is a missing label.
        batch_size: lines in a batch, at least 1. The last batch holds what remains.
        text: the group that is the input. Defaults to `"text"`.
        numbers: the labels that are numbers; the others are names of classes. Defaults to none.
        class_names: the names of the classes by label, in the order of their indices. Defaults to None: those that
            there are, sorted, which takes a pass over the files. For other data than those of training, give the ones
            of training.
        encoding: of the files. Defaults to `"utf-8"`.
        prepare: a function of `(text, {label: value})` of one example that returns both, within `tf.data` and before
            the cache. Defaults to None.
        shuffle_seed: an integer of at least 0 for a new order in each epoch that this seed determines. Defaults to
            None: the order of the lines.
        shuffle_buffer: how many examples are held to choose the next one from, where there is a `shuffle_seed`. An
            order that is random as a whole needs as many as there are lines. Defaults to 10,000.
        cache: None, `"memory"`, or the path of a file: examples are kept after the first pass. Defaults to None.
        on_unreadable: `"raise"`: a line that has not the pattern, the encoding, a known class or a number ends the
            reading with an error that names file and line; `"skip"`: it is left out, logged and counted. Defaults to
            `"raise"`.

    Returns:
        A `tf.data.Dataset` of `(texts, {label: values})`: strings in UTF-8, class indices int64 and numbers float32,
        all `(batch,)`. Its attributes: `class_names`, by label; `unreadable`, a list of the lines that were skipped so
        far.

    Raises:
        ValueError: if an argument is out of its range, there is no such file, or a label has no class.

    Example:

    >>> import pathlib, tempfile
    >>> from keras_mtl import data
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder) / "questions.txt"
    ...     _ = file.write_text("NUM:dist How far is it ?\\nHUM:ind Who was he ?\\n")
    ...     rule = r"(?P<fine>(?P<coarse>\\w+):\\w+) (?P<text>.*)"
    ...     dataset = data.from_text_lines(file, rule, batch_size=2)
    ...     x, y = next(iter(dataset))
    >>> x.numpy()[1], y["coarse"].numpy().tolist(), dataset.class_names["fine"]
    (b'Who was he ?', [1, 0], ['HUM:ind', 'NUM:dist'])
    """
    check_common(batch_size, shuffle_seed, cache)
    check_one_of(on_unreadable, "on_unreadable", CHOICES)
    shuffle_buffer = check_integer(shuffle_buffer, "shuffle_buffer")
    files = _check_files(paths)
    labels = _check_pattern(pattern, text, numbers)
    encoding = _check_encoding(encoding)
    check_class_names(class_names, [key for key in labels if key not in numbers])
    unreadable = Unreadable("line", on_unreadable)
    parts = _parts(files, pattern, encoding, unreadable)
    names = {key: list((class_names or {}).get(key, ())) for key in labels if key not in numbers}
    _find_classes(parts, names, files)
    examples = parts.map(
        _labelling(text, list(numbers), names, unreadable), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    if prepare is not None or shuffle_seed is not None or cache is not None:
        examples = cached(prepared(examples.unbatch(), prepare), cache)
        batches = shuffled(examples, shuffle_buffer, shuffle_seed).batch(batch_size)
    else:
        batches = examples.rebatch(batch_size)
    batches = batches.prefetch(tf.data.AUTOTUNE)
    batches.class_names, batches.unreadable = names, unreadable
    return batches


def _check_files(paths: Any) -> list[str]:
    files = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    absent = [os.fspath(file) for file in files if not Path(file).is_file()]
    if absent or not files:
        raise ValueError(f"Parameter `paths` should be files that exist, one at least. Received: {absent or paths!r}")
    return [os.fspath(file) for file in files]


def _check_encoding(encoding: str) -> str:
    """The name of an encoding that both Python and TensorFlow know."""
    try:
        name = codecs.lookup(encoding).name
        name = "utf-8" if name == "utf-8-sig" else name  # a mark at the beginning is left out in any case
        tf.strings.unicode_transcode("", name, "UTF-8")
    except (LookupError, tf.errors.InvalidArgumentError) as error:
        raise ValueError(
            f"Parameter `encoding` should be known to Python and to TensorFlow. Received: encoding={encoding!r}"
        ) from error
    return name


def _check_pattern(pattern: Any, text: str, numbers: Sequence[str]) -> list[str]:
    """The labels that a pattern has."""
    try:
        groups = list(re.compile(pattern).groupindex)
        tf.strings.regex_full_match("", pattern)
    except (re.error, TypeError, tf.errors.InvalidArgumentError) as error:
        raise ValueError(
            f"Parameter `pattern` should be a regular expression. Received: {pattern!r} ({error})"
        ) from error
    labels = [group for group in groups if group != text]
    if text not in groups or not labels:
        raise ValueError(
            f"Parameter `pattern` should have a group for the text, (?P<{text}>...), and one for each label. Received: "
            f"groups {groups}"
        )
    late = [group for group, number in re.compile(pattern).groupindex.items() if number > _MOST_GROUPS]
    if late:
        raise ValueError(
            f"Parameter `pattern` should have {_MOST_GROUPS} groups at most, with and without a name. Received: {late} "
            "beyond them. Write groups that have no name as (?:...)."
        )
    if isinstance(numbers, str) or not set(numbers) <= set(labels):
        raise ValueError(
            f"Parameter `numbers` should hold labels of the pattern, which are {labels}. Received: numbers={numbers!r}"
        )
    return labels


def _parts(files: Sequence[str], pattern: str, encoding: str, unreadable: Unreadable) -> tf.data.Dataset:
    """Chunks of `{group: strings}` and of the places of the lines."""
    groups = re.compile(pattern).groupindex

    def lines_of(file: str) -> tf.data.Dataset:
        lines = tf.data.TextLineDataset(file, compression_type="GZIP" if file.endswith(".gz") else "")
        return lines.batch(_CHUNK).enumerate().map(lambda chunk, lines: (file, chunk, lines))

    def apart(file: Any, chunk: Any, raw: Any) -> tuple[dict[str, Any], Any]:
        places = file + ", line " + tf.strings.as_string(chunk * _CHUNK + tf.range(tf.size(raw, "int64")) + 1)
        if encoding == "utf-8":
            is_first = tf.equal(chunk * _CHUNK + tf.range(tf.size(raw, "int64")), 0)
            raw = tf.where(is_first, tf.strings.regex_replace(raw, b"^" + _MARK, ""), raw)
        lines = tf.strings.unicode_transcode(raw, encoding, "UTF-8", errors="replace")
        # Bytes that are no character become one that stands for such; one that was there before is left alone.
        is_odd = tf.strings.regex_full_match(lines, f"(?s).*{_ODD}.*")
        if encoding == "utf-8":
            is_odd &= lines != raw
        is_blank = tf.strings.regex_full_match(lines, r"\s*")
        fits = tf.strings.regex_full_match(lines, pattern) & ~is_odd
        kept = _reported(fits | is_blank, places, "it has not the pattern or the encoding", unreadable) & ~is_blank
        lines, places = tf.boolean_mask(lines, kept), tf.boolean_mask(places, kept)
        return {
            name: tf.strings.regex_replace(lines, f"^(?:{pattern})$", rf"\{number}") for name, number in groups.items()
        }, places

    chunks = lines_of(files[0])
    for file in files[1:]:
        chunks = chunks.concatenate(lines_of(file))
    return chunks.map(apart, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _find_classes(parts: tf.data.Dataset, names: dict[str, list[str]], files: Sequence[str]) -> None:
    """Fills in the names of classes that were not given."""
    wanted = [key for key, given in names.items() if not given]
    if not wanted:
        return
    found: dict[str, set[bytes]] = {key: set() for key in wanted}
    for groups, _ in parts.as_numpy_iterator():
        for key in wanted:
            found[key].update(np.unique(groups[key]).tolist())
    for key, classes in found.items():
        names[key] = sorted(name.decode() for name in classes - {b""})
        if not names[key]:
            raise ValueError(
                f"Labels {key!r} should have one at least that is not missing. Received: none in {list(files)}"
            )


def _labelling(text: str, numbers: Sequence[str], names: dict[str, list[str]], unreadable: Unreadable) -> Any:
    """A function of chunks that gives texts and labels."""
    tables = {
        key: tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(
                ["", *classes], tf.constant([MISSING.class_index, *range(len(classes))], "int64")
            ),
            default_value=-2,
        )
        for key, classes in names.items()
    }

    def labelled(groups: dict[str, Any], places: Any) -> tuple[Any, dict[str, Any]]:
        kept = tf.ones_like(places, "bool")
        found = {}
        for key, table in tables.items():
            found[key] = table.lookup(groups[key])
            kept &= _reported(found[key] > -2, places, f"label {key!r} is none of its classes", unreadable)
        for key in numbers:
            is_number = tf.strings.regex_full_match(groups[key], r"\s*([+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?)?\s*")
            kept &= _reported(is_number, places, f"label {key!r} is no number", unreadable)
            digits = tf.where(is_number & (tf.strings.length(tf.strings.strip(groups[key])) > 0), groups[key], "nan")
            found[key] = tf.strings.to_number(digits, "float32")
        return tf.nest.map_structure(lambda part: tf.boolean_mask(part, kept), (groups[text], found))

    return labelled


def _reported(are_good: Any, places: Any, reason: str, unreadable: Unreadable) -> Any:
    """What was given, after the places of those that are not good were reported."""

    def met(bad: np.ndarray, good: np.ndarray) -> np.ndarray:
        for place in bad:
            unreadable.met(place, reason)
        return good

    return tf.ensure_shape(
        tf.cond(
            tf.reduce_all(are_good),
            lambda: are_good,
            lambda: tf.numpy_function(met, [tf.boolean_mask(places, ~are_good), are_good], tf.bool),
        ),
        are_good.shape,
    )
