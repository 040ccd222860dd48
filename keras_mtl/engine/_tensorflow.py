"""The training and test steps on TensorFlow: the tasks' losses and gradients, on one replica or many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

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
    labels = {task.name: tf.zeros((1, *task.label_shape), task.label_dtype) for task in model.tasks}
    with model.distribute_strategy.scope():
        model.compute_metrics(None, labels, predictions, None)
        model.reset_metrics()


def train_step(model: TrainableModel, data: Any) -> dict[str, Any]:
    """One update of the weights from one batch of one replica, and the logs so far."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    labels, weights = by_task(y, model.tasks), weights_by_task(sample_weight, model.tasks)
    balancer, optimizer = model.loss_balancer, model.optimizer
    with tf.GradientTape(persistent=model.gradient_balancer is not None) as tape:
        predictions = model(x, training=True)
        # A replica's share of the losses: a Keras loss divides its mean by the number of replicas, so that shares, and
        # their gradients in the optimizer, are summed over the replicas.
        shares = model.task_losses(labels, predictions, weights)
        active = _sum_over_replicas(model.task_losses.active(weights)) > 0
        loss_weights = balancer(_sum_over_replicas(tf.stop_gradient(shares)), active)
        balanced = shares * tf.cast(loss_weights, shares.dtype)
        rest = _rest(model, balancer.regularization(active))
        total = tf.reduce_sum(balanced) + rest
        scale = optimizer.scale_loss(1.0)  # the loss scale of float16, or 1
        if model.gradient_balancer is None:
            scaled = [total * scale]
        else:
            scaled = tf.unstack(tf.concat([balanced, [rest]], axis=0) * scale)
    variables = model.trainable_variables
    if model.gradient_balancer is None:
        gradients = tape.gradient(scaled[0], variables)
    else:
        gradients = _balanced_gradients(tape, model, scaled, active, scale)
    optimizer.apply(gradients, variables)
    return _logs(model, x, labels, predictions, weights, shares, total)


def test_step(model: TrainableModel, data: Any) -> dict[str, Any]:
    """The logs so far after one batch of one replica: losses weighted by the tasks' own weights."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    labels, weights = by_task(y, model.tasks), weights_by_task(sample_weight, model.tasks)
    predictions = model(x, training=False)
    shares = model.task_losses(labels, predictions, weights)
    return _logs(model, x, labels, predictions, weights, shares, plain_total(model, shares))


def losses_by_label(model: TrainableModel, y: Any, predictions: Any, sample_weight: Any) -> Any:
    """The tasks' losses, `[num_tasks]`, from labels and sample weights as the data bring them."""
    return model.task_losses(by_task(y, model.tasks), predictions, weights_by_task(sample_weight, model.tasks))


def plain_total(model: TrainableModel, losses: Any) -> Any:
    """The losses weighted by the tasks' own weights, with the model's regularization: what `evaluate` reports."""
    weights = tf.cast(model.loss_balancer.preference(len(model.tasks)), losses.dtype)
    return tf.reduce_sum(losses * weights) + _rest(model)


def _rest(model: TrainableModel, *added: Any) -> Any:
    """What belongs to no task, the model's regularization and `added`: a replica's share of it, a scalar."""
    terms = [tf.cast(tf.reduce_sum(term), keras.config.floatx()) for term in (*added, *model.losses)]
    return tf.add_n(terms) / _num_replicas() if terms else tf.zeros((), keras.config.floatx())


