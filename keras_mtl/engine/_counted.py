"""Which tasks a balancer that looks at gradients is to count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    from keras_mtl.engine._protocol import TrainableModel


def counted(model: TrainableModel, active: Any) -> Any:
    """Whether each task counts for a balancer that looks at gradients, booleans `[num_tasks]`.

    A task does not whose gradient is zero by the model's making: it reaches no trainable weight that tasks share, or
    its loss is multiplied by a weight of 0. For some methods a gradient of zero says that nothing is to move; such a
    task is for them as if it were not.

    Args:
        model: a compiled model.
        active: whether each task has a label in the batch, booleans `[num_tasks]`.
    """
    reaching = frozenset().union(*model.partition.tasks)
    reaches = tf.constant([task.name in reaching for task in model.tasks])
    weights = model.loss_balancer.preference(len(model.tasks))
    return tf.logical_and(active, tf.logical_and(reaches, tf.not_equal(weights, 0)))
