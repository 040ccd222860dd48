"""What is added to the training data before Keras reads them: weights of classes, a second stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_mtl._checks import check_number
from keras_mtl.engine._sample_weights import weight_of_labels
from keras_mtl.engine._task_losses import by_task, weights_by_task
from keras_mtl.tasks import BinaryClassification, Task


def with_class_weights(
    tasks: Sequence[Task], class_weight: Any, x: Any, y: Any, sample_weight: Any
) -> tuple[Any, dict[str, Any] | None]:
    """Weights of classes as weights of examples, multiplied with those that there are.

    They go with a label, so to all tasks that take it.

    Args:
        tasks: the tasks.
        class_weight: for keys of the labels, a weight of at least 0 by class; a class that is not named weighs 1.
        x: inputs, or a `tf.data.Dataset` that yields labels too.
        y: arrays of labels by key, or None where `x` is a data set.
        sample_weight: what `fit` was given.

    Returns:
        What is to be given to Keras as `x` and as `sample_weight`.

    Raises:
        ValueError: if a key is no task's label, a task has no classes, a class or weight is out of range, or `x` is a
            source that cannot be mapped.
    """
    tables = _tables(tasks, class_weight)

    def weighted(labels: Any, weights: Any) -> dict[str, Any]:
        by_task(labels, tasks)
        found = {}
        for task, weight in zip(tasks, weights_by_task(weights, tasks).values(), strict=True):
            if task.label in tables:
                of_class = _of_class(task, labels[task.label], tables[task.label])
                if weight is not None:
                    of_class *= weight_of_labels(task, tf.cast(weight, "float32"), of_class)
                found[task.label] = of_class
            elif weight is not None:
                found[task.label] = weight
        return found

    if y is not None:
        return x, complete_weights(tasks, y, weighted(y, sample_weight))
    if not isinstance(x, tf.data.Dataset):
        raise ValueError(
            "Parameter `class_weight` goes with arrays or a `tf.data.Dataset`. Received: a "
            f"{type(x).__name__}. Let it yield sample weights instead."
        )
    return x.map(lambda x, y, weights=None: (x, y, weighted(y, weights)), tf.data.AUTOTUNE), None


def _of_class(task: Task, labels: Any, table: Any) -> Any:
    """The weight of each label, `(batch,)`, or `(batch, ...)` over the places of those that have a label each."""
    num_axes = 1 + task.num_place_axes
    sizes = tf.ensure_shape(tf.shape(labels)[:num_axes], [num_axes])  # without an axis of 1 at the end
    # What is out of range is for the check of the labels to say.
    return tf.gather(table, tf.clip_by_value(tf.reshape(tf.cast(labels, "int32"), sizes), 0, len(table) - 1))


def complete_weights(tasks: Sequence[Task], y: Any, sample_weight: Any) -> Any:
    """Sample weights for arrays, with ones for the labels that have none: Keras insists on all keys or none."""
    if not isinstance(sample_weight, Mapping):
        return sample_weight
    given = weights_by_task(sample_weight, tasks)
    found = {task.label: given[task.name] for task in tasks}
    return {
        label: np.ones(len(y[label]), "float32") if weight is None else np.asarray(weight)
        for label, weight in found.items()
    }


def _tables(tasks: Sequence[Task], class_weight: Any) -> dict[str, Any]:
    """By label, the weight of each class `[num_classes]`."""
    sizes: dict[str, int | None] = {task.label: None for task in tasks}
    for task in tasks:  # of tasks that share a label, some may have classes
        size = 2 if isinstance(task, BinaryClassification) else getattr(task, "num_classes", None)
        sizes[task.label] = size or sizes[task.label]
    if not isinstance(class_weight, Mapping) or not all(isinstance(of, Mapping) for of in class_weight.values()):
        raise ValueError(
            "Parameter `class_weight` should be a dict by the keys of the labels of dicts of weights by class, such as "
            f"{{'breed': {{0: 1.0, 1: 5.0}}}}. Received: class_weight={class_weight!r}"
        )
    tables = {}
    for label, weights in class_weight.items():
        size = sizes.get(label)
        if size is None:
            known = sorted(found for found, number in sizes.items() if number is not None)
            raise ValueError(
                f"Parameter `class_weight` should have keys of labels that are classes, of {known}. Received: {label!r}"
            )
        table = np.ones(size, "float32")
        for index, weight in weights.items():
            if index not in range(size):
                raise ValueError(
                    f"Parameter `class_weight[{label!r}]` should have classes from 0 to {size - 1}. Received: {index!r}"
                )
            table[int(index)] = check_number(weight, f"class_weight[{label!r}][{index}]")
        tables[label] = table
    return tables


def with_second_stream(x: Any, stream: Any, balancer: str) -> tf.data.Dataset:
    """The training data, a batch of the second stream beside each batch.

    Args:
        x: what `fit` was given.
        stream: what it was given as `balancing_data`.
        balancer: the name of the balancer that asks for it.

    Raises:
        ValueError: if one of the two is no `tf.data.Dataset`.
    """
    if stream is None:
        raise ValueError(
            f"The balancer `{balancer}` is bilevel: its weights follow the losses on data that the parameters are not "
            "trained on. Give `fit` a second, batched `tf.data.Dataset` of the same structure as `balancing_data`, of "
            "examples that are in neither the training nor the validation data."
        )
    for parameter, value in (("x", x), ("balancing_data", stream)):
        if not isinstance(value, tf.data.Dataset):
            raise ValueError(
                f"With the balancer `{balancer}`, parameter `{parameter}` should be a batched `tf.data.Dataset`. "
                f"Received: {type(value).__name__}"
            )
    if stream.cardinality() == 0:
        raise ValueError("Parameter `balancing_data` should have at least one batch. Received: an empty data set")
    return tf.data.Dataset.zip((x, stream.repeat()))
