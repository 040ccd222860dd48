"""Columns of a table as labels and inputs: dtypes, class names, empty cells."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_mtl.data._labels import MISSING, Labelled, holding

ClassNames = Mapping[str, Sequence[str]]

_TIMES = (datetime.date, datetime.time, datetime.timedelta, np.datetime64, np.timedelta64)
_MOST_EXACT = 2**24  # of the integers that float32 holds


def is_empty(cell: Any) -> bool:
    """Whether a cell holds nothing: None, NaN, pandas' NA or NaT, or no character but spaces."""
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return True
    equal = cell == cell
    return not isinstance(equal, (bool, np.bool_)) or not equal  # NA compares to NA


def check_class_names(class_names: Any, keys: Sequence[str]) -> None:
    """Raises a `ValueError` unless names of classes are given for labels that there are, each name once.

    Args:
        class_names: the names by label, or None.
        keys: the labels that have classes.
    """
    if class_names is None:
        return
    if not isinstance(class_names, Mapping) or not set(class_names) <= set(keys):
        raise ValueError(
            f"Parameter `class_names` should be a dict by label, of which those with classes are {list(keys)}. "
            f"Received: class_names={class_names!r:.200}"
        )
    for key, names in class_names.items():
        if isinstance(names, str) or not names or len(set(names)) < len(names):
            raise ValueError(
                "Parameter `class_names` should have a list of different names for each label. Received: "
                f"class_names[{key!r}]={names!r:.200}"
            )


def _numbers(cells: Sequence[Any]) -> np.ndarray | None:
    """The cells as int64 or float64, or None if one is no number."""
    if any(isinstance(cell, bytes) or (isinstance(cell, str) and "_" in cell) for cell in cells):
        return None  # Python reads "1_0" as 10
    try:
        return np.asarray(
            [int(cell) for cell in cells if _is_integer(cell)]
            if all(map(_is_integer, cells))
            else [float(cell) for cell in cells]
        )
    except (TypeError, ValueError):
        return None


def _is_integer(cell: Any) -> bool:
    if isinstance(cell, str):
        return cell.strip().lstrip("+-").isdecimal()
    return isinstance(cell, (bool, np.bool_, int, np.integer))


def label_column(
    values: Any, key: str, where: str, tasks: Sequence[Labelled] | None, names: Sequence[str] | None
) -> tuple[np.ndarray, list[str] | None]:
    """A column as labels `[number]` with missing ones in the place of empty cells, and its classes' names if any.

    Args:
        values: the cells.
        key: of the labels.
        where: names the table and the column in messages.
        tasks: those that take the labels, or None if that is not known: integers are then taken for classes.
        names: of the classes, in the order of their indices; None for those that there are, sorted.

    Raises:
        ValueError: if all cells are empty, a class has none of the given names, or the labels are not the tasks'.
    """
    cells = np.asarray(values, dtype="object")
    if cells.ndim != 1:
        raise ValueError(f"{where} should be a column of single cells. Received: shape {cells.shape}")
    absent = np.fromiter((is_empty(cell) for cell in cells), "bool", len(cells))
    present = cells[~absent]
    if not len(present):
        raise ValueError(
            f"{where}: labels {key!r} should have one at least that is not missing. Received: {len(cells)} empty cells"
        )
    numbers = None if names is not None else _numbers(present)
    if numbers is None:
        texts = [_text(cell).strip() for cell in present]
        names = sorted(set(texts)) if names is None else [str(name) for name in names]
        index = {name: position for position, name in enumerate(names)}
        unknown = np.flatnonzero([text not in index for text in texts])
        if len(unknown):
            row = int(np.flatnonzero(~absent)[unknown[0]])
            raise ValueError(
                f"{where}: labels {key!r} should be among the classes {_short(names)}. Received: "
                f"{texts[unknown[0]]!r} in row {row} ({len(unknown)} such rows)"
            )
        numbers = np.asarray([index[text] for text in texts])
        names = list(names)
    elif np.isinf(numbers).any():
        row = int(np.flatnonzero(~absent)[np.isinf(numbers)][0])
        raise ValueError(f"{where}: labels {key!r} should be finite. Received: {cells[row]!r} in row {row}")
    dtype, missing = _target(numbers, bool(absent.any()), tasks, where)
    found = np.full(len(cells), missing, dtype)
    found[~absent] = numbers
    return found, None if names is None else list(names)


def _target(
    numbers: np.ndarray, has_missing: bool, tasks: Sequence[Labelled] | None, where: str
) -> tuple[np.dtype, int | float]:
    is_whole = bool(np.all(numbers == np.floor(numbers)))
    if tasks is None:
        return (
            (np.dtype("int64"), MISSING.class_index)
            if numbers.dtype.kind in "iu"
            else (
                np.dtype("float32"),
                MISSING.number,
            )
        )
    usual = np.dtype(tasks[0].label_dtype)
    if usual.kind in "iu" and not is_whole:
        raise ValueError(
            f"{where}: labels {tasks[0].label!r} of task {tasks[0].name!r} should be integers. Received: "
            f"{numbers[numbers != np.floor(numbers)][0]}"
        )
    return holding(usual, tasks) if has_missing else (usual, 0)


def input_column(values: Any, where: str) -> np.ndarray:
    """A column as an input `[number, 1]`: int64, float32 (NaN for an empty cell) or strings (empty for one).

    Raises:
        ValueError: if it is no column of single cells, is of dates, or has empty cells among integers that float32 does
            not hold.
    """
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{where} should be a column of single cells. Received: shape {array.shape}")
    if array.dtype.kind in "mM" or any(isinstance(cell, _TIMES) for cell in array[:1000]):
        raise ValueError(
            f"{where} should be of numbers or texts. Received: times, of dtype {array.dtype}. Make numbers of them, "
            "such as the day of the year, or texts, if each is a category."
        )
    if array.dtype.kind in "biu":
        return array.astype("int64")[:, np.newaxis]
    if array.dtype.kind == "f":
        return array.astype("float32")[:, np.newaxis]
    cells = array.astype("object")
    absent = np.fromiter((is_empty(cell) for cell in cells), "bool", len(cells))
    if not absent.all() and not any(isinstance(cell, (str, bytes)) for cell in cells[~absent]):
        numbers = _numbers(cells[~absent])
        if numbers is not None:
            if absent.any() and numbers.dtype.kind == "i" and np.abs(numbers).max() > _MOST_EXACT:
                raise ValueError(
                    f"{where} has empty cells, and its integers should then be at most {_MOST_EXACT}, up to which "
                    f"float32 holds them. Received: {np.abs(numbers).max()}. Fill the empty cells, or give texts, if "
                    "the numbers are names."
                )
            found = np.full(len(cells), np.nan, "float32") if absent.any() else np.zeros(len(cells), numbers.dtype)
            found[~absent] = numbers
            return found.astype("float32" if found.dtype.kind == "f" else "int64")[:, np.newaxis]
    return np.asarray(["" if gone else _text(cell) for cell, gone in zip(cells, absent, strict=True)], "object")[
        :, np.newaxis
    ]


def _text(cell: Any) -> str:
    return cell.decode() if isinstance(cell, bytes) else str(cell)


def _short(names: Sequence[str]) -> str:
    return str(list(names)) if len(names) <= 20 else f"{list(names[:20])} and {len(names) - 20} others"
