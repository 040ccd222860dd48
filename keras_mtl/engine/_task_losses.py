"""The losses of the tasks in a batch, one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_mtl._checks import check_same_names
from keras_mtl.tasks import Task


def by_task(values: Any, tasks: Sequence[Task]) -> dict[str, Any]:
    """What came with the data by label, by task.

    Args:
        values: a dict by label key.
        tasks: the tasks.

    Raises:
        ValueError: if it is no dict, or its keys are not the tasks' labels.
    """
    if not isinstance(values, Mapping):
        raise ValueError(
            f"Labels should be a dict of arrays with the keys {sorted({task.label for task in tasks})}. "
            f"Received: {type(values).__name__}"
        )
    check_same_names(
        values,
        {task.label for task in tasks},
        what="keys of the labels",
        mend="Each task takes the labels of its name, or those of its argument `label`.",
    )
    return {task.name: values[task.label] for task in tasks}


def weights_by_task(sample_weight: Any, tasks: Sequence[Task]) -> dict[str, Any]:
    """Sample weights by task: the same for all, or a dict by label key, where an absent key weighs nothing specially.

    Args:
        sample_weight: None, a tensor `(batch,)`, or a dict of such tensors by label key.
        tasks: the tasks.

    Raises:
        ValueError: if a key of the dict is no task's label.
    """
    if isinstance(sample_weight, (tuple, list)):
        raise ValueError(
            f"Sample weights should be a tensor (batch,) for all tasks, or a dict of such tensors by the keys of the "
            f"labels. Received: a {type(sample_weight).__name__} of {len(sample_weight)}"
        )
    if not isinstance(sample_weight, Mapping):
        return {task.name: sample_weight for task in tasks}
    labels = {task.label for task in tasks}
    check_same_names(
        set(sample_weight) | labels,
        labels,
        what="keys of the sample weights",
        mend="Give sample weights by the keys of the labels.",
    )
    return {task.name: sample_weight.get(task.label) for task in tasks}


class TaskLosses:
    """The losses of a model's tasks.

    Args:
        losses: a `keras.losses.Loss` by task.
    """

    def __init__(self, losses: Mapping[str, keras.losses.Loss]) -> None:
        self._losses = dict(losses)

    def __call__(
        self, labels: Mapping[str, Any], predictions: Mapping[str, Any], weights: Mapping[str, Any]
    ) -> list[Any]:
        """The loss of each task over the batch, scalars, each reduced as its `Loss` says.

        They are not stacked: the gradient of one would then go through the heads of all.

        Args:
            labels: by task, `(batch, ...)`.
            predictions: by task, `(batch, ...)`.
            weights: sample weights by task, `(batch,)` or None.
        """
        values = [
            ops.sum(loss(labels[task], predictions[task], sample_weight=weights[task]))
            for task, loss in self._losses.items()
        ]
        return [ops.cast(value, keras.config.floatx()) for value in values]

    @staticmethod
    def active(weights: Mapping[str, Any]) -> Any:
        """How many examples count for each task, `[num_tasks]`: 1 where there are no sample weights."""
        counts = [
            ops.ones((), dtype="float32") if weight is None else ops.cast(ops.count_nonzero(weight), "float32")
            for weight in weights.values()
        ]
        return ops.stack(counts)