def _balanced_gradients(
    tape: tf.GradientTape, model: TrainableModel, losses: Sequence[Any], active: Any, scale: Any
) -> list[Any]:
    """The gradient of each trainable variable, shared ones balanced.

    Each task is differentiated once, for the shared variables that it reaches and for its own. The shared gradients
    are summed over the replicas before the balancer sees them: the sum of the replicas' Gramians would not be the
    Gramian of the summed gradients.

    Args:
        tape: a persistent tape.
        model: the model.
        losses: the replica's shares of the tasks' loss-balanced losses, then of what belongs to no task, all scaled.
        active: whether each task has a label, booleans `[num_tasks]`.
        scale: the optimizer's loss scale.
    """
    *task_losses, rest = losses
    num_tasks, parts, balancer = len(task_losses), model.partition, model.gradient_balancer
    gradients: dict[int, Any] = {}
    rows: list[list[Any]] = [[] for _ in parts.shared]  # (task index, gradient) for each shared variable
    for index, (task, loss) in enumerate(zip(model.tasks, task_losses, strict=True)):
        reached = [position for position, tasks in enumerate(parts.tasks) if task.name in tasks]
        own = parts.specific[task.name]
        found = tape.gradient(loss, [parts.shared[position] for position in reached] + own)
        for position, gradient in zip(reached, found[: len(reached)], strict=True):
            if gradient is not None:
                rows[position].append((index, tf.convert_to_tensor(gradient)))
        _add(gradients, own, found[len(reached) :])

    matrices = _matrices(rows)
    gramian = tf.zeros((num_tasks, num_tasks), balancer.compute_dtype)
    for tasks, matrix in matrices:
        block = tf.matmul(matrix, matrix, transpose_b=True)
        gramian += _scatter(tf.cast(block, gramian.dtype), tasks, num_tasks)
    weights = balancer(gramian / tf.cast(tf.square(scale), gramian.dtype), active)
    for variable, (tasks, matrix) in zip(parts.shared, matrices, strict=True):
        if tasks:
            combined = tf.linalg.matvec(matrix, tf.cast(tf.gather(weights, tasks), matrix.dtype), transpose_a=True)
            # It is the same on each replica, and the optimizer sums.
            gradients[id(variable)] = tf.reshape(combined / _num_replicas(), variable.shape)

    # What no output depends on, a balancer's own parameters say, and what no task's loss holds.
    _add(gradients, parts.other, tape.gradient(tf.add_n(task_losses), parts.other))
    variables = model.trainable_variables
    _add(gradients, variables, tape.gradient(rest, variables))
    return [gradients.get(id(variable)) for variable in variables]


def _matrices(rows: Sequence[Sequence[tuple[int, Any]]]) -> list[tuple[list[int], Any]]:
    """For each shared variable, the tasks that reach it and their gradients, `[tasks, size]`, summed over replicas."""
    stacked = [tf.stack([tf.reshape(gradient, [-1]) for _, gradient in row]) if row else tf.zeros((0, 0)) for row in rows]
    return [([index for index, _ in row], matrix) for row, matrix in zip(rows, _sum_over_replicas(stacked), strict=True)]


def _scatter(block: Any, tasks: Sequence[int], num_tasks: int) -> Any:
    """A Gramian of some tasks, `[len(tasks), len(tasks)]`, as one of all, `[num_tasks, num_tasks]`."""
    if len(tasks) == num_tasks:
        return block
    place = tf.one_hot(tasks, num_tasks)  # [len(tasks), num_tasks]
    return tf.matmul(place, tf.matmul(block, place), transpose_a=True)


def _add(gradients: dict[int, Any], variables: Sequence[Any], found: Sequence[Any]) -> None:
    for variable, gradient in zip(variables, found, strict=True):
        if gradient is not None:
            before = gradients.get(id(variable))
            gradients[id(variable)] = gradient if before is None else before + gradient


def _logs(
    model: TrainableModel, x: Any, labels: Any, predictions: Any, weights: Any, shares: Any, total: Any
) -> dict[str, Any]:
    batch_size = tf.shape(next(part for part in keras.tree.flatten(x) if part is not None))[0]
    # Keras' own tracker of the total loss is the first of the model's metrics.
    trackers = [next(metric for metric in model.metrics if metric.name == "loss"), *model.task_loss_trackers]
    for tracker, share in zip(trackers, [total, *tf.unstack(shares)], strict=True):
        tracker.update_state(share * _num_replicas(), sample_weight=batch_size)
    some_weights = any(weight is not None for weight in weights.values())
    return model.compute_metrics(x, labels, predictions, sample_weight=weights if some_weights else None)


def _num_replicas() -> int:
    return tf.distribute.get_strategy().num_replicas_in_sync


def _sum_over_replicas(values: Any) -> Any:
    if _num_replicas() == 1:
        return values
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values)
