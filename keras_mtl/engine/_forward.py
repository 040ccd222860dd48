"""What a pass forward finds: predictions, and the losses of the tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from keras_mtl.engine._batch import Batch
from keras_mtl.engine._masks import masked
from keras_mtl.engine._parts import on_a_row_at_least
from keras_mtl.engine._replicas import num_replicas, sum_over_replicas

if TYPE_CHECKING:
    from keras_mtl.engine._protocol import TrainableModel


@dataclass(frozen=True)
class Forward:
    """What a pass forward found, on one replica.

    Args:
        predictions: by task, without masks.
        shares: the replica's share of each task's loss: a Keras loss divides its mean by the number of replicas, so
            that shares, and their gradients in the optimizer, are summed over the replicas.
        losses: the tasks' losses over all replicas, `[num_tasks]`.
        active: whether each task has a label, on any replica, booleans `[num_tasks]`.
        rest: the replica's share of what belongs to no task.
        features: the features where the graph was cut.
        copies: the copies of them that the tasks read.
    """

    predictions: dict[str, Any]
    shares: list[Any]
    losses: Any
    active: Any
    rest: Any
    features: list[Any]
    copies: list[Any]

    def without(self, sound: Any) -> Forward:
        """The same where the tasks that are not sound, booleans `[num_tasks]`, have no label."""
        return replace(
            self,
            predictions=dict(zip(self.predictions, _chosen(list(self.predictions.values()), sound), strict=True)),
            shares=_chosen(self.shares, sound),
            losses=tf.where(sound, self.losses, tf.zeros_like(self.losses)),
            active=self.active & sound,
            rest=tf.where(tf.math.is_finite(self.rest), self.rest, tf.zeros_like(self.rest)),
        )


@dataclass(frozen=True)
class Scaled:
    """What is differentiated, multiplied by the loss scale: each share, and what is no task's."""

    shares: list[Any]
    rest: Any
    scale: Any

    def without(self, sound: Any) -> Scaled:
        """The same with shares of 0 for tasks that are not sound, booleans `[num_tasks]`."""
        return replace(self, shares=_chosen(self.shares, sound))


def forward(model: TrainableModel, batch: Batch, tape: tf.GradientTape | None = None) -> tuple[Forward, Batch]:
    """The pass forward of a step, and the batch without the labels that it masks.

    Args:
        model: a compiled model.
        batch: a batch of one replica.
        tape: runs the model in two parts, if it has them, and watches the copies of the features that are between.
    """
    if tape is not None and model.partition.split is not None:
        split = model.partition.split
        predictions, features, copies = on_a_row_at_least(model, lambda x: split(x, training=True, tape=tape), batch.x)
    else:
        predictions, features, copies = on_a_row_at_least(model, lambda x: model(x, training=True), batch.x), [], []
    # Before anything is reduced: the replicas take turns there, and would overwrite what the layers have added.
    added = list(model.losses)
    batch, predictions = masked(model, batch, predictions)
    active = batch.active
    shares = model.task_losses(batch.labels, predictions, batch.weights, batch.total_counts)
    found = Forward(
        predictions=predictions,
        shares=shares,
        losses=sum_over_replicas(tf.stop_gradient(tf.stack(shares))),
        active=active,
        rest=rest(added),
        features=features,
        copies=copies,
    )
    return found, batch


def total(shares: Sequence[Any], weights: Any) -> Any:
    """The weighted sum of the tasks' shares, a scalar."""
    weights = tf.unstack(tf.cast(weights, shares[0].dtype), len(shares))
    return tf.add_n([share * weight for share, weight in zip(shares, weights, strict=True)])


def rest(added: Sequence[Any]) -> Any:
    """What belongs to no task: a replica's share of it, a scalar."""
    terms = [tf.cast(tf.reduce_sum(term), keras.config.floatx()) for term in added]
    return tf.add_n(terms) / num_replicas() if terms else tf.zeros((), keras.config.floatx())


def _chosen(values: Sequence[Any], sound: Any) -> list[Any]:
    """Tensors of the tasks, zeros for those that are not sound: a factor of 0 would leave NaN."""
    flags = tf.unstack(sound, len(values))
    return [tf.where(flag, value, tf.zeros_like(value)) for value, flag in zip(values, flags, strict=True)]
