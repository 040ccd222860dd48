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

# Begins the message of a failed check in a pipeline; the index of the task and the wrong labels follow.
_MARK = "keras_mtl label check of task "
_FAILURE = re.compile(rf"{_MARK}(\d+).*?(\[.*?\])", re.DOTALL)


def checked(tasks: Sequence[Task], x: Any, y: Any) -> Any:
    """Checks what `fit` or `evaluate` was given, and returns `x`, which checks itself where it is a data set.

    Arrays are checked whole. Of a `tf.data.Dataset` the element specification is checked at once, and the values of
    each batch as it is read, before the model sees it: nothing is read ahead, for a pipeline that is read in part and
    then again may be cut short by a `cache` in it. Of a `keras.utils.PyDataset` the first batch is checked. Any other
    iterable cannot be looked at twice: its labels are checked for their keys when the step is traced.

    Args:
        tasks: the tasks.
        x: inputs, or a data set that yields `(inputs, labels)` or `(inputs, labels, sample_weight)`.
        y: labels by key, or None where `x` is a data set.

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
        if isinstance(x, tf.data.Dataset):
            return x.map(lambda *element: _check_batch(tasks, element), num_parallel_calls=tf.data.AUTOTUNE)
    return x


@contextlib.contextmanager
def as_value_error(tasks: Sequence[Task]) -> Iterator[None]:
    """Turns what a checked data set raises at a wrong batch into a `ValueError` that says what is wrong."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        failure = _FAILURE.search(str(error))
        if failure is None:
            raise
        task = tasks[int(failure[1])]
        raise task.label_error(task.valid_labels, f"{failure[2]} in a batch") from error


def _check_arrays(tasks: Sequence[Task], labels: Any) -> None:
    for task, values in _pairs(tasks, labels):
        array = np.asarray(values)
        task.check_shape(array.shape)
        task.check_dtype(array.dtype)
        task.check_labels(array)


def _check_batch(tasks: Sequence[Task], element: tuple[Any, ...]) -> tuple[Any, ...]:
    assertions = []
    for index, (task, values) in enumerate(_pairs(tasks, element[1])):
        valid = task.valid(values)
        wrong = tf.boolean_mask(values, tf.logical_not(valid))
        assertions.append(tf.debugging.Assert(tf.reduce_all(valid), [f"{_MARK}{index}", wrong], summarize=5))
    with tf.control_dependencies(assertions):
        return tf.nest.map_structure(tf.identity, element)


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
