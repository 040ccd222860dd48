"""What belongs to tasks that have no label in a step: it stays as it is."""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import keras
import tensorflow as tf

from keras_mtl._layers import layers_by_path
from keras_mtl.engine._finite import are_finite
from keras_mtl.engine._seldom import seldom
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
        known = {id(variable) for *_, variable, _ in [*self._statistics, *((None, *row) for row in self._common)]}
        retaken = model.on_nonfinite is not None and not tf.distribute.has_strategy()
        others = _untrained(model) if retaken else []
        self._others = [(each, tf.convert_to_tensor(each)) for each in others if id(each) not in known]

    def undo(self) -> None:
        """Puts back what the pass forward and the balancers have changed, of layers too that are frozen."""
        for *_, variable, value in [*self._statistics, *self._common, *self._others]:
            variable.assign(value)

    def update(self, gradients: Sequence[Any], active: Any, stops: Any = None, *, may_lack: bool = False) -> None:
        """Applies the gradients of the model's trainable variables.

        Args:
            gradients: one for each, or None.
            active: whether each task has a label, booleans `[num_tasks]`.
            stops: whether nothing is to change, not even by sums of gradients of the steps before, a boolean tensor,
                with no task active then; None if that is never so.
            may_lack: whether a task may have no label though each had one before the pass forward.
        """
        model, everyone = self._model, tf.reduce_all(active)
        if kind_of(model).complete and model.on_nonfinite is None and not may_lack:
            apply(model, gradients, _accumulators(model.optimizer))
            return
        # Under a strategy nothing is assigned within a condition.
        always = tf.distribute.has_strategy() or tf.executing_eagerly()
        rows = self._before(active, stops)
        variables = [variable for _, variable in rows]
        values = [tf.convert_to_tensor(each) for each in variables] if always else _copied(variables, everyone)
        apply(model, gradients, _accumulators(model.optimizer))
        _put_back(rows, values, None if always else everyone)
        known = self._moving(active)
        if model.on_nonfinite is not None:
            everyone &= are_finite([tf.convert_to_tensor(variable) for _, variable, _ in known if _is_real(variable)])
        _put_back([row[:2] for row in known], [value for _, _, value in known], None if always else everyone)

    def _before(self, active: Any, stops: Any) -> list[tuple[Callable[[], Any], Any]]:
        """What tells whether a variable may move that the optimizer moves, and the variable.

        It may if a task that it leads to is active; of a balancer's weights, each moves with its task.
        """
        parts, slots = self._model.partition, _SLOTS.get(self._model.optimizer, {})
        owned = [(frozenset([task]), variable) for task, own in parts.specific.items() for variable in own]
        owned += zip(parts.tasks, parts.shared, strict=True)
        found: list[tuple[Callable[[], Any], Any]] = []
        by_tasks = {tasks: self._moves(tasks, active, ()) for tasks in {tasks for tasks, _ in owned}}
        for tasks, variable in owned:
            kept = slots.get(id(variable), ())
            sums = [tf.convert_to_tensor(slot) for name, slot in kept if name == _ACCUMULATOR]
            moves = self._moves(tasks, active, sums) if sums else by_tasks[tasks]
            others: list[Any] = [slot for name, slot in kept if name != _ACCUMULATOR]
            found.extend((moves, each) for each in (variable, *others))
        for variable in self._model.loss_balancer.trainable_variables:
            if tuple(variable.shape) == (len(self._positions),):
                own = [variable, *(slot for _, slot in slots.get(id(variable), ()))]
                found.extend((lambda: active, each) for each in own)
        return found if stops is None else self._unless(stops, found)

    def _unless(self, stops: Any, rows: Sequence[tuple[Callable[[], Any], Any]]) -> list[tuple[Callable[[], Any], Any]]:
        """The rows, and all else that the optimizer moves, none of which may where `stops` is true."""
        listed = {id(variable) for _, variable in rows}
        others = [*self._model.trainable_variables, *self._model.optimizer.variables]
        unless = {id(moves): lambda moves=moves: moves() & ~stops for moves, _ in rows}
        found = [(unless[id(moves)], variable) for moves, variable in rows]

        def goes_on() -> Any:
            return ~stops

        return found + [(goes_on, variable) for variable in others if id(variable) not in listed]

    def _moving(self, active: Any) -> list[tuple[Callable[[], Any], Any, Any]]:
        """What tells whether a variable may move that the pass forward and the balancers move, it, and its value."""
        guarded = self._model.on_nonfinite is not None

        def moves(tasks: Any, variable: Any, value: Any) -> Callable[[], Any]:
            is_active = self._moves(tasks, active, ())
            return lambda: is_active() & _stays_finite(variable, value) if guarded else is_active()

        everyone = frozenset(self._positions)
        rows = [*self._statistics, *((everyone, variable, value) for variable, value in self._common)]
        return [(moves(*row), row[1], row[2]) for row in rows]

    def _moves(self, tasks: frozenset[str], active: Any, sums: Sequence[Any]) -> Callable[[], Any]:
        """Whether a task is active, or the gradients that were accumulated before, `sums`, are still to be applied."""
        positions = sorted(self._positions[task] for task in tasks)

        def moves() -> Any:
            is_active = tf.reduce_any(tf.gather(active, positions))
            pending = [tf.reduce_any(tf.not_equal(value, 0)) for value in sums]
            return tf.reduce_any(tf.stack([is_active, *pending])) if pending else is_active

        return moves


