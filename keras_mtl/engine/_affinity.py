"""How a step on one task's loss would bear on the losses of all: a look ahead that leaves everything as it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from keras_mtl.balancers import BilevelBalancer
from keras_mtl.engine._batch import Batch, batch_of
from keras_mtl.engine._finite import are_finite
from keras_mtl.engine._functions import needs_own_functions
from keras_mtl.engine._partition import check_unchanged
from keras_mtl.engine._replicas import sum_over_replicas
from keras_mtl.engine._second_passes import dense, shares_at, state_of, values_of
from keras_mtl.engine._step_kind import StepKind, of_kind
from keras_mtl.engine._updates import apply, clips_of, done_already

if TYPE_CHECKING:
    from keras_mtl.engine._protocol import TrainableModel


class LookAhead:
    """From a batch, as the training step is given it, to the affinities between the tasks.

    The affinity of task i onto task j is `(L_j(before) - L_j(after)) / |L_j(before)|`, where "after" is a step on the
    loss of task i alone, taken by the shared parameters alone. Both losses are of the same batch, with the same units
    dropped.

    Args:
        model: a compiled model.
        learning_rate: of a step of plain gradient descent, or None for a step of the model's optimizer with the moments
            that it has. That one is taken on the variables themselves and undone, in the same graph.

    Raises:
        ValueError: if there is one task, the tasks share no trainable weight, or a step of the optimizer would not
            show what the gradient does.
    """

    def __init__(self, model: TrainableModel, learning_rate: float | None) -> None:
        parts, optimizer = model.partition, model.optimizer
        check_look_ahead(model, learning_rate, parts.shared)
        within = _within(optimizer)
        self._model, self._learning_rate = model, learning_rate
        positions = {id(variable): index for index, variable in enumerate(model.trainable_variables)}
        check_unchanged(parts, [v for v in model.trainable_variables if id(v) not in _of_balancers(model)])
        self._shared = [positions[id(variable)] for variable in parts.shared]
        # Attributes too: Nadam within a loss scale has a variable that Keras does not list.
        states = [variable for each in within for variable in (*each.variables, *vars(each).values())]
        held = [*parts.shared, *(variable for variable in states if isinstance(variable, keras.Variable))]
        self._held = list({id(variable): variable for variable in held}.values())
        # As in the steps of `fit`: over replicas, gradients are clipped once they are summed.
        self._kind = StepKind(clips=clips_of(optimizer)) if needs_own_functions(model) else StepKind()
        self._function: Any = self._of_replicas
        if not model.run_eagerly:
            self._function = tf.function(self._of_replicas, reduce_retracing=True, autograph=False)

    def __call__(self, batch: Any) -> tuple[np.ndarray, np.ndarray]:
        """The affinities and whether each is defined, `[num_tasks, num_tasks]`: of row i onto column j.

        It is not where one of the two tasks has no label in the batch, the loss of j is 0 or not finite, or the
        gradient of i is not finite.

        Args:
            batch: a batch, or, under a strategy, the batches of the replicas.
        """
        # Buffers are shared until they are written to: this copies nothing.
        before = [variable.value.read_value() for variable in self._held]
        try:
            affinity, defined = self._function(batch)
        except BaseException:
            for variable, value in zip(self._held, before, strict=True):
                variable.assign(value)
            raise
        results = self._model.distribute_strategy.experimental_local_results
        return results(affinity)[0].numpy(), results(defined)[0].numpy()

    def _of_replicas(self, batch: Any) -> Any:
        model = self._model
        with of_kind(model, self._kind), done_already(model.optimizer, self._kind):
            return model.distribute_strategy.run(self._of_replica, args=(batch,))

    def _of_replica(self, data: Any) -> tuple[Any, Any]:
        model = self._model
        batch = batch_of(model, data[0] if isinstance(model.loss_balancer, BilevelBalancer) else data)
        state, here = state_of(model), values_of(model)
        scale = model.optimizer.scale_loss(1.0)
        shared = [here[position] for position in self._shared]
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(shared)
            shares = shares_at(model, batch, here, state)
            scaled = [share * scale for share in shares]
        before = sum_over_replicas(tf.stack(shares))
        step = self._optimizer_step if self._learning_rate is None else self._descent
        rows, faults = [], []
        for each in scaled:
            gradients = tape.gradient(each, shared)
            faults.append(tf.cast(tf.logical_not(are_finite(gradients)), "float32"))
            rows.append(self._losses(batch, here, state, step(gradients, shared, scale)))
        # [num_tasks, num_tasks], by the broadcast of a row
        affinity = (before - tf.stack(rows)) / tf.abs(before)
        # An optimizer that scales the loss leaves out a step whose gradient has overflowed, which says nothing.
        sound = tf.logical_and(batch.active, sum_over_replicas(tf.stack(faults)) == 0)
        both = tf.logical_and(sound[:, tf.newaxis], batch.active[tf.newaxis, :])
        return affinity, tf.logical_and(both, tf.math.is_finite(affinity))

    def _losses(self, batch: Batch, here: Sequence[Any], state: Sequence[Any], moved: Sequence[Any]) -> Any:
        """The losses of all tasks with other values of the shared variables, over all replicas, `[num_tasks]`."""
        values = list(here)
        for position, value in zip(self._shared, moved, strict=True):
            values[position] = value
        return sum_over_replicas(tf.stack(shares_at(self._model, batch, values, state)))

    def _descent(self, gradients: Sequence[Any], shared: Sequence[Any], scale: Any) -> list[Any]:
        """The shared variables after a step of plain descent."""
        rates = [tf.cast(self._learning_rate / scale, value.dtype) for value in shared]
        along = sum_over_replicas(dense(gradients, shared))
        return [value - rate * gradient for value, rate, gradient in zip(shared, rates, along, strict=True)]

    def _optimizer_step(self, gradients: Sequence[Any], shared: Sequence[Any], scale: Any) -> list[Any]:
        """The shared variables after a step of the optimizer, which is undone."""
        del scale  # the optimizer knows it
        held = [tf.identity(tf.convert_to_tensor(variable)) for variable in self._held]
        parts = self._model.partition.shared
        pairs = [
            (gradient, variable) for gradient, variable in zip(gradients, parts, strict=True) if gradient is not None
        ]
        apply(self._model, [gradient for gradient, _ in pairs], {}, [variable for _, variable in pairs])
        moved = [tf.identity(tf.convert_to_tensor(variable)) for variable in parts]
        for variable, value in zip(self._held, held, strict=True):
            variable.assign(value)
        return moved


def check_look_ahead(model: TrainableModel, learning_rate: float | None, shared: Sequence[Any]) -> None:
    """Raises a `ValueError` if there is no affinity, or a step of the optimizer would not show what the gradient does.

    Args:
        model: a compiled model.
        learning_rate: of a step of plain gradient descent, or None for a step of the model's optimizer.
        shared: the shared variables that are trained, or may be.
    """
    if len(model.tasks) < 2 or not shared:
        raise ValueError(
            "Affinity is between tasks that share trainable weights. Received: a model with the tasks "
            f"{[task.name for task in model.tasks]} and {len(shared)} shared trainable variables."
        )
    if learning_rate is None:
        for each in _within(model.optimizer):
            _check_moves(each)


def _within(optimizer: Any) -> list[Any]:
    """An optimizer, and those that it holds."""
    inner = getattr(optimizer, "inner_optimizer", None)
    return [optimizer] if inner is None else [optimizer, *_within(inner)]


def _check_moves(optimizer: keras.optimizers.Optimizer) -> None:
    """Raises a `ValueError` if a step of the optimizer does not show what the gradient does."""
    for option, what in (
        ("gradient_accumulation_steps", "moves in some of its steps only"),
        ("ema_overwrite_frequency", "overwrites the weights with their averages in some of its steps"),
    ):
        value = getattr(optimizer, option, None)
        if value:
            raise ValueError(
                f"To look ahead by a step of an optimizer that {what} would say little. Received: {option}={value}. "
                "Look ahead by a step of plain descent: give a `learning_rate`."
            )


def _of_balancers(model: TrainableModel) -> set[int]:
    balancers = [part for part in (model.loss_balancer, model.gradient_balancer) if part is not None]
    return {id(variable) for balancer in balancers for variable in balancer.variables}
