"""The training and test steps on TensorFlow: a batch in, an update of the weights and logs out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from keras_mtl.balancers import BilevelBalancer, GradientNormBalancer
from keras_mtl.engine._batch import Batch, as_columns, batch_of, labelled
from keras_mtl.engine._directions import shared_gradients, shared_jacobian, weighs_now_and_then
from keras_mtl.engine._faults import left_out, sound_tasks, without, without_counts
from keras_mtl.engine._forward import Forward, Scaled, forward, rest, total
from keras_mtl.engine._gradients import TaskGradients, add
from keras_mtl.engine._own_state import OwnState
from keras_mtl.engine._partition import check_unchanged
from keras_mtl.engine._second_passes import look_ahead, losses_once_more, state_of
from keras_mtl.engine._step_kind import kind_of

if TYPE_CHECKING:
    from keras_mtl.engine._protocol import TrainableModel


def build_metrics(model: TrainableModel) -> None:
    """Creates the state of the compiled metrics.

    Keras creates it at the first `fit` from a batch that it reads and throws away. A pipeline that is read in part and
    then again may be cut short by a `cache` in it, and under a strategy the batch is lost. So nothing is read: one
    example of zeros will do.
    """
    predictions = {name: tf.zeros([size or 1 for size in out.shape], out.dtype) for name, out in model.output.items()}
    zeros = {task.name: tf.zeros((1, *task.label_shape), task.label_dtype) for task in model.tasks}
    labels = as_columns(model, zeros)
    with model.distribute_strategy.scope():
        for task, metric, _ in model.task_metrics:
            metric.update_state(labels[task], predictions[task])
        model.reset_metrics()


def train_step(model: TrainableModel, data: Any) -> dict[str, Any]:
    """One update of the weights from one batch of one replica, and the logs so far."""
    data, second = _streams(model, data)
    batch = batch_of(model, data)
    balancer: Any = model.gradient_balancer
    if not weighs_now_and_then(balancer) or tf.distribute.has_strategy():
        return _update(model, batch, second, due=kind_of(model).due)
    due = balancer.is_due(batch.active)
    return tf.cond(
        due, lambda: _update(model, batch, second, due=True), lambda: _update(model, batch, second, due=False)
    )


def active_tasks(model: TrainableModel, data: Any) -> Any:
    """Whether each task has a label in a batch, on any replica, booleans `[num_tasks]`."""
    return batch_of(model, _streams(model, data)[0]).active


def _streams(model: TrainableModel, data: Any) -> tuple[Any, Any]:
    """What the data bring: a batch and, for a bilevel balancer, one of the second stream."""
    return data if isinstance(model.loss_balancer, BilevelBalancer) else (data, None)


def _update(model: TrainableModel, batch: Batch, second: Any, *, due: bool | None = None) -> dict[str, Any]:
    """An update of the weights, and the logs so far.

    Args:
        model: the model.
        batch: a batch of one replica.
        second: for a bilevel balancer, what the second stream brought.
        due: see `shared_gradients`.
    """
    balancer = model.loss_balancer
    is_bilevel = isinstance(balancer, BilevelBalancer)
    guarded = model.on_nonfinite is not None
    before = state_of(model) if is_bilevel or balancer.needs_after_step else []
    own_state = OwnState(model)
    separately = guarded or model.gradient_balancer is not None or isinstance(balancer, GradientNormBalancer)
    with tf.GradientTape(persistent=separately or is_bilevel) as tape:
        found = forward(model, batch, in_parts=separately)
        if is_bilevel:
            with tape.stop_recording():
                look_ahead(model, tape, found.shares, found.active, batch, batch_of(model, second), before)
        scale = model.optimizer.scale_loss(1.0)  # the loss scale of float16, or 1
        scaled = Scaled([share * scale for share in found.shares], found.rest * scale, scale)
        if not separately:
            weights = balancer(found.losses, found.active)
            regularization = rest([balancer.regularization(found.active)])
            objective = total(scaled.shares, weights) + scaled.rest + scale * regularization
    active = found.active
    if separately:
        by_task = _task_gradients(model, tape, found, scaled)
        if guarded:
            sound = sound_tasks(model, found.losses, by_task)
            by_task.leave_out(sound)
            found, scaled = found.without(sound), scaled.without(sound)
            due = due and None  # it may have been for a task that is left out
        gradients, weights, regularization = _gradients_by_task(model, tape, found, scaled, by_task, due)
    else:
        gradients = tape.gradient(objective, model.trainable_variables)
    kept, stops = found.active, None
    if guarded:
        kept, gradients, stops = left_out(model, active, kept, gradients)
        batch, found = without(batch, kept), found.without(kept)
    own_state.update(gradients, kept, stops)
    if balancer.needs_after_step:
        after = losses_once_more(model, batch, before)
        balancer.after_step(tf.where(kept, after, tf.zeros_like(after)) if guarded else after, kept)
    shown = total(found.shares, _shown_weights(model, weights)) + found.rest + regularization
    return _logs(model, batch, found, shown)


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
    tape: tf.GradientTape,
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
    if isinstance(balancer, GradientNormBalancer):
        weights = _weights_by_gradients(balancer, by_task, found)
        regularization = tf.zeros((), found.rest.dtype)
        learnt = [None] * len(balancer.trainable_variables)
    else:
        with tf.GradientTape() as learning:
            weights = balancer(found.losses, found.active)
            weighted = total([tf.stop_gradient(share) for share in scaled.shares], weights)
            regularization = rest([balancer.regularization(found.active)])
            weighted += scaled.scale * regularization
        learnt = learning.gradient(weighted, balancer.trainable_variables)
    groups = [
        (parts.shared, shared_gradients(by_task, weights, model.gradient_balancer, found.active, due=due)),
        (balancer.trainable_variables, learnt),
        (model.trainable_variables, tape.gradient(scaled.rest, model.trainable_variables)),
    ]
    names = [task.name for task in model.tasks]
    groups += [(parts.specific[name], own) for name, own in zip(names, by_task.weighted_own(weights), strict=True)]
    terms: dict[int, list[Any]] = {id(variable): [] for variable in model.trainable_variables}
    for variables, gradients in groups:
        for variable, gradient in zip(variables, gradients, strict=True):
            terms[id(variable)].append(gradient)
    return [add(terms[id(variable)]) for variable in model.trainable_variables], weights, regularization


def _weights_by_gradients(balancer: Any, by_task: TaskGradients, found: Forward) -> Any:
    """The loss weights of a balancer that looks at gradients."""
    of_features = balancer.gradients == "features"
    dtype = balancer.compute_dtype
    jacobian = by_task.bias_gradients(dtype) if of_features else shared_jacobian(by_task, dtype)
    return balancer.weigh(found.losses, found.active, jacobian)


def _shown_weights(model: TrainableModel, weights: Any) -> Any:
    """The weights with which the logs add up the losses.

    The tasks' own are in them also where they are the preference of the gradient balancer, so that the sum compares
    with `val_loss`; weights that a step in float16 lost to an overflow, and that the optimizer leaves out, count as 1.
    """
    shown = tf.where(tf.math.is_finite(weights), weights, tf.ones_like(weights))
    if model.gradient_balancer is not None:
        shown *= tf.cast(model.gradient_balancer.preference(len(model.tasks)), shown.dtype)
    return shown


def test_step(model: TrainableModel, data: Any) -> dict[str, Any]:
    """The logs so far after one batch of one replica: losses weighted by the tasks' own weights."""
    batch = batch_of(model, data)
    predictions = model(batch.x, training=False)
    shares = model.task_losses(batch.labels, predictions, batch.weights, batch.total_counts)
    found = Forward(predictions, shares, None, batch.active, None, [], [])
    return without_counts(model, _logs(model, batch, found, plain_total(model, shares)))


