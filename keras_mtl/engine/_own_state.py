"""What belongs to tasks that have no label in a step: it stays as it is."""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import keras
import tensorflow as tf

from keras_mtl._layers import layers_by_path
from keras_mtl.engine._step_kind import kind_of
from keras_mtl.engine._updates import apply, check_averages

if TYPE_CHECKING:
    from keras_mtl.engine._protocol import TrainableModel

_ACCUMULATOR = "gradient_accumulator"

# By optimizer: by the id of a variable, what the optimizer keeps for it, with the name of that.
_SLOTS: weakref.WeakKeyDictionary[Any, dict[int, list[tuple[str, Any]]]] = weakref.WeakKeyDictionary()


def build_optimizer(optimizer: keras.optimizers.Optimizer, variables: Sequence[Any]) -> None:
    """Builds an optimizer over variables, and notes what it keeps for each: moments, averages, sums of gradients.

    Raises:
        ValueError: if it cannot do what it is asked for over several replicas.
    """
    check_averages(optimizer)
    if optimizer.built:
        optimizer.build(variables)
        return
    slots = _SLOTS.setdefault(optimizer, defaultdict(list))
    within = [optimizer]
    while getattr(within[-1], "inner_optimizer", None) is not None:
        within.append(within[-1].inner_optimizer)
    for each in within:
        each.add_variable_from_reference = _noting(each.add_variable_from_reference, slots)
    try:
        optimizer.build(variables)
    finally:
        for each in within:
            del each.add_variable_from_reference


def _accumulators(optimizer: keras.optimizers.Optimizer) -> dict[int, Any]:
    """By the id of a variable, the sum of its gradients over several steps."""
    slots = _SLOTS.get(optimizer, {})
    return {key: slot for key, found in slots.items() for name, slot in found if name == _ACCUMULATOR}


def _noting(add: Any, slots: dict[int, list[tuple[str, Any]]]) -> Any:
    def noted(reference_variable: Any, name: Any = None, *args: Any, **kwargs: Any) -> Any:
        slot = add(reference_variable, name, *args, **kwargs)
        slots[id(reference_variable)].append((name, slot))
        return slot

    return noted


class OwnState:
    """Updates the weights, and leaves those as they are that lead to no task that is active.

    A gradient of zero is not enough: momentum, weight decay and moving statistics go on. Where gradients are
    accumulated over several steps, what counts is whether there was a label in any of them.

    Args:
        model: a compiled model, before its pass forward.
    """

    def __init__(self, model: TrainableModel) -> None:
        self._model = model
        self._positions = {task.name: index for index, task in enumerate(model.tasks)}
        parts = model.partition
        self._statistics = [
            (frozenset([task]), variable, tf.convert_to_tensor(variable))
            for task, variables in parts.statistics.items()
            for variable in variables
        ]
        self._common = [(variable, tf.convert_to_tensor(variable)) for variable in _common(model)]

    def update(self, gradients: Sequence[Any], active: Any) -> None:
        """Applies the gradients of the model's trainable variables.

        Args:
            gradients: one for each, or None.
            active: whether each task has a label, booleans `[num_tasks]`.
        """
        model, everyone = self._model, tf.reduce_all(active)
        if kind_of(model).complete and model.on_nonfinite is None:
            apply(model, gradients, _accumulators(model.optimizer))
            return
        # Under a strategy nothing is assigned within a condition.
        always = tf.distribute.has_strategy() or tf.executing_eagerly()
        rows = self._before(active)
        values = [tf.convert_to_tensor(each) for _, each, _ in rows] if always else self._copied(rows, everyone)
        apply(model, gradients, _accumulators(model.optimizer))

        def put_back() -> Any:
            for (moves, variable, statistic), value in zip(rows, values, strict=True):
                before = tf.reshape(value, variable.shape) if statistic is None else statistic
                variable.assign(tf.where(moves(), tf.convert_to_tensor(variable), before))
            return tf.zeros(())

        if always:
            put_back()
        else:
            tf.cond(everyone, lambda: tf.zeros(()), put_back)

    @staticmethod
    def _copied(rows: Sequence[tuple[Any, Any, Any]], everyone: Any) -> Any:
        """The values of variables, or nothing where all tasks are active: holding them would cost the update a copy."""
        variables = [variable for _, variable, _ in rows]
        return tf.cond(
            everyone,
            lambda: [tf.zeros((0,), variable.dtype) for variable in variables],
            lambda: [tf.reshape(tf.identity(tf.convert_to_tensor(variable)), (-1,)) for variable in variables],
        )

    def _before(self, active: Any) -> list[tuple[Any, Any, Any]]:
        """What tells whether a variable may move, the variable, and its value if that is known already.

        It may move if a task that it leads to is active; of a balancer's weights, each moves with its task.
        """
        parts, slots = self._model.partition, _SLOTS.get(self._model.optimizer, {})
        owned = [(frozenset([task]), variable) for task, own in parts.specific.items() for variable in own]
        owned += zip(parts.tasks, parts.shared, strict=True)
        found: list[tuple[Any, Any, Any]] = [
            (self._moves(tasks, active, ()), variable, value) for tasks, variable, value in self._statistics
        ]
        found += [(_moves_if_sound(variable, active), variable, value) for variable, value in self._common]
        for tasks, variable in owned:
            kept = slots.get(id(variable), ())
            sums = [tf.convert_to_tensor(slot) for name, slot in kept if name == _ACCUMULATOR]
            moves = self._moves(tasks, active, sums)
            others: list[Any] = [slot for name, slot in kept if name != _ACCUMULATOR]
            found.extend((moves, each, None) for each in (variable, *others))
        for variable in self._model.loss_balancer.trainable_variables:
            if tuple(variable.shape) == (len(self._positions),):
                own = [variable, *(slot for _, slot in slots.get(id(variable), ()))]
                found.extend((lambda: active, each, None) for each in own)
        return found

    def _moves(self, tasks: frozenset[str], active: Any, sums: Sequence[Any]) -> Callable[[], Any]:
        """Whether a task is active, or the gradients that were accumulated before, `sums`, are still to be applied."""
        positions = sorted(self._positions[task] for task in tasks)

        def moves() -> Any:
            pending = [tf.reduce_any(tf.not_equal(value, 0)) for value in sums]
            return tf.reduce_any(tf.stack([*(active[position] for position in positions), *pending]))

        return moves


def _common(model: TrainableModel) -> list[Any]:
    """What changes in a step beside trained weights and is no task's own, where a whole step may be left out.

    Moving statistics, random streams, and what the balancers remember.
    """
    if model.on_nonfinite is None:
        return []
    own = {id(variable) for variables in model.partition.statistics.values() for variable in variables}
    layers = [layer for layer in layers_by_path(cast("keras.Model", model)).values() if layer.trainable]
    parts = [*layers, *filter(None, (model.loss_balancer, model.gradient_balancer))]
    found = {id(variable): variable for part in parts for variable in part.non_trainable_variables}
    return [variable for key, variable in found.items() if key not in own]


def _moves_if_sound(variable: Any, active: Any) -> Callable[[], Any]:
    """Whether a variable may have its new value: if a task is active, and the value is finite."""

    def moves() -> Any:
        value = tf.convert_to_tensor(variable)
        is_finite = tf.reduce_all(tf.math.is_finite(value)) if value.dtype.is_floating else tf.constant(True)
        return tf.reduce_any(active) & is_finite

    return moves
