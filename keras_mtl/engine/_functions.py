"""Functions from an iterator over batches to logs, under a `tf.distribute` strategy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    from keras_mtl.engine._protocol import TrainableModel


def is_distributed(model: TrainableModel) -> bool:
    """Whether a model was made under a strategy of several replicas, or of workers."""
    strategy = model.distribute_strategy
    return strategy.num_replicas_in_sync > 1 or isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def make_function(model: TrainableModel, step: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    """What `fit` or `evaluate` calls with its iterator: `steps_per_execution` steps, and the logs after them.

    Keras' own function hands the logs of each step through a loop, which fails over several replicas, and reduces
    them, scalars, along an axis over several workers. The metrics have them, the same on each replica, so that the
    logs are read there once, after the last of the steps.

    Args:
        model: a compiled model, made under a strategy.
        step: from the batch of a replica to logs, which are not used.
    """
    strategy, num_steps = model.distribute_strategy, model.steps_per_execution

    @tf.autograph.experimental.do_not_convert
    def of_batch(batch: Any) -> dict[str, Any]:
        strategy.run(step, args=(batch,))
        return model.get_metrics_result()

    @tf.autograph.experimental.do_not_convert
    def steps(iterator: Any) -> tuple[Any, dict[str, Any]]:
        def one_step(done: Any, batch: Any) -> tuple[Any, Any]:
            strategy.run(step, args=(batch.get_value(),))
            done += 1
            return done, tf.cond(done < num_steps, iterator.get_next_as_optional, lambda: batch)

        done, _ = tf.while_loop(
            lambda done, batch: tf.logical_and(done < num_steps, batch.has_value()),
            one_step,
            [tf.constant(0), iterator.get_next_as_optional()],
        )
        return done, model.get_metrics_result()

    if not model.run_eagerly:
        of_batch, steps = (tf.function(each, reduce_retracing=True) for each in (of_batch, steps))

    def function(iterator: Any) -> dict[str, Any]:
        if not isinstance(iterator, (tf.data.Iterator, tf.distribute.DistributedIterator)):
            return of_batch(next(iterator))  # of `train_on_batch`
        done, logs = steps(iterator)
        if not done:
            raise StopIteration
        return logs

    return function
