"""Leaves a task out of a step in which its loss or its gradient is not finite."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from keras_mtl._layers import layers_by_path
from keras_mtl.engine._batch import Batch
from keras_mtl.engine._finite import are_finite
from keras_mtl.engine._gradients import TaskGradients
from keras_mtl.engine._replicas import num_replicas, sum_over_replicas

if TYPE_CHECKING:
    from keras_mtl.engine._protocol import TrainableModel


def sound_tasks(model: TrainableModel, losses: Any, by_task: TaskGradients) -> Any:
    """Whether the loss of each task, and its gradients down to the features, are finite, booleans `[num_tasks]`.

    Args:
        model: a compiled model.
        losses: the tasks' losses over all replicas, `[num_tasks]`.
        by_task: the gradients of a replica.
    """
    faults = sum_over_replicas(tf.cast(tf.logical_not(tf.stack(by_task.are_finite())), "float32"))
    return tf.math.is_finite(losses) & ((faults == 0) | _may_overflow(model))


# Inputs times a kernel plus a bias: the bias's gradient is the sum of what the kernel's is made of.
_WITH_BIAS = (
    *(keras.layers.Dense, keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D),
    *(keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose),
)


def all_sound(model: TrainableModel, gradients: Any) -> Any:
    """Whether the gradients of the trainable variables are finite on all replicas, a boolean tensor.

    To look at all of them would cost a few hundredths of a step where kernels are large. A kernel with a bias is left
    to that: what is not finite in its gradient is so in the bias's, except for a product beyond the range of float32.
    """
    known = {id(variable) for variable, g in zip(model.trainable_variables, gradients, strict=True) if g is not None}
    layers = [layer for layer in layers_by_path(model).values() if isinstance(layer, _WITH_BIAS)]
    told = {id(getattr(layer, "kernel", None)) for layer in layers if id(layer.bias) in known}
    rows = zip(model.trainable_variables, gradients, strict=True)
    fault = tf.logical_not(are_finite([g for variable, g in rows if id(variable) not in told]))
    return (sum_over_replicas(tf.cast(fault, "float32")) == 0) | _may_overflow(model)


def _may_overflow(model: TrainableModel) -> Any:
    """Whether a gradient may be infinite because the losses were scaled up for float16.

    That is no task's fault, and the optimizer sees to it: it leaves the step out, and halves the scale, until that is
    1 and the gradients are what they are.
    """
    scale = getattr(model.optimizer, "dynamic_scale", None)
    return tf.constant(False) if scale is None else tf.convert_to_tensor(scale) > 1.0


def without(batch: Batch, sound: Any) -> Batch:
    """The batch with the labels of tasks that are not sound left out.

    Args:
        batch: a batch.
        sound: booleans `[num_tasks]`.
    """
    kept = tf.cast(sound, batch.counts.dtype)
    by_name = dict(zip(batch.labels, tf.unstack(kept, len(batch.labels)), strict=True))
    return replace(
        batch,
        present={task: values * by_name[task] for task, values in batch.present.items()},
        weights={task: values * by_name[task] for task, values in batch.weights.items()},
        counts=batch.counts * kept,
        total_counts=batch.total_counts * kept,
    )


def count(model: TrainableModel, active: Any, kept: Any) -> None:
    """Adds up the steps in which a task had labels and was left out.

    Args:
        model: a compiled model with a metric for each task in `fault_counters`.
        active: whether each task has a label, booleans `[num_tasks]`.
        kept: whether it was trained on, booleans `[num_tasks]`.
    """
    faults = tf.cast(active & ~kept, "float32") / num_replicas()
    for counter, fault in zip(model.fault_counters, tf.unstack(faults, len(model.tasks)), strict=True):
        counter.update_state(fault)


def without_counts(model: TrainableModel, logs: dict[str, Any]) -> dict[str, Any]:
    """Logs of an evaluation, which leaves nothing out."""
    names = {counter.name for counter in model.fault_counters}
    return {name: value for name, value in logs.items() if name not in names}
