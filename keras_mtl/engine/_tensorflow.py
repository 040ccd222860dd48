"""The training and test steps on TensorFlow: a batch in, an update of the weights and logs out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from keras_mtl.engine._gradients import balanced_gradients
from keras_mtl.engine._label_checks import check_specification, validated
from keras_mtl.engine._replicas import num_replicas, sum_over_replicas
from keras_mtl.engine._task_losses import by_task, weights_by_task

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
    labels = _as_columns(model, zeros)
    with model.distribute_strategy.scope():
        model.compute_metrics(None, labels, predictions, None)
        model.reset_metrics()


def train_step(model: TrainableModel, data: Any) -> dict[str, Any]:
    """One update of the weights from one batch of one replica, and the logs so far."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    labels, weights = _labels(model, y), weights_by_task(sample_weight, model.tasks)
    balancer, optimizer = model.loss_balancer, model.optimizer
    with tf.GradientTape(persistent=model.gradient_balancer is not None) as tape:
        predictions = model(x, training=True)
        # A replica's share of the losses: a Keras loss divides its mean by the number of replicas, so that shares, and
        # their gradients in the optimizer, are summed over the replicas.
        shares = model.task_losses(labels, predictions, weights)
        active = sum_over_replicas(model.task_losses.active(weights)) > 0
        loss_weights = tf.cast(balancer(sum_over_replicas(tf.stop_gradient(tf.stack(shares))), active), shares[0].dtype)
        balanced = [share * weight for share, weight in zip(shares, tf.unstack(loss_weights), strict=True)]
        rest = _rest(model, balancer.regularization(active))
        total = tf.add_n(balanced) + rest
        scale = optimizer.scale_loss(1.0)  # the loss scale of float16, or 1
        scaled_total, scaled_rest, scaled_losses = total * scale, rest * scale, [loss * scale for loss in balanced]
    variables = model.trainable_variables
    if model.gradient_balancer is None:
        gradients = tape.gradient(scaled_total, variables)
    else:
        gradients = balanced_gradients(
            tape,
            scaled_losses,
            scaled_rest,
            tasks=[task.name for task in model.tasks],
            active=active,
            scale=scale,
            balancer=model.gradient_balancer,
            parts=model.partition,
            variables=variables,
        )
    optimizer.apply(gradients, variables)
    return _logs(model, x, labels, predictions, weights, shares, total)


def test_step(model: TrainableModel, data: Any) -> dict[str, Any]:
    """The logs so far after one batch of one replica: losses weighted by the tasks' own weights."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    labels, weights = _labels(model, y), weights_by_task(sample_weight, model.tasks)
    predictions = model(x, training=False)
    shares = model.task_losses(labels, predictions, weights)
    return _logs(model, x, labels, predictions, weights, shares, plain_total(model, shares))


def checks_in_step(model: TrainableModel) -> bool:
    """Whether a step checks the values of its labels.

    It does so where it can stop in good order: XLA leaves assertions out, and a replica that stops leaves the others
    waiting for it.
    """
    return not model.jit_compile and model.distribute_strategy.num_replicas_in_sync == 1


def _labels(model: TrainableModel, y: Any) -> dict[str, Any]:
    check_specification(model.tasks, y)
    if checks_in_step(model):
        y = validated(model.tasks, y)
    return _as_columns(model, by_task(y, model.tasks))


def _as_columns(model: TrainableModel, labels: dict[str, Any]) -> dict[str, Any]:
    """The labels of tasks that predict one number as `(batch, 1)`, as the predictions are: some metrics insist."""
    columns = {
        task.name: tf.reshape(labels[task.name], (-1, 1))
        for task in model.tasks
        if task.num_outputs == 1 and task.label_shape == ()
    }
    return {**labels, **columns}


def losses_by_label(model: TrainableModel, y: Any, predictions: Any, sample_weight: Any) -> Any:
    """The tasks' losses, scalars, from labels and sample weights as the data bring them."""
    labels = _as_columns(model, by_task(y, model.tasks))
    return model.task_losses(labels, predictions, weights_by_task(sample_weight, model.tasks))


def plain_total(model: TrainableModel, losses: Any) -> Any:
    """The losses weighted by the tasks' own weights, with the model's regularization: what `evaluate` reports."""
    losses = tf.stack(losses)
    weights = tf.cast(model.loss_balancer.preference(len(model.tasks)), losses.dtype)
    return tf.reduce_sum(losses * weights) + _rest(model)


def _rest(model: TrainableModel, *added: Any) -> Any:
    """What belongs to no task, the model's regularization and `added`: a replica's share of it, a scalar."""
    terms = [tf.cast(tf.reduce_sum(term), keras.config.floatx()) for term in (*added, *model.losses)]
    return tf.add_n(terms) / num_replicas() if terms else tf.zeros((), keras.config.floatx())


def _logs(
    model: TrainableModel, x: Any, labels: Any, predictions: Any, weights: Any, shares: Any, total: Any
) -> dict[str, Any]:
    batch_size = tf.shape(next(part for part in keras.tree.flatten(x) if part is not None))[0]
    # Keras' own tracker of the total loss is the first of the model's metrics.
    trackers = [next(metric for metric in model.metrics if metric.name == "loss"), *model.task_loss_trackers]
    for tracker, share in zip(trackers, [total, *shares], strict=True):
        tracker.update_state(share * num_replicas(), sample_weight=batch_size)
    some_weights = any(weight is not None for weight in weights.values())
    return model.compute_metrics(x, labels, predictions, sample_weight=weights if some_weights else None)
