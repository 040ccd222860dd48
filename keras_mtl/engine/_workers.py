"""Several workers wait for each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

if TYPE_CHECKING:
    from keras_mtl.engine._protocol import TrainableModel


def has_workers(model: TrainableModel) -> bool:
    """Whether a model is trained by several processes."""
    return isinstance(model.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy)


def wait_for_all(model: TrainableModel) -> None:
    """Returns when all workers have called it."""
    strategy = model.distribute_strategy
    strategy.reduce("SUM", strategy.run(tf.function(lambda: tf.constant(1.0))), axis=None)
