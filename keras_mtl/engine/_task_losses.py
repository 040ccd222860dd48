"""The losses of the tasks in a batch, one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_mtl._checks import check_same_names
from keras_mtl.engine._replicas import sum_over_replicas
from keras_mtl.engine._summed_loss import SUMS, SummedLoss
from keras_mtl.losses import ClassWeighted, Masked
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
    """The losses of a model's tasks: each the mean over the labels that there are, on all replicas.

    A loss whose reduction is `"sum"` or None is summed, and one of `"mean_with_sample_weight"` divided by the sum of
    the weights. Labels that a loss ignores, by its `ignore_class`, are not there, for the metrics neither.

    Args:
        losses: a `keras.losses.Loss` by task.
    """

    def __init__(self, losses: Mapping[str, keras.losses.Loss]) -> None:
        self._losses = dict(losses)

    def __call__(
        self, labels: Mapping[str, Any], predictions: Mapping[str, Any], weights: Mapping[str, Any], counts: Any
    ) -> list[Any]:
        """The replica's share of the loss of each task over the batch, scalars: 0 for a task without a label.

        They are not stacked: the gradient of one would then go through the heads of all.

        Args:
            labels: by task, `(batch, ...)`.
            predictions: by task, `(batch, ...)`.
            weights: by task, the weight of each label, 0 where it does not count.
            counts: how many labels count on all replicas, `[num_tasks]`.

        Raises:
            ValueError: if a loss has not a value for each label.
        """
        shares = []
        for (task, loss), count in zip(self._losses.items(), tf.unstack(counts, len(self._losses)), strict=True):
            summed = SummedLoss(task, loss, weights[task].shape)
            # A sum already, but where a batch is known to be empty: Keras hands that back as it is.
            share = tf.reduce_sum(summed(labels[task], predictions[task], sample_weight=weights[task]))
            if loss.reduction == "mean_with_sample_weight":
                count = sum_over_replicas(tf.reduce_sum(weights[task]))
            if loss.reduction not in SUMS:
                share = tf.math.divide_no_nan(share, tf.cast(count, share.dtype))
            shares.append(tf.cast(share, keras.config.floatx()))
        return shares

    def ignored(self, task: str, labels: Any, missing: Any) -> Any:
        """Which labels are missing, or such as the loss ignores, of a class that it leaves out of its mean.

        Args:
            task: the name of a task.
            labels: a tensor `(batch, ...)`.
            missing: which of them are missing, booleans over their first axes.
        """
        label = getattr(ClassWeighted.innermost(self._losses[task]), "ignore_class", None)
        if label is None:
            return missing
        absent = Masked.absent(labels, label)
        within = list(range(missing.shape.rank, labels.shape.rank))
        return tf.logical_or(missing, tf.reduce_any(absent, axis=within) if within else absent)
