"""The training and test steps on TensorFlow: a batch in, an update of the weights and logs out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from keras_mtl.balancers import BilevelBalancer
from keras_mtl.engine._batch import Batch, as_columns, batch_of, labelled
from keras_mtl.engine._counted import counted
from keras_mtl.engine._directions import weighs_now_and_then
from keras_mtl.engine._faults import without_counts
from keras_mtl.engine._forward import Forward, rest, total
from keras_mtl.engine._guard import guarded_step
from keras_mtl.engine._masks import masked
from keras_mtl.engine._own_state import OwnState
from keras_mtl.engine._parts import on_a_row_at_least
from keras_mtl.engine._second_passes import losses_once_more, state_of
from keras_mtl.engine._step import Ahead, step_of
from keras_mtl.engine._step_kind import kind_of

if TYPE_CHECKING:
    from keras_mtl.engine._protocol import TrainableModel


def build_metrics(model: TrainableModel) -> None:
    """Creates the state of the compiled metrics.

    Keras creates it at the first `fit` from a batch that it reads and throws away. A pipeline that is read in part and
    then again may be cut short by a `cache` in it, and under a strategy the batch is lost. So nothing is read: one
    example of zeros will do.
    """
    predictions = {
        name: tf.zeros([1, *(size or 1 for size in out.shape[1:])], out.dtype) for name, out in model.output.items()
    }
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
    due = balancer.is_due(counted(model, batch.active))
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
    before = state_of(model) if is_bilevel or balancer.needs_after_step else []
    own_state = OwnState(model)
    if model.on_nonfinite is not None:
        step = guarded_step(model, batch, own_state, due)
    else:
        ahead = Ahead(batch_of(model, second), before) if is_bilevel else None
        step = step_of(model, batch, due, ahead)
    is_masked = step.batch.total_counts is not batch.total_counts
    own_state.update(step.gradients, step.kept, step.stops, may_lack=is_masked)
    if balancer.needs_after_step:
        after = losses_once_more(model, step.batch, before)
        balancer.after_step(tf.where(step.kept, after, tf.zeros_like(after)) if step.guarded else after, step.kept)
    shown = total(step.found.shares, _shown_weights(model, step.weights)) + step.found.rest + step.regularization
    return _logs(model, step.batch, step.found, shown)


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
    batch, predictions = masked(model, batch, predict_step(model, batch.x))
    shares = model.task_losses(batch.labels, predictions, batch.weights, batch.total_counts)
    found = Forward(predictions, shares, None, batch.active, None, [], [])
    return without_counts(model, _logs(model, batch, found, plain_total(model, shares)))


def predict_step(model: TrainableModel, x: Any) -> dict[str, Any]:
    """The predictions by task for the inputs of one replica."""
    return on_a_row_at_least(model, lambda x: model(x, training=False), x)


def losses_by_label(model: TrainableModel, y: Any, predictions: Any, sample_weight: Any) -> Any:
    """The tasks' losses, scalars, from labels and sample weights as the data bring them."""
    batch, predictions = masked(model, labelled(model, None, y, sample_weight), predictions)
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
    on_replica = tf.math.divide_no_nan(total * tf.cast(batch.total_size, total.dtype), tf.cast(batch.size, total.dtype))
    tracker.update_state(on_replica, sample_weight=batch.size)
    shares = tf.stack(found.shares)
    model.task_loss_tracker.update_state(shares * tf.cast(batch.total_counts, shares.dtype), batch.counts)
    for task, metric, is_weighted in model.task_metrics:
        weights = batch.weights if is_weighted else batch.present
        metric.update_state(batch.labels[task], found.predictions[task], sample_weight=weights[task])
    return model.get_metrics_result()