def _copied(variables: Sequence[Any], everyone: Any) -> Any:
    """The values of variables, or nothing where all tasks are active: holding them would cost the update a copy."""
    if not variables:
        return []
    return seldom(
        everyone,
        lambda: [tf.zeros((0,), variable.dtype) for variable in variables],
        lambda: [tf.reshape(tf.identity(tf.convert_to_tensor(variable)), (-1,)) for variable in variables],
    )


def _put_back(rows: Sequence[tuple[Callable[[], Any], Any]], values: Sequence[Any], unless: Any) -> None:
    """Gives variables that may not have moved their values again, in order; `unless` tells that all may have."""

    def put_back() -> Any:
        answers: dict[int, Any] = {}  # one for all variables that move with the same tasks
        for (moves, variable), value in zip(rows, values, strict=True):
            may = answers[id(moves)] if id(moves) in answers else answers.setdefault(id(moves), moves())
            now = tf.convert_to_tensor(variable)
            variable.assign(tf.where(may, now, tf.reshape(value, variable.shape)))
        return tf.zeros(())

    if unless is None or not rows:
        put_back()
    else:
        seldom(unless, lambda: tf.zeros(()), put_back)


def _untrained(model: TrainableModel) -> list[Any]:
    """What no optimizer updates: statistics, random streams, frozen weights, layers' metrics, the balancers' state."""
    layers = layers_by_path(cast("keras.Model", model)).values()
    parts = [*layers, *filter(None, (model.loss_balancer, model.gradient_balancer))]
    found = [each for part in parts for each in (*part.non_trainable_variables, *part.metrics_variables)]
    return list({id(each): each for each in found}.values())


def _common(model: TrainableModel) -> list[Any]:
    """What changes in a step beside trained weights and is no task's own, where a whole step may be left out.

    Moving statistics, random streams, and what the balancers remember.
    """
    if model.on_nonfinite is None:
        return []
    own = {id(variable) for variables in model.partition.statistics.values() for variable in variables}
    layers = layers_by_path(cast("keras.Model", model)).values()
    parts = [layer for layer in layers if layer.trainable]
    parts += filter(None, (model.loss_balancer, model.gradient_balancer))
    found = {id(variable): variable for part in parts for variable in part.non_trainable_variables}
    # Dropout draws where it is frozen too: of such layers, the streams alone, which are no real numbers.
    streams = [variable for layer in layers for variable in layer.non_trainable_variables if not _is_real(variable)]
    found.update((id(variable), variable) for variable in streams)
    return [variable for key, variable in found.items() if key not in own]


def _is_real(variable: Any) -> bool:
    return tf.as_dtype(variable.dtype).is_floating


def _stays_finite(variable: Any, before: Any) -> Any:
    """Where a variable is finite, or was not finite before, booleans of its shape."""
    if not _is_real(variable):
        return tf.constant(True)
    return tf.math.is_finite(tf.convert_to_tensor(variable)) | ~tf.math.is_finite(before)
