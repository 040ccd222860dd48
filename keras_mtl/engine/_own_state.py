"""What belongs to one task alone: it stays as it is in a step in which the task has no label."""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

if TYPE_CHECKING:
    from keras_mtl.engine._protocol import TrainableModel

# By optimizer: by the id of a variable, what the optimizer keeps for it.
_SLOTS: weakref.WeakKeyDictionary[Any, dict[int, list[Any]]] = weakref.WeakKeyDictionary()


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


def _noting(add: Any, slots: dict[int, list[Any]]) -> Any:
    def noted(reference_variable: Any, *args: Any, **kwargs: Any) -> Any:
        slot = add(reference_variable, *args, **kwargs)
        slots[id(reference_variable)].append(slot)
        return slot

    return noted


class OwnState:
    """The state of each task's own part of a model before a step.

    A gradient of zero is not enough: momentum, weight decay and moving statistics go on.

    Args:
        model: a compiled model.
    """

    def __init__(self, model: TrainableModel) -> None:
        slots = _SLOTS.get(model.optimizer, {})
        self._before: list[tuple[int, Any, Any]] = []
        for index, task in enumerate(model.tasks):
            for variable in model.partition.specific[task.name]:
                for each in (variable, *slots.get(id(variable), ())):
                    self._before.append((index, each, tf.convert_to_tensor(each)))
            for variable in model.partition.statistics[task.name]:
                self._before.append((index, variable, tf.convert_to_tensor(variable)))

    def put_back(self, active: Any) -> None:
        """Sets what belongs to tasks that are not active back to what it was.

        Args:
            active: whether each task has a label, booleans `[num_tasks]`.
        """

        def chosen() -> Any:
            for index, variable, before in self._before:
                variable.assign(tf.where(active[index], tf.convert_to_tensor(variable), before))
            return tf.zeros(())

        if not tf.distribute.has_strategy():  # under one nothing is assigned within a condition
            tf.cond(tf.reduce_all(active), lambda: tf.zeros(()), chosen)
        else:
            chosen()
