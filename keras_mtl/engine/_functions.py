"""Functions from an iterator over batches to logs, under a `tf.distribute` strategy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import tensorflow as tf

from keras_mtl.engine._counted import counted
from keras_mtl.engine._directions import weighs_now_and_then
from keras_mtl.engine._faults import without_counts
from keras_mtl.engine._observed import ReadBefore
from keras_mtl.engine._parts import divided
from keras_mtl.engine._step_kind import StepKind, of_kind
from keras_mtl.engine._tensorflow import active_tasks
from keras_mtl.engine._updates import clips_of, done_already, innermost, updates_now

if TYPE_CHECKING:
    from keras_mtl.engine._protocol import TrainableModel


def is_distributed(model: TrainableModel) -> bool:
    """Whether a model was made under a strategy of several replicas, or of workers."""
    strategy = model.distribute_strategy
    return strategy.num_replicas_in_sync > 1 or isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def needs_own_functions(model: TrainableModel) -> bool:
    """Whether a model was made under a strategy. XLA, which one replica can have, wants Keras' own functions."""
    with model.distribute_strategy.scope():
        return tf.distribute.has_strategy() and not model.jit_compile


def make_train_function(model: TrainableModel) -> Callable[[Any], dict[str, Any]]:
    """What `fit` calls: as `make_function`, with steps of the kind that each is.

    A step in which the gradients of all tasks are taken, or weights updated, or every task has a label, so that nothing
    is to be kept as it is, has another graph than one in which it is not so. Which of them is to be run is decided
    between the replicas' steps: within one, nothing can be reduced, and no variable be set, under a condition.
    """
    strategy = model.distribute_strategy
    balancer: Any = model.gradient_balancer
    clips = clips_of(model.optimizer)

    def run(batch: Any) -> None:
        found = strategy.run(lambda data: active_tasks(model, data), args=(batch,))
        active = strategy.experimental_local_results(found)[0]
        questions = {"complete": tf.reduce_all(active)}
        if weighs_now_and_then(balancer):
            questions["due"] = balancer.is_due(counted(model, active))
        if innermost(model.optimizer).gradient_accumulation_steps:
            questions["updates"] = updates_now(model.optimizer)
        ask(list(questions.items()), StepKind(clips=clips), batch)

    def ask(questions: list[tuple[str, Any]], kind: StepKind, batch: Any) -> Any:
        if not questions:
            with of_kind(model, kind), done_already(model.optimizer, kind):
                strategy.run(model.train_step, args=(batch,))
            return tf.constant(0)
        (name, answer), *others = questions
        yes, no = (replace(kind, **{name: value}) for value in cast("tuple[Any, Any]", (True, False)))
        return tf.cond(answer, lambda: ask(others, yes, batch), lambda: ask(others, no, batch))

    return make_function(model, run)


def make_test_function(model: TrainableModel) -> Callable[[Any], dict[str, Any]]:
    """What `evaluate` calls: see `make_function`."""
    function = make_function(model, lambda batch: model.distribute_strategy.run(model.test_step, args=(batch,)))
    return lambda iterator: without_counts(model, function(iterator))


def make_function(model: TrainableModel, run: Callable[[Any], Any]) -> Callable[[Any], dict[str, Any]]:
    """A function from an iterator: `steps_per_execution` steps, and the logs after them.

    Keras' own function hands the logs of each step through a loop, which fails over several replicas, and reduces
    them, scalars, along an axis over several workers. The metrics have them, the same on each replica, so that the
    logs are read there once, after the last of the steps.

    Args:
        model: a compiled model, made under a strategy.
        run: runs a step on each replica, from a batch of all.
    """
    strategy, num_steps = model.distribute_strategy, model.steps_per_execution

    @tf.autograph.experimental.do_not_convert
    def of_batch(batch: Any) -> dict[str, Any]:
        run(batch)
        return model.get_metrics_result()

    @tf.autograph.experimental.do_not_convert
    def single(iterator: Any) -> dict[str, Any]:
        run(next(iterator))
        return model.get_metrics_result()

    @tf.autograph.experimental.do_not_convert
    def steps(iterator: Any) -> tuple[Any, dict[str, Any]]:
        def one_step(done: Any, batch: Any) -> tuple[Any, Any]:
            run(batch.get_value())
            done += 1
            return done, tf.cond(done < num_steps, iterator.get_next_as_optional, lambda: batch)

        done, _ = tf.while_loop(
            lambda done, batch: tf.logical_and(done < num_steps, batch.has_value()),
            one_step,
            [tf.constant(0), iterator.get_next_as_optional()],
        )
        return done, model.get_metrics_result()

    if not model.run_eagerly:
        single, steps = (tf.function(each, reduce_retracing=True) for each in (single, steps))
        of_batch = tf.function(of_batch, reduce_retracing=True)

    def function(iterator: Any) -> dict[str, Any]:
        if isinstance(iterator, ReadBefore):
            return of_batch(iterator.batch)
        if not isinstance(iterator, (tf.data.Iterator, tf.distribute.DistributedIterator)):
            return of_batch(divided(strategy, next(iterator)))  # of `train_on_batch`, which would not divide it
        if num_steps == 1:
            return single(iterator)  # without a loop, which takes some of the time of a small step
        done, logs = steps(iterator)
        if not done:
            raise StopIteration
        return logs

    return function
