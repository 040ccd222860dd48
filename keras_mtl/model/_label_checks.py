"""Checks of labels before any training: keys, shapes, dtypes, values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_mtl.engine._task_losses import by_task
from keras_mtl.tasks import Task


def check_labels(tasks: Sequence[Task], x: Any, y: Any) -> None:
    """Checks what `fit` or `evaluate` was given, as far as it can be looked at without consuming it.

    Arrays are checked whole. Of a `tf.data.Dataset` the element specification and the first batch are checked, of a
    `keras.utils.PyDataset` the first batch. A generator cannot be looked at twice: its labels are checked for their
    keys when the step is traced.

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
    elif hasattr(x, "element_spec"):
        for task, spec in by_task(_labels(x.element_spec), tasks).items():
            _task(tasks, task).check_shape(spec.shape)
            _task(tasks, task).check_dtype(np.dtype(spec.dtype.as_numpy_dtype))
        for batch in x.take(1) if hasattr(x, "take") else ():
            _check_arrays(tasks, _labels(batch))
    elif isinstance(x, keras.utils.PyDataset):
        _check_arrays(tasks, _labels(x[0]))


def _check_arrays(tasks: Sequence[Task], labels: Any) -> None:
    for name, values in by_task(labels, tasks).items():
        task, array = _task(tasks, name), np.asarray(values)
        task.check_shape(array.shape)
        task.check_dtype(array.dtype)
        task.check_labels(array)


def _labels(element: Any) -> Any:
    if not isinstance(element, (tuple, list)) or len(element) not in (2, 3) or not isinstance(element[1], Mapping):
        raise ValueError(
            "A data set for a multi-task model should yield (inputs, {label: values}) or (inputs, {label: values}, "
            f"sample_weight). Received elements like: {element}"
        )
    return element[1]


def _task(tasks: Sequence[Task], name: str) -> Task:
    return next(task for task in tasks if task.name == name)
