"""Leaves a task out of a step in which its loss or its gradient is not finite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import keras
import tensorflow as tf

from keras_mtl._layers import layers_by_path
from keras_mtl.balancers import GradientBalancer
from keras_mtl.engine._batch import Batch
from keras_mtl.engine._finite import are_finite, zeros_unless
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
    faults = sum_over_replicas(tf.cast(tf.logical_not(by_task.are_finite()), "float32"))
    return tf.math.is_finite(losses) & ((faults == 0) | _may_overflow(model))


# Inputs times a kernel plus a bias, and the axis of the kernel's that belongs to the outputs.
_OUTPUTS = {
    **dict.fromkeys((keras.layers.Dense, keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D), -1),
    **dict.fromkeys((keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose), -2),
}


def all_sound(model: TrainableModel, gradients: Sequence[Any]) -> Any:
    """Whether the gradients of the trainable variables are finite on all replicas, a boolean tensor."""
    fault = tf.logical_not(are_finite(_telling(model, gradients)))
    return (sum_over_replicas(tf.cast(fault, "float32")) == 0) | _may_overflow(model)


def _telling(model: TrainableModel, gradients: Sequence[Any]) -> list[Any]:
    """The gradients, but of a kernel with a bias what belongs to the first output alone.

    To look at all numbers of large shared kernels would cost some hundredths of a step. A kernel's gradient is a sum of
    products of inputs and of gradients of outputs. Where an input is not finite, the product is not finite for any
    output, the first among them; where an output's gradient is not, neither is the bias's. That leaves finite numbers
    with a product beyond the range of float32: kernels of one task alone are looked at as a whole. A regularization
    loss has no such gradient: with one, all are looked at.
    """
    shared = {id(variable) for variable in model.partition.shared}
    by_variable = {id(v): g for v, g in zip(model.trainable_variables, gradients, strict=True)}
    found = dict(by_variable)
    whole = isinstance(model.gradient_balancer, GradientBalancer)  # it may take the first output's of other tasks
    if not whole and not model.losses:
        for layer in layers_by_path(cast("keras.Model", model)).values():
            axis, key = _OUTPUTS.get(type(layer)), id(getattr(layer, "kernel", None))
            kernel = by_variable.get(key)
            if key not in shared or axis is None or kernel is None or by_variable.get(id(layer.bias)) is None:
                continue
            if getattr(layer, "groups", 1) == 1:  # otherwise the first output reads a part of the inputs alone
                found[key] = tf.gather(kernel, [0], axis=axis)
    return list(found.values())


def _may_overflow(model: TrainableModel) -> Any:
    """Whether a gradient may be infinite because the losses were scaled up for float16.

    That is no task's fault, and the optimizer sees to it: it leaves the step out, and halves the scale, until that is
    1 and the gradients are what they are.
    """
    scale = getattr(model.optimizer, "dynamic_scale", None)
    return tf.constant(False) if scale is None else tf.convert_to_tensor(scale) > 1.0


def without(batch: Batch, kept: Any) -> Batch:
    """The batch with the labels of tasks left out.

    The labels themselves too: a metric that squares one of 1e30 would have a NaN, whatever its weight. If no task stays
    of those that had a label, the mean of the losses is to be as if the batch had not been: then it has no examples.

    Args:
        batch: a batch.
        kept: the tasks that stay, booleans `[num_tasks]`.
    """
    flags = tf.cast(kept, batch.counts.dtype)
    by_name = dict(zip(batch.labels, tf.unstack(kept, len(batch.labels)), strict=True))
    is_left = tf.cast(tf.reduce_any(kept) | tf.logical_not(tf.reduce_any(batch.active)), batch.size.dtype)

    def of_kept(values: dict[str, Any]) -> dict[str, Any]:
        return {task: tf.where(by_name[task], each, tf.zeros_like(each)) for task, each in values.items()}

    return replace(
        batch,
        labels=of_kept(batch.labels),
        present=of_kept(batch.present),
        weights=of_kept(batch.weights),
        size=batch.size * is_left,
        counts=batch.counts * flags,
        total_size=batch.total_size * is_left,
        total_counts=batch.total_counts * flags,
    )


def left_out(model: TrainableModel, active: Any, kept: Any, gradients: Sequence[Any]) -> tuple[Any, list[Any], Any]:
    """What is trained on after all: the tasks, booleans `[num_tasks]`, and the gradients, of zeros if none is.

    Counts the tasks that had labels and are left out. With `on_nonfinite="raise"` one of them stops the training: then,
    and in the steps until Python hears of it, all stays as it is, what waits in sums of gradients too. Whether it does
    is the third result, a boolean tensor, or None if nothing stops it.

    Args:
        model: a compiled model with a `fault_counter`.
        active: whether each task has a label.
        kept: whether its loss, and its gradients down to the features, are finite, if it has.
        gradients: of the trainable variables. What is not finite in them became so below the features, or in what
            belongs to no task: whose fault that is cannot be told.
    """
    sound, stops = all_sound(model, gradients), None
    kept = kept & sound
    faults = active & ~kept
    if model.on_nonfinite == "raise":
        is_first = tf.reduce_all(tf.equal(tf.convert_to_tensor(model.fault_counter.total), 0))
        stops = tf.logical_not(is_first) | tf.reduce_any(faults)
        faults, kept, sound = faults & is_first, kept & ~stops, sound & ~stops
    model.fault_counter.update_state(tf.cast(faults, "float32") / num_replicas())
    return kept, zeros_unless(sound, gradients), stops


def without_counts(model: TrainableModel, logs: dict[str, Any]) -> dict[str, Any]:
    """Logs of an evaluation, which leaves nothing out."""
    names = () if model.fault_counter is None else model.fault_counter.names
    return {name: value for name, value in logs.items() if name not in names}
