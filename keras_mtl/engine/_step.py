"""What a training step finds, before anything changes: the gradients, and what they were taken of."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from keras_mtl.balancers import GradientNormBalancer
from keras_mtl.engine._batch import Batch
from keras_mtl.engine._counted import counted
from keras_mtl.engine._directions import shared_gradients, shared_jacobian
from keras_mtl.engine._faults import left_out, sound_tasks, without
from keras_mtl.engine._forward import Forward, Scaled, forward, rest, total
from keras_mtl.engine._gradients import TaskGradients, add
from keras_mtl.engine._partition import check_unchanged
from keras_mtl.engine._second_passes import look_ahead

if TYPE_CHECKING:
    from keras_mtl.engine._protocol import TrainableModel


@dataclass(frozen=True)
class Step:
    """What a step found.

    Args:
        batch: the batch, without the labels of tasks that are left out.
        found: what the pass forward found, without those tasks.
        gradients: of each trainable variable, or None.
        weights: of the tasks' losses, `[num_tasks]`.
        regularization: what the balancer adds to their sum.
        kept: the tasks that are trained on, booleans `[num_tasks]`.
        stops: whether nothing is to change, a boolean tensor, or None if that is never so.
        by_task: the gradients of the tasks, or None where the sum of their losses was differentiated at once.
        guarded: whether tasks that are faulty are left out.
    """

    batch: Batch
    found: Forward
    gradients: list[Any]
    weights: Any
    regularization: Any
    kept: Any
    stops: Any = None
    by_task: TaskGradients | None = None
    guarded: bool = False


@dataclass(frozen=True)
class Ahead:
    """What a bilevel balancer looks ahead with: a batch of the second stream, and the state before the step."""

    batch: Batch
    before: Sequence[Any]


def step_of(
    model: TrainableModel, batch: Batch, due: bool | None, ahead: Ahead | None = None, *, guarded: bool = False
) -> Step:
    """Takes the gradients of a batch.

    Args:
        model: the model.
        batch: a batch of one replica.
        due: see `shared_gradients`.
        ahead: for a bilevel balancer.
        guarded: leaves out tasks whose loss or gradient is not finite, and counts them. The gradients of all tasks are
            then taken one by one, whatever the balancer.
    """
    balancer, variables = model.loss_balancer, model.trainable_variables
    separately = guarded or model.gradient_balancer is not None or isinstance(balancer, GradientNormBalancer)
    with tf.GradientTape(persistent=separately or ahead is not None) as tape:
        given = batch
        found, batch = forward(model, given, tape if separately else None)
        if batch is not given:
            due = None if due else due  # it may have been for a task whose labels are all masked
        if ahead is not None and not separately:
            with tape.stop_recording():
                _look_ahead(model, functools.partial(_gradients_of, tape, found.shares, variables), found, batch, ahead)
        scale = model.optimizer.scale_loss(1.0)  # the loss scale of float16, or 1
        scaled = Scaled([share * scale for share in found.shares], found.rest * scale, scale)
        if not separately:
            weights = balancer(found.losses, found.active)
            regularization = rest([balancer.regularization(found.active)])
            objective = total(scaled.shares, weights) + scaled.rest + scale * regularization
    if not separately:
        gradients = tape.gradient(objective, variables)
        return Step(batch, found, gradients, weights, regularization, found.active)
    by_task = _task_gradients(model, tape, found, scaled)
    if ahead is not None:
        of_shares = functools.partial(by_task.of_others, list(found.shares), variables)
        _look_ahead(model, lambda weights: of_shares(tf.unstack(weights, len(found.shares))), found, batch, ahead)
    if not guarded:
        gradients, weights, regularization = _gradients_by_task(model, found, scaled, by_task, due)
        return Step(batch, found, gradients, weights, regularization, found.active, by_task=by_task)
    sound = sound_tasks(model, found.losses, by_task)
    by_task.leave_out(sound)
    left, scaled = found.without(sound), scaled.without(sound)
    due = due and None  # it may have been for a task that is left out
    gradients, weights, regularization = _gradients_by_task(model, left, scaled, by_task, due)
    kept, gradients, stops = left_out(model, found.active, left.active, gradients)
    return Step(
        without(batch, kept), found.without(kept), gradients, weights, regularization, kept, stops, guarded=True
    )


def _look_ahead(model: TrainableModel, gradients_of: Any, found: Forward, batch: Batch, ahead: Ahead) -> None:
    look_ahead(model, gradients_of, found.shares, found.active, batch, ahead.batch, ahead.before)


def _gradients_of(tape: tf.GradientTape, shares: Sequence[Any], variables: Sequence[Any], weights: Any) -> list[Any]:
    return tape.gradient(list(shares), variables, output_gradients=tf.unstack(weights, len(shares)))


def _task_gradients(model: TrainableModel, tape: tf.GradientTape, found: Forward, scaled: Scaled) -> TaskGradients:
    """The gradients of the tasks, down to the features."""
    parts = model.partition
    balancers = (model.loss_balancer, model.gradient_balancer)
    learnt_by = {id(variable) for part in balancers if part for variable in part.variables}
    check_unchanged(parts, [variable for variable in model.trainable_variables if id(variable) not in learnt_by])
    names = [task.name for task in model.tasks]
    return TaskGradients(
        tape, scaled.shares, found.features, found.copies, scale=scaled.scale, tasks=names, parts=parts
    )


def _gradients_by_task(
    model: TrainableModel,
    found: Forward,
    scaled: Scaled,
    by_task: TaskGradients,
    due: bool | None,
) -> tuple[list[Any], Any, Any]:
    """The gradient of each trainable variable, the weights of the losses, and what the balancer adds to their sum.

    The gradients of shared variables are balanced; each task's own variables have that of the task's weighted loss;
    what belongs to no task is added once.
    """
    parts, balancer = model.partition, model.loss_balancer
    counts = counted(model, found.active)
    jacobian = _jacobian(balancer, by_task) if isinstance(balancer, GradientNormBalancer) else None
    with tf.GradientTape() as learning:
        if jacobian is None:
            weights = balancer(found.losses, found.active)
        else:
            own = balancer.preference(by_task.num_tasks) * tf.cast(found.active, balancer.compute_dtype)
            weights = tf.where(counts, balancer.weigh(found.losses, counts, jacobian), own)
        weighted = total([tf.stop_gradient(share) for share in scaled.shares], weights)
        regularization = rest([balancer.regularization(found.active)])
        weighted += scaled.scale * regularization
    learnt = learning.gradient(weighted, balancer.trainable_variables)
    groups = [
        (parts.shared, shared_gradients(by_task, weights, model.gradient_balancer, counts, due=due)),
        (balancer.trainable_variables, learnt),
        (model.trainable_variables, by_task.of_others(scaled.rest, model.trainable_variables)),
    ]
    names = [task.name for task in model.tasks]
    groups += [(parts.specific[name], own) for name, own in zip(names, by_task.weighted_own(weights), strict=True)]
    terms: dict[int, list[Any]] = {id(variable): [] for variable in model.trainable_variables}
    for variables, gradients in groups:
        for variable, gradient in zip(variables, gradients, strict=True):
            terms[id(variable)].append(gradient)
    return [add(terms[id(variable)]) for variable in model.trainable_variables], weights, regularization


def _jacobian(balancer: Any, by_task: TaskGradients) -> Any:
    """The gradients that a balancer of losses looks at, `[num_tasks, num_gradients]`."""
    dtype = balancer.compute_dtype
    return by_task.bias_gradients(dtype) if balancer.gradients == "features" else shared_jacobian(by_task, dtype)
