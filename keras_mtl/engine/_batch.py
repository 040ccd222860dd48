"""A batch as the steps read it: inputs, and labels and sample weights by task."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from keras_mtl.engine._label_checks import check_specification, validated
from keras_mtl.engine._replicas import sum_over_replicas
from keras_mtl.engine._sample_weights import weight_of_labels
from keras_mtl.engine._task_losses import by_task, weights_by_task
from keras_mtl.tasks import Task

if TYPE_CHECKING:
    from keras_mtl.engine._protocol import TrainableModel


@dataclass(frozen=True)
class Batch:
    """A batch of one replica.

    Args:
        x: the inputs.
        labels: labels by task; what is missing is 0.
        present: by task, 1 for each label that counts: it is not missing, its weight is not 0 and, once there are
            predictions, no mask leaves its place out. `(batch,)`, or `(batch, ...)` for tasks with a label for each
            place.
        weights: by task, the weight of each label, of that shape: 0 where it does not count.
        size: the number of examples, a float.
        counts: how many labels count on this replica, `[num_tasks]`.
        total_size: the number of examples on all replicas.
        total_counts: how many labels count on all replicas, `[num_tasks]`.
    """

    x: Any
    labels: dict[str, Any]
    present: dict[str, Any]
    weights: dict[str, Any]
    size: Any
    counts: Any
    total_size: Any
    total_counts: Any

    @property
    def active(self) -> Any:
        """Whether each task has a label in the batch, on any replica, booleans `[num_tasks]`."""
        return self.total_counts > 0


def batch_of(model: TrainableModel, data: Any) -> Batch:
    """A batch from what the data bring, its labels checked."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(keras.tree.map_structure(_as_tensor, data))
    check_specification(model.tasks, y)
    y = {**y, **{task.label: _with_rank(task, y[task.label]) for task in model.tasks}}
    _check_places(model, y)
    batch = labelled(model, x, y, sample_weight)
    if not checks_in_step(model):
        return batch
    return replace(batch, labels=validated(model.tasks, batch.labels, batch.labels))


def labelled(model: TrainableModel, x: Any, y: Any, sample_weight: Any) -> Batch:
    """A batch from inputs, labels and sample weights as the data bring them."""
    found, given = as_columns(model, by_task(y, model.tasks)), weights_by_task(sample_weight, model.tasks)
    dtype = keras.config.floatx()
    labels, present, weights = {}, {}, {}
    for task in model.tasks:
        name = task.name
        missing = model.task_losses.ignored(name, found[name], task.missing(found[name]))
        labels[name] = task.filled(found[name], missing)
        weights[name] = present[name] = tf.cast(tf.logical_not(missing), dtype)
        if given[name] is not None:
            weight = weight_of_labels(task, tf.cast(given[name], dtype), missing)
            weights[name] = tf.where(missing, tf.zeros((), dtype), weight)
            present[name] = tf.cast(tf.not_equal(weights[name], 0.0), dtype)
    size = tf.shape(next(part for part in keras.tree.flatten((x, y)) if part is not None))[0]
    numbers = tf.stack([tf.cast(size, dtype), *(tf.reduce_sum(present[task.name]) for task in model.tasks)])
    total = sum_over_replicas(numbers)
    return Batch(x, labels, present, weights, numbers[0], numbers[1:], total[0], total[1:])


def checks_in_step(model: TrainableModel) -> bool:
    """Whether a step checks the values of its labels.

    It does so where it can stop in good order: XLA leaves assertions out, and a replica that stops leaves the others
    waiting for it.
    """
    return not model.jit_compile and model.distribute_strategy.num_replicas_in_sync == 1


def as_columns(model: TrainableModel, labels: dict[str, Any]) -> dict[str, Any]:
    """The labels of tasks that predict one number with an axis for it, as the predictions have: some metrics insist.

    Where a task predicts something for each place, and `labels` have no places, there is one for all of them.
    """
    return {**labels, **{task.name: _as_column(model, task, labels[task.name]) for task in model.tasks}}


def _as_column(model: TrainableModel, task: Task, labels: Any) -> Any:
    if not task.num_place_axes:
        return tf.reshape(labels, (-1, 1)) if task.num_outputs == 1 and task.label_shape == () else labels
    rank = labels.shape.rank
    if rank == 1 + len(task.label_shape):
        places = [size or 1 for size in model.output[task.name].shape[1 : 1 + task.num_place_axes]]
        for _ in places:
            labels = tf.expand_dims(labels, 1)
        labels = tf.tile(labels, [1, *places, *[1] * len(task.label_shape)])
    if task.num_outputs == 1 and labels.shape.rank == 1 + task.num_place_axes:
        labels = tf.expand_dims(labels, -1)
    return labels


def _as_tensor(value: Any) -> Any:
    """An array as a tensor: `train_on_batch` hands on what it is given where steps are run eagerly."""
    return tf.convert_to_tensor(value) if isinstance(value, np.ndarray) else value


def _with_rank(task: Task, labels: Any) -> Any:
    """The labels with a rank, which Keras forgets where a step is given `(batch,)` and then `(batch, 1)`."""
    if labels.shape.rank is not None:
        return labels
    sizes = tf.ensure_shape(tf.shape(labels)[: 1 + task.num_place_axes], [1 + task.num_place_axes])
    return tf.reshape(labels, tf.concat([sizes, tf.constant(task.label_shape, "int32")], 0))


def _check_places(model: TrainableModel, labels: dict[str, Any]) -> None:
    """Raises a `ValueError` if labels have other places than the predictions, as far as the sizes are known."""
    for task in model.tasks:
        received = labels[task.label].shape[1 : 1 + task.num_place_axes]
        expected = model.output[task.name].shape[1 : 1 + task.num_place_axes]
        if any(None not in pair and pair[0] != pair[1] for pair in zip(received, expected, strict=True)):
            raise task.label_error(
                f"have {' x '.join(map(str, expected))} places, as its predictions have",
                f"labels of shape {tuple(labels[task.label].shape)}",
            )