def losses_by_label(model: TrainableModel, y: Any, predictions: Any, sample_weight: Any) -> Any:
    """The tasks' losses, scalars, from labels and sample weights as the data bring them."""
    batch = labelled(model, None, y, sample_weight)
    return model.task_losses(batch.labels, predictions, batch.weights, batch.total_counts)


def plain_total(model: TrainableModel, losses: Any) -> Any:
    """The losses weighted by the tasks' own weights, with the model's regularization: what `evaluate` reports."""
    losses = tf.stack(losses)
    weights = tf.cast(model.loss_balancer.preference(len(model.tasks)), losses.dtype)
    if model.gradient_balancer is not None:  # the tasks' weights are the preference of one of the two
        weights *= tf.cast(model.gradient_balancer.preference(len(model.tasks)), losses.dtype)
    return tf.reduce_sum(losses * weights) + rest(model.losses)


def _logs(model: TrainableModel, batch: Batch, found: Forward, total: Any) -> dict[str, Any]:
    """Updates the metrics, and gives their results.

    What a replica holds of a mean over the whole batch is so scaled that the trackers, which add up what the replicas
    say, come to that mean.
    """
    # Keras' own tracker of the total loss is the first of the model's metrics.
    tracker = next(metric for metric in model.metrics if metric.name == "loss")
    tracker.update_state(_on_replica(total, batch.total_size, batch.size), sample_weight=batch.size)
    counts = zip(tf.unstack(batch.total_counts), tf.unstack(batch.counts), strict=True)
    for tracker, share, (everywhere, here) in zip(model.task_loss_trackers, found.shares, counts, strict=True):
        tracker.update_state(_on_replica(share, everywhere, here), sample_weight=here)
    for task, metric, is_weighted in model.task_metrics:
        weights = batch.weights if is_weighted else batch.present
        metric.update_state(batch.labels[task], found.predictions[task], sample_weight=weights[task])
    return model.get_metrics_result()


def _on_replica(share: Any, everywhere: Any, here: Any) -> Any:
    return tf.math.divide_no_nan(share * tf.cast(everywhere, share.dtype), tf.cast(here, share.dtype))
