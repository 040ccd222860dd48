"""The losses of a batch at other parameters than the model's: for balancers that look back or ahead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from keras_mtl.engine._batch import Batch
from keras_mtl.engine._masks import masked
from keras_mtl.engine._parts import on_a_row_at_least
from keras_mtl.engine._replicas import sum_over_replicas

if TYPE_CHECKING:
    from keras_mtl.engine._protocol import TrainableModel

# Of the step along the validation gradient, in parameter space, as in the paper's code (Liu et al., TMLR 2022).
_DIFFERENCE = 0.01


def state_of(model: TrainableModel) -> list[Any]:
    """What the model holds beside its trainable weights: a second pass from here drops the same units."""
    return [tf.convert_to_tensor(variable) for variable in model.non_trainable_variables]


def losses_once_more(model: TrainableModel, batch: Batch, state: Sequence[Any]) -> Any:
    """The tasks' losses on the batch with the weights as they are now, over all replicas, `[num_tasks]`.

    Moving statistics and random streams stay as they are.
    """
    return sum_over_replicas(tf.stack(shares_at(model, batch, values_of(model), state)))


def look_ahead(
    model: TrainableModel,
    gradients_of: Callable[[Any], Sequence[Any]],
    shares: Sequence[Any],
    active: Any,
    batch: Batch,
    second: Batch,
    state: Sequence[Any],
) -> None:
    """Tells the balancer how each task's loss bears on the loss of the second stream, one step of descent ahead.

    The slopes are central differences of the training losses along the gradient of the second loss: they take two
    passes forward for any number of tasks.

    Args:
        model: the model.
        gradients_of: from weights of the shares to the gradients of their sum, of the trainable variables.
        shares: the replica's share of each task's loss.
        active: whether each task has a label in the batch, booleans `[num_tasks]`.
        batch: the training batch.
        second: a batch of the second stream.
        state: what the model held before the step.
    """
    balancer: Any = model.loss_balancer
    weights = tf.cast(balancer(sum_over_replicas(tf.stack(shares)), active), shares[0].dtype)
    here = values_of(model)
    gradients = sum_over_replicas(dense(gradients_of(weights), model.trainable_variables))
    rate = tf.convert_to_tensor(model.optimizer.learning_rate)
    ahead = [value - tf.cast(rate, value.dtype) * gradient for value, gradient in zip(here, gradients, strict=True)]
    with tf.GradientTape() as second_tape:
        second_tape.watch(ahead)
        primary = tf.unstack(tf.cast(balancer.primary_weights(), shares[0].dtype), len(shares))
        found = shares_at(model, second, ahead, state)
        loss = tf.add_n([share * weight for share, weight in zip(found, primary, strict=True)])
    along = sum_over_replicas(dense(second_tape.gradient(loss, ahead), ahead))
    distance = _DIFFERENCE / tf.maximum(tf.linalg.global_norm(along), 1e-12)
    losses = []
    for sign in (1.0, -1.0):
        moved = [v + tf.cast(sign * distance, v.dtype) * a for v, a in zip(here, along, strict=True)]
        losses.append(sum_over_replicas(tf.stack(shares_at(model, batch, moved, state))))
    balancer.lookahead((losses[0] - losses[1]) / (2 * distance), rate, active)


def values_of(model: TrainableModel) -> list[Any]:
    """The trainable weights as they are."""
    return [tf.convert_to_tensor(variable) for variable in model.trainable_variables]


def shares_at(model: TrainableModel, batch: Batch, values: Sequence[Any], state: Sequence[Any]) -> list[Any]:
    """The replica's share of each task's loss with other weights: nothing of the model changes.

    Args:
        model: the model.
        batch: a batch of one replica.
        values: of the trainable weights.
        state: of everything else, as from `state_of`.
    """
    predictions, _ = on_a_row_at_least(model, lambda x: model.stateless_call(values, state, x, training=True), batch.x)
    batch, predictions = masked(model, batch, predictions)
    return model.task_losses(batch.labels, predictions, batch.weights, batch.total_counts)


def dense(gradients: Sequence[Any], sources: Sequence[Any]) -> list[Any]:
    """Gradients as dense tensors, zeros where there is none."""
    return [
        tf.zeros(source.shape, source.dtype) if gradient is None else tf.convert_to_tensor(gradient)
        for source, gradient in zip(sources, gradients, strict=True)
    ]
