"""Checks of a data set against tasks, before anything is trained on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from keras_mtl._checks import check_one_of, check_same_names
from keras_mtl.data._labels import Labelled, by_label, check_keys

FIRST = 8  # batches


class Admitting(Labelled, Protocol):
    """What is asked of a task besides."""

    def missing(self, labels: Any) -> Any:
        """Which labels are missing, `(batch, ...)`."""

    def valid(self, labels: Any) -> Any:
        """Which labels the task admits."""

    @property
    def valid_labels(self) -> str:
        """What those should do, in words."""


class Checked(NamedTuple):
    """What `check` has read.

    Attributes:
        num_examples: how many examples.
        num_labels: how many of these have a label, by task.
        whole: whether this was all of the data set.

    Example:

    >>> from keras_mtl import data
    >>> data.Checked(3, {"breed": 2}, True).num_labels
    {'breed': 2}
    """

    num_examples: int
    num_labels: dict[str, int]
    whole: bool


def check(
    dataset: tf.data.Dataset,
    tasks: Sequence[Any],
    *,
    scan: str = "first",
    inputs: Sequence[str] | None = None,
    name: str = "data",
) -> Checked:
    """Reads a data set, and raises if a model with these tasks could not be trained on it.

    `fit` and `evaluate` check keys, shapes and dtypes before they begin, and values when they come to them. Use this
    to know beforehand, and where: messages name the data set, the label, the task and the row.

    Args:
        dataset: batches of `(inputs, {label: values})`, with or without sample weights.
        tasks: the tasks of the model, `model.tasks`.
        scan: `"first"`: up to 8 batches are read; `"all"`: all of them. Defaults to `"first"`.
        inputs: the names of the model's inputs, where it has several, which the data set should have and no others.
            Defaults to None: not checked.
        name: names the data set in messages. Defaults to `"data"`.

    Returns:
        A `Checked`: how many examples were read, and how many of them have a label of each task.

    Raises:
        ValueError: if the data set is empty, or what it yields is something else; if a label or an input is none of the
            model's, or one of the model's is not there; for labels of another shape, dtype or range; for a task without
            any label, if all were read; and for an example that cannot be read.

    Example:

    >>> import numpy as np, tensorflow as tf
    >>> from keras_mtl import data, tasks
    >>> train = tf.data.Dataset.from_tensor_slices((np.zeros((3, 4)), {"breed": [5, -1, 36]})).batch(2)
    >>> data.check(train, [tasks.Classification("breed", 37)])
    Checked(num_examples=3, num_labels={'breed': 2}, whole=True)
    >>> data.check(train, [tasks.Classification("breed", 36)], name="pets")
    Traceback (most recent call last):
        ...
    ValueError: Data set 'pets': labels 'breed' of task 'breed' should be class indices from 0 to 35. Received: 36 in
    row 2 (1 such row in 3)
    """
    check_one_of(scan, "scan", ("first", "all"))
    keyed = by_label(tasks)
    what = f"Data set {name!r}"
    if not isinstance(dataset, tf.data.Dataset):
        raise ValueError(f"Parameter `dataset` should be a `tf.data.Dataset`. Received: {type(dataset).__name__}")
    _check_specification(what, dataset.element_spec, keyed, inputs)
    number, whole = 0, True
    there = {task.name: 0 for task in tasks}
    wrong: dict[str, _Wrong] = {}
    try:
        for index, element in enumerate(dataset):
            if scan == "first" and index == FIRST:
                whole = False
                break
            rows = 0
            for task in tasks:
                values = np.asarray(element[1][task.label])
                rows = len(values)
                _check_form(what, task, values.shape, values.dtype)
                absent = np.asarray(task.missing(values))
                there[task.name] += int((~absent).reshape(rows, -1).any(axis=1).sum())
                _note(wrong.setdefault(task.name, _Wrong()), task, values, absent, number)
            number += rows
    except (tf.errors.InvalidArgumentError, tf.errors.DataLossError, tf.errors.NotFoundError) as error:
        raise ValueError(f"{what} should be readable. Received, after {number} examples: {error.message}") from error
    for task in tasks:
        _raise_wrong(what, task, wrong.get(task.name), number)
    if not number:
        raise ValueError(f"{what} should have one example at least. Received: an empty data set")
    without = [task for task in tasks if whole and not there[task.name]]
    if without:
        raise ValueError(
            f"{what}: labels {without[0].label!r} of task {without[0].name!r} should have one at least that is not "
            f"missing. Received: {number} examples, and labels that are all missing"
        )
    return Checked(number, there, whole)


class _Wrong:
    """The rows whose labels a task does not admit: the first one, its values, and how many there are."""

    def __init__(self) -> None:
        self.row: int | None = None
        self.values: list[str] = []
        self.number = 0


def _note(wrong: _Wrong, task: Admitting, values: np.ndarray, absent: np.ndarray, before: int) -> None:
    """Takes note of the rows of a batch whose labels are not valid."""
    bad = ~np.asarray(task.valid(values))
    bad &= ~absent.reshape(absent.shape + (1,) * (bad.ndim - absent.ndim))
    rows = np.flatnonzero(bad.reshape(len(bad), -1).any(axis=1))
    if not len(rows):
        return
    wrong.number += len(rows)
    if wrong.row is None:
        wrong.row = before + int(rows[0])
        wrong.values = [str(value) for value in np.unique(values[rows[0]][bad[rows[0]]])[:10]]


def _raise_wrong(what: str, task: Admitting, wrong: _Wrong | None, number: int) -> None:
    if wrong is not None and wrong.row is not None:
        rows = "1 such row" if wrong.number == 1 else f"{wrong.number} such rows"
        raise ValueError(
            f"{what}: labels {task.label!r} of task {task.name!r} should {task.valid_labels}. Received: "
            f"{', '.join(wrong.values)} in row {wrong.row} ({rows} in {number})"
        )


def _check_specification(
    what: str, spec: Any, tasks: Mapping[str, Sequence[Labelled]], inputs: Sequence[str] | None
) -> None:
    if not isinstance(spec, tuple) or len(spec) not in (2, 3) or not isinstance(spec[1], Mapping):
        raise ValueError(
            f"{what} should yield (inputs, {{label: values}}), with or without sample weights. Received elements like: "
            f"{spec}"
        )
    check_keys(spec[1], tasks, what)
    absent = sorted(set(tasks) - set(spec[1]))
    if absent:
        raise ValueError(
            f"{what}: each task should have its labels. Received: labels {sorted(spec[1])}, and none for the tasks "
            f"{[task.name for key in absent for task in tasks[key]]}. Give the reader their features, or add missing "
            "labels by `data.mask_missing`."
        )
    if inputs is not None:
        received = spec[0] if isinstance(spec[0], Mapping) else []
        check_same_names(received, inputs, what=f"inputs of data set {what[9:]}", mend="Leave others out by `map`.")
    for key, own in tasks.items():
        for task in own:
            if spec[1][key].shape.rank is not None:
                _check_form(what, task, spec[1][key].shape, np.dtype(spec[1][key].dtype.as_numpy_dtype))


def _check_form(what: str, task: Labelled, shape: Any, dtype: np.dtype) -> None:
    try:
        task.check_shape(shape)
        task.check_dtype(dtype)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None
