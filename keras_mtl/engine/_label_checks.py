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
# What a check in Python said, in the message of a pipeline that called it.
_RAISED = re.compile(r"ValueError: ((?:Labels .* of task |The keys of the labels ).*)")
_FAILURE = re.compile(rf"{re.escape(_MARK)}\W*([01 ]+)")


def checked(tasks: Sequence[Task], x: Any, y: Any, *, in_pipeline: bool, whole: bool = True) -> Any:
    """Checks what `fit` or `evaluate` was given, and returns what is to be given to Keras in place of `x`.

    Arrays are checked whole. Of a `tf.data.Dataset` the element specification is checked, and nothing is read ahead,
    for a pipeline that is read in part and then again may be cut short by a `cache` in it: the values of a batch are
    checked on their way, in the step or in the pipeline. So are those of a generator. Of a `keras.utils.PyDataset` the
    first batch is checked at once, and the others likewise. Keys, shapes and dtypes of every other source are checked
    when the step is traced.

    Args:
        tasks: the tasks.
        x: inputs, or a data set that yields `(inputs, labels)` or `(inputs, labels, sample_weight)`.
        y: labels by key, or None where `x` is a data set.
        in_pipeline: whether values are checked as they are read, because the step does not.
        whole: whether arrays are all the data, among which each task should have a label, and no single batch.

    Raises:
        ValueError: for labels that are no dict, keys that no task has, tasks that no label has, and labels of the
            wrong shape, dtype or range, or all missing.
    """
    if isinstance(x, (tf.distribute.DistributedDataset, tf.distribute.DistributedIterator)):
        raise ValueError(
            "The data should be given whole, to be divided among the replicas here, where the labels are checked. "
            f"Received: a {type(x).__name__}. Give the `tf.data.Dataset` that it was made of."
        )
    if y is not None:
        _check_arrays(tasks, y, whole=whole)
    elif isinstance(x, keras.utils.PyDataset):
        _check_arrays(tasks, _labels(x[0]))
        return _CheckedPyDataset(x, tasks) if in_pipeline else x
    elif isinstance(x, Iterator):
        return (_checked_element(tasks, element) for element in x) if in_pipeline else x
    elif hasattr(x, "element_spec"):
        check_specification(tasks, _labels(x.element_spec))
        if in_pipeline and isinstance(x, tf.data.Dataset):
            return x.map(lambda x, y, *rest: (x, _validated_raw(tasks, y), *rest))
    return x


class _CheckedPyDataset(keras.utils.PyDataset):
    """A data set that checks each of its batches as it is read."""

    def __init__(self, dataset: keras.utils.PyDataset, tasks: Sequence[Task]) -> None:
        super().__init__(dataset.workers, dataset.use_multiprocessing, dataset.max_queue_size)
        self._dataset = dataset
        self._tasks = tasks

    @property
    def num_batches(self) -> int | None:
        return self._dataset.num_batches

    def __getitem__(self, index: int) -> Any:
        return _checked_element(self._tasks, self._dataset[index])

    def on_epoch_begin(self) -> None:
        self._dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        self._dataset.on_epoch_end()


def check_specification(tasks: Sequence[Task], labels: Mapping[str, Any]) -> None:
    """Checks the keys, and the shapes and dtypes as far as they are known, of tensors or their specifications."""
    for task, value in _pairs(tasks, labels):
        if value.shape.rank is not None:
            task.check_shape(value.shape)
        task.check_dtype(np.dtype(value.dtype.as_numpy_dtype))


def validated(tasks: Sequence[Task], filled: Mapping[str, Any], labels: Mapping[str, Any]) -> dict[str, Any]:
    """Labels in a graph that fails before it uses them, if they are not valid.

    Args:
        tasks: the tasks.
        filled: by task, labels with a valid one in the place of those that are missing: these are looked at.
        labels: what is returned, the same or those that they were made of.
    """
    valid = tf.stack([tf.reduce_all(task.valid(filled[task.name])) for task in tasks])
    # The operation itself: tf.debugging.assert_* and Assert wrap it in a condition, which costs more than the check.
    check = tf.raw_ops.Assert(condition=tf.reduce_all(valid), data=[_MARK, valid], summarize=len(tasks))
    with tf.control_dependencies([check] if check is not None else []):
        return tf.nest.map_structure(tf.identity, dict(labels))


def _validated_raw(tasks: Sequence[Task], labels: Mapping[str, Any]) -> dict[str, Any]:
    filled = {task.name: task.filled(values, task.missing(values)) for task, values in _pairs(tasks, labels)}
    return validated(tasks, filled, labels)


@contextlib.contextmanager
def as_value_error(tasks: Sequence[Task]) -> Iterator[None]:
    """Turns the failure of a check within a graph or a pipeline into a `ValueError` that says what is wrong."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        raised = _RAISED.search(str(error))
        if raised is not None:
            raise ValueError(raised[1]) from error
        failure = _FAILURE.search(str(error))
        if failure is None:
            raise
        wrong = [task for task, valid in zip(tasks, failure[1].split(), strict=True) if valid == "0"]
        raise wrong[0].label_error(wrong[0].valid_labels, "a batch with others") from error


def _check_arrays(tasks: Sequence[Task], labels: Any, *, whole: bool = False) -> None:
    for task, values in _pairs(tasks, labels):
        array = np.asarray(values)
        task.check_shape(array.shape)
        task.check_dtype(array.dtype)
        task.check_labels(array)
        if whole and array.size and np.all(task.missing(array)):
            raise task.label_error("have one at least that is not missing", "labels that are all missing")


def _checked_element(tasks: Sequence[Task], element: Any) -> Any:
    _check_arrays(tasks, _labels(element))
    return element


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
