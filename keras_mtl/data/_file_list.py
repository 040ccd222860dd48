"""Which files there are and what their labels are: by the folders they lie in, or by a table of paths."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_mtl._checks import check_one_of
from keras_mtl.data._batches import DISK_BUFFER, Prepare, cached, check_common, prepared, shuffled
from keras_mtl.data._columns import ClassNames, check_class_names, label_column
from keras_mtl.data._dataframe import chosen_columns
from keras_mtl.data._labels import by_label
from keras_mtl.data._unreadable import CHOICES, CHUNK, Unreadable, decoded, decoded_or_skipped


class FileList(NamedTuple):
    """Files, with the labels of each.

    Attributes:
        paths: of the files.
        labels: by label, `[number]`.
        class_names: by label, for those that were given as names.
    """

    paths: list[str]
    labels: dict[str, np.ndarray]
    class_names: dict[str, list[str]]


class Reading(NamedTuple):
    """How files are read: the arguments that readers of files share.

    Attributes:
        what: is read, in messages: `"image"`.
        decode: from a path to a tensor, in a graph.
        stand_in: a tensor of the shape and dtype of what is decoded.
    """

    what: str
    decode: Callable[[Any], Any]
    stand_in: Any


def list_files(
    folder: Any,
    labels: Any,
    *,
    table: Any,
    path_column: str,
    tasks: Sequence[Any] | None,
    class_names: ClassNames | None,
    suffixes: Sequence[str],
) -> FileList:
    """The files below a folder, with their labels.

    Args:
        folder: where they are; paths of a table are relative to it.
        labels: without a table, a label for each level of folders; with one, as in `chosen_columns`.
        table: the path of a CSV file with a header, or None.
        path_column: the column of the paths.
        tasks: those that take the labels, or None.
        class_names: by label, or None.
        suffixes: the ends of the names of the files to be found without a table.

    Raises:
        ValueError: if there is no such folder, table, column or file.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ValueError(f"Parameter `folder` should be a folder that exists. Received: folder={os.fspath(folder)!r}")
    keyed = None if tasks is None else by_label(tasks)
    if table is None:
        what, (paths, columns) = f"The folder {root}", _by_folder(root, labels, suffixes)
        labels = list(columns)
    else:
        what, columns = f"The table {os.fspath(table)}", _read_table(table)
        if path_column not in columns:
            raise ValueError(
                f"Parameter `path_column` should be a column of {os.fspath(table)}, which has {list(columns)}. "
                f"Received: path_column={path_column!r}"
            )
        paths = [str(root / path) for path in columns.pop(path_column)]
    if not paths:
        raise ValueError(
            f"{what} should have one file at least. Received: none"
            + (f" whose name ends in {' or '.join(suffixes)}" if table is None else "")
        )
    chosen = chosen_columns(labels, keyed, columns, what)
    check_class_names(class_names, list(chosen))
    found, names = {}, {}
    for key, column in chosen.items():
        given = (class_names or {}).get(key)
        if table is None and given is None:
            given = sorted(set(columns[column]))  # folders are names of classes, though they be digits
        own_tasks = None if keyed is None else keyed[key]
        found[key], own = label_column(columns[column], key, f"{what}, {column!r}", own_tasks, given)
        if own is not None:
            names[key] = own
    return FileList(paths, found, names)


def read_files(
    files: FileList,
    reading: Reading,
    *,
    batch_size: int,
    shuffle_seed: int | None,
    cache: str | os.PathLike[str] | None,
    prepare: Prepare | None,
    on_unreadable: str,
    finish: Callable[[tf.data.Dataset], tf.data.Dataset],
) -> tf.data.Dataset:
    """Batches of the files, in an order that the seed determines.

    Without a cache the names are shuffled; with one, what is in it, of which a cache on disk gives a part at a time.
    """
    check_common(batch_size, shuffle_seed, cache)
    check_one_of(on_unreadable, "on_unreadable", CHOICES)
    number = len(files.paths)
    dataset = tf.data.Dataset.from_tensor_slices((files.paths, files.labels))
    if cache is None:
        dataset = shuffled(dataset, number, shuffle_seed)
    unreadable = Unreadable(reading.what, on_unreadable)
    as_they_are = cache is None and prepare is None
    if unreadable.skips:
        chunks = decoded_or_skipped(dataset, *reading[1:], unreadable)
    else:
        chunks = decoded(dataset, *reading[1:], unreadable, batch_size if as_they_are else CHUNK, files.paths)
    if as_they_are:
        batches = chunks.rebatch(batch_size) if unreadable.skips else chunks
    else:
        examples = chunks.unbatch()
        if on_unreadable == "raise":
            examples = examples.apply(tf.data.experimental.assert_cardinality(number))
        examples = cached(prepared(examples, prepare), cache)
        if cache is not None:
            examples = shuffled(examples, number if cache == "memory" else min(number, DISK_BUFFER), shuffle_seed)
        batches = examples.batch(batch_size)
    if on_unreadable == "raise":
        batches = batches.apply(tf.data.experimental.assert_cardinality(-(-number // batch_size)))
    dataset = finish(batches).prefetch(tf.data.AUTOTUNE)
    dataset.class_names, dataset.unreadable = files.class_names, unreadable
    return dataset


def _by_folder(root: Path, labels: Any, suffixes: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    levels = [labels] if isinstance(labels, str) else labels
    is_list = isinstance(levels, Sequence) and len(levels) > 0 and all(isinstance(level, str) for level in levels)
    if not is_list or len(set(levels)) < len(levels):
        raise ValueError(
            "Parameter `labels` should name a label for each level of folders, 'breed' or ['species', 'breed'], or go "
            f"with a `table`. Received: labels={labels!r}"
        )
    paths: list[str] = []
    columns: dict[str, list[str]] = {level: [] for level in levels}
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() not in suffixes or not path.is_file():
            continue
        folders = path.relative_to(root).parts[:-1]
        if len(folders) != len(levels):
            raise ValueError(
                f"Each file below {root} should lie in one folder for each of the labels {list(levels)}. Received: "
                f"{path.relative_to(root)}"
            )
        paths.append(str(path))
        for level, name in zip(levels, folders, strict=True):
            columns[level].append(name)
    return paths, columns


def _read_table(path: Any) -> dict[str, list[str]]:
    if not Path(path).is_file():
        raise ValueError(f"Parameter `table` should be the path of a CSV file. Received: table={os.fspath(path)!r}")
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        if not header or len(set(header)) < len(header):
            raise ValueError(
                f"The table {os.fspath(path)} should begin with a line of different column names. Received: {header}"
            )
        columns: dict[str, list[str]] = {name: [] for name in header}
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(header):
                raise ValueError(
                    f"The table {os.fspath(path)}, line {reader.line_num}, should have {len(header)} cells. Received: "
                    f"{len(cells)}"
                )
            for name, cell in zip(header, cells, strict=True):
                columns[name].append(cell)
    return columns
