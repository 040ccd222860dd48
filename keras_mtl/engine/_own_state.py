"""What belongs to tasks that have no label in a step: it stays as it is."""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

if TYPE_CHECKING:
    from keras_mtl.engine._protocol import TrainableModel

_ACCUMULATOR = "gradient_accumulator"

# By optimizer: by the id of a variable, what the optimizer keeps for it, with the name of that.
_SLOTS: weakref.WeakKeyDictionary[Any, dict[int, list[tuple[str, Any]]]] = weakref.WeakKeyDictionary()


def build_optimizer(optimizer: keras.optimizers.Optimizer, variables: Sequence[Any]) -> None:
    """Builds an optimizer over variables, and notes what it keeps for each: moments, averages, sums of gradients."""
    if optimizer.built:
        optimizer.build(variables)
        return
    slots = _SLOTS.setdefault(optimizer, defaultdict(list))
    within = [optimizer, *filter(None, [getattr(optimizer, "inner_optimizer", None)])]
    for each in within:
        each.add_variable_from_reference = _noting(each.add_variable_from_reference, slots)
    try:
        optimizer.build(variables)
    finally:
        for each in within:
            del each.add_variable_from_reference


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

    def update(self, gradients: Sequence[Any], active: Any) -> None:
        """Applies the gradients of the model's trainable variables.

        Args:
            gradients: one for each, or None.
            active: whether each task has a label, booleans `[num_tasks]`.
        """
        model = self._model

        def plainly() -> Any:
            model.optimizer.apply(gradients, model.trainable_variables)
            return tf.zeros(())

        def guarded() -> Any:
            before = self._before(active)
            plainly()
            for moves, variable, value in before:
                variable.assign(tf.where(moves, tf.convert_to_tensor(variable), value))
            return tf.zeros(())

        if tf.distribute.has_strategy():  # under one nothing is assigned within a condition
            guarded()
        else:
            tf.cond(tf.reduce_all(active), plainly, guarded)

    def _before(self, active: Any) -> list[tuple[Any, Any, Any]]:
        """Variables with their values, and whether they may move: a boolean, or one for each task."""
        parts, slots = self._model.partition, _SLOTS.get(self._model.optimizer, {})
        owned = [(frozenset([task]), variable) for task, own in parts.specific.items() for variable in own]
        owned += zip(parts.tasks, parts.shared, strict=True)
        found = [(self._moves(tasks, active), variable, value) for tasks, variable, value in self._statistics]
        for tasks, variable in owned:
            moves = self._moves(tasks, active)
            kept = slots.get(id(variable), ())
            for name, slot in kept:
                if name == _ACCUMULATOR:  # a label of an earlier step, of which the update is still to come
                    moves = tf.logical_or(moves, tf.reduce_any(tf.not_equal(tf.convert_to_tensor(slot), 0)))
            for each in (variable, *(slot for name, slot in kept if name != _ACCUMULATOR)):
                found.append((moves, each, tf.convert_to_tensor(each)))
        for variable in self._model.loss_balancer.trainable_variables:
            if tuple(variable.shape) == (len(self._positions),):
                for each in (variable, *(slot for _, slot in slots.get(id(variable), ()))):
                    found.append((active, each, tf.convert_to_tensor(each)))
        return found

    def _moves(self, tasks: frozenset[str], active: Any) -> Any:
        return tf.reduce_any(tf.gather(active, sorted(self._positions[task] for task in tasks)))
