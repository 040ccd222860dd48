"""Rows of a data frame, as raw columns: what prepares them belongs into the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_mtl.data._batches import check_common, shuffled
from keras_mtl.data._columns import ClassNames, check_class_names, input_column, label_column
from keras_mtl.data._labels import Labelled, by_label, check_keys


def from_dataframe(
    frame: Any,
    *,
    labels: Sequence[str] | Mapping[str, str] | None = None,
    batch_size: int,
    inputs: Sequence[str] | None = None,
    tasks: Sequence[Any] | None = None,
    class_names: ClassNames | None = None,
    shuffle_seed: int | None = None,
) -> tf.data.Dataset:
    """Batches of the rows of a table, with some columns as inputs and some as labels.

    Inputs are the columns as they are, by name: give them to a `keras.utils.FeatureSpace`, whose layers become part of
    the model, so that what is exported takes raw rows. The table is in memory, and so is what is read of it.

    Args:
        frame: a data frame of pandas, or any other that has `columns`; or a dict of arrays by column.
        labels: the columns that are labels, or the column of each label, `{"income": "income_class"}`. Defaults to
            None: the columns by the names of the labels of `tasks`.
        batch_size: rows in a batch, at least 1. The last batch holds what remains.
        inputs: the columns that are inputs. Defaults to None: all that are no labels.
        tasks: the tasks, whose labels then have their dtype and their missing label. Defaults to None: integers and
            names are classes, and other numbers are numbers. Integers of a column of floats are such numbers too, which
            is how pandas reads a column with empty cells.
        class_names: the names of the classes by label, in the order of their indices, for columns of names. Defaults
            to None: the names that there are, sorted. For other data than those of training, give the ones of training.
        shuffle_seed: an integer of at least 0 for a new order in each epoch that this seed determines. Defaults to
            None: the order of the rows.

    Returns:
        A `tf.data.Dataset` of `({column: values}, {label: values})`. Inputs are int64, float32 or strings, of shape
        `(batch, 1)`; an empty cell is NaN or the empty string. Labels are of shape `(batch,)`, and an empty cell is a
        missing label. Its attribute `class_names` has the names of the classes by label.

    Raises:
        ValueError: if a column is not there, is input and label, has no label that is not missing or a class without a
            name, the table is empty, or a task is without its column.

    Example:

    >>> from keras_mtl import data
    >>> table = {"age": [39, 50, 28], "job": ["clerk", "", "nurse"], "income": ["high", "low", None]}
    >>> dataset = data.from_dataframe(table, labels=["income"], batch_size=3)
    >>> x, y = next(iter(dataset))
    >>> sorted(x), x["age"].shape, y["income"].numpy().tolist(), dataset.class_names
    (['age', 'job'], TensorShape([3, 1]), [0, 1, -1], {'income': ['high', 'low']})
    """
    check_common(batch_size, shuffle_seed, None)
    columns = _columns(frame)
    keyed = None if tasks is None else by_label(tasks)
    chosen = chosen_columns(labels, keyed, columns, "The data frame")
    check_class_names(class_names, list(chosen))
    inputs = [name for name in columns if name not in chosen.values()] if inputs is None else list(inputs)
    unknown = [name for name in inputs if name not in columns]
    if unknown or not inputs or isinstance(inputs, str):
        raise ValueError(
            f"Parameter `inputs` should be columns of the data frame, of which there are {list(columns)}. Received: "
            f"inputs={inputs}"
        )
    both = sorted(set(inputs) & set(chosen.values()))
    if both:
        raise ValueError(f"No column should be an input and a label: a model would read the answer. Received: {both}")
    sizes = {name: len(columns[name]) for name in (*inputs, *chosen.values())}
    if len(set(sizes.values())) > 1 or not next(iter(sizes.values())):
        raise ValueError(f"The data frame should have one row at least, and columns of one length. Received: {sizes}")
    found: dict[str, np.ndarray] = {}
    names: dict[str, list[str]] = {}
    for key, column in chosen.items():
        found[key], own = label_column(
            columns[column],
            key,
            f"The data frame, column {column!r}",
            None if keyed is None else keyed[key],
            (class_names or {}).get(key),
        )
        if own is not None:
            names[key] = own
    x = {name: tf.constant(input_column(columns[name], f"The data frame, column {name!r}")) for name in inputs}
    y = {key: tf.constant(values) for key, values in found.items()}
    number = next(iter(sizes.values()))
    rows = shuffled(tf.data.Dataset.range(number), number, shuffle_seed).batch(batch_size)
    dataset = rows.map(
        lambda row: tf.nest.map_structure(lambda column: tf.gather(column, row), (x, y)),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    ).prefetch(tf.data.AUTOTUNE)
    dataset.class_names = names
    return dataset


def chosen_columns(
    labels: Any, tasks: Mapping[str, Sequence[Labelled]] | None, columns: Any, what: str
) -> dict[str, str]:
    """The column of each label.

    Args:
        labels: columns, or columns by label, or None for those that are named like the labels of `tasks`.
        tasks: by label, or None.
        columns: those that there are.
        what: the table, in messages.

    Raises:
        ValueError: if a column is not there, a label is no task's, or a task has none.
    """
    if labels is None and tasks is None:
        raise ValueError(
            "Parameter `labels` should name the columns that are labels, or `tasks` be given. Received: labels=None"
        )
    if labels is None:
        labels = list(tasks or {})
    if isinstance(labels, str):
        labels = [labels]
    chosen = dict(labels) if isinstance(labels, Mapping) else {name: name for name in labels}
    absent = {key: column for key, column in chosen.items() if column not in columns}
    if absent or not chosen:
        raise ValueError(
            f"Parameter `labels` should name columns of {what[0].lower()}{what[1:]}, of which there are "
            f"{list(columns)}. Received: {absent or labels}"
        )
    if tasks is not None:
        check_keys(chosen, tasks, what)
        without = [task.name for key, own in tasks.items() if key not in chosen for task in own]
        if without:
            raise ValueError(
                f"{what}: each task should have its column. Received: labels {list(chosen)}, and none for the tasks "
                f"{without}"
            )
    return chosen


def _columns(frame: Any) -> dict[str, Any]:
    if isinstance(frame, Mapping):
        return dict(frame)
    if not hasattr(frame, "columns") or not hasattr(frame, "__getitem__"):
        raise ValueError(
            f"Parameter `frame` should be a data frame or a dict of arrays by column. Received: {type(frame).__name__}"
        )
    return {name: frame[name] for name in frame.columns}
