"""Checks of labels on their way into the model: keys, shapes, dtypes and values."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_mtl.engine._task_losses import by_task
from keras_mtl.tasks import Task

# Begins the message of a failed check in a graph; whether the labels of each task are valid follows.
_MARK = "keras_mtl: are the labels of each task valid?"
_FAILURE = re.compile(rf"{re.escape(_MARK)}\W*([01 ]+)")


def checked(tasks: Sequence[Task], x: Any, y: Any, *, in_pipeline: bool) -> Any:
    """Checks what `fit` or `evaluate` was given, and returns what is to be given to Keras in place of `x`.

    Arrays are checked whole. Of a `tf.data.Dataset` the element specification is checked, and nothing is read ahead,
    for a pipeline that is read in part and then again may be cut short by a `cache` in it: the values of a batch are
    checked on their way, in the step or in the pipeline. Of a `keras.utils.PyDataset` the first batch is checked. Any
    other iterable cannot be looked at twice: its labels are checked for their keys when the step is traced.

    Args:
        tasks: the tasks.
        x: inputs, or a data set that yields `(inputs, labels)` or `(inputs, labels, sample_weight)`.
        y: labels by key, or None where `x` is a data set.
        in_pipeline: whether the values in a `tf.data.Dataset` are checked there, because the step does not.

    Raises:
        ValueError: for labels that are no dict, keys that no task has, tasks that no label has, and labels of the
            wrong shape, dtype or range.
    """
    if y is not None:
        _check_arrays(tasks, y)
    elif isinstance(x, keras.utils.PyDataset):
        _check_arrays(tasks, _labels(x[0]))
    elif hasattr(x, "element_spec"):
        for task, spec in _pairs(tasks, _labels(x.element_spec)):
            if spec.shape.rank is not None:
                task.check_shape(spec.shape)
            task.check_dtype(np.dtype(spec.dtype.as_numpy_dtype))
        if in_pipeline and isinstance(x, tf.data.Dataset):
            return x.map(lambda x, y, *rest: (x, validated(tasks, y), *rest))
    return x


def validated(tasks: Sequence[Task], labels: Mapping[str, Any]) -> dict[str, Any]:
    """The labels of a batch, by key, in a graph that fails before it uses labels that are not valid."""
    valid = tf.stack([tf.reduce_all(task.valid(values)) for task, values in _pairs(tasks, labels)])
    # The operation itself: tf.debugging.assert_* and Assert wrap it in a condition, which costs more than the check.
    check = tf.raw_ops.Assert(condition=tf.reduce_all(valid), data=[_MARK, valid], summarize=len(tasks))
    with tf.control_dependencies([check] if check is not None else []):
        return tf.nest.map_structure(tf.identity, dict(labels))


@contextlib.contextmanager
def as_value_error(tasks: Sequence[Task]) -> Iterator[None]:
    """Turns the failure of `validated` into a `ValueError` that says what is wrong."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        failure = _FAILURE.search(str(error))
        if failure is None:
            raise
        wrong = [task for task, valid in zip(tasks, failure[1].split(), strict=True) if valid == "0"]
        raise wrong[0].label_error(wrong[0].valid_labels, "a batch with others") from error


def _check_arrays(tasks: Sequence[Task], labels: Any) -> None:
    for task, values in _pairs(tasks, labels):
        array = np.asarray(values)
        task.check_shape(array.shape)
        task.check_dtype(array.dtype)
        task.check_labels(array)


def _pairs(tasks: Sequence[Task], labels: Any) -> list[tuple[Task, Any]]:
    values = by_task(labels, tasks)
    return [(task, values[task.name]) for task in tasks]


def _labels(element: Any) -> Any:
    if not isinstance(element, (tuple, list)) or len(element) not in (2, 3) or not isinstance(element[1], Mapping):
        raise ValueError(
            "A data set for a multi-task model should yield (inputs, {label: values}) or (inputs, {label: values}, "
            f"sample_weight). Received elements like: {element}"
        )
    return element[1]
