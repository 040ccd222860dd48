"""Reads off a Functional graph which parameters are shared by tasks and which belong to one task alone."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from keras_mtl._graph import key_of, node_of
from keras_mtl._layers import inner_layers
from keras_mtl.engine._split import Cut, Split, channels, cut


@dataclass(frozen=True)
class Partition:
    """Which tasks each trainable variable of a model serves, and the graph cut where they part.

    Args:
        shared: the variables from which two or more outputs can be reached, in the model's order.
        specific: the variables from which only one output can be reached, by task, in the model's order.
        beside: the variables from which no output can be reached.
        statistics: what is not trained in layers from which only one output can be reached, by task.
        tasks: for each shared variable, the tasks whose outputs can be reached from it.
        beyond: for each shared variable, whether its layer is also called in a part of one task alone.
        shared_layers: the layers with weights, trainable or frozen, from which two or more outputs can be reached, with
            those within them.
        cut: where the shared part of the graph and those of one task meet.
    """

    shared: list[Any]
    specific: dict[str, list[Any]]
    beside: list[Any]
    statistics: dict[str, list[Any]]
    tasks: list[frozenset[str]]
    beyond: list[bool]
    shared_layers: list[Any]
    cut: Cut

    @property
    def split(self) -> Split | None:
        """The graph in two parts, or None if there is no feature."""
        return self.cut.split

    @property
    def in_trunk(self) -> set[int]:
        """The ids of the trainable variables of the shared part, of tasks of their own in nested models too."""
        return set() if self.split is None else {id(variable) for variable in self.split.trunk.trainable_variables}

    def num_gradients(self, kind: str) -> int:
        """The length of a task's gradient: `"shared"`, of all shared variables; `"features"`, of a bias there."""
        if kind == "features":
            return channels(self.cut.features)
        return sum(math.prod(variable.shape) for variable in self.shared)


def partition(model: keras.Model, outputs: Mapping[str, Any], balancers: Sequence[Any] = ()) -> Partition:
    """Sorts the trainable variables of a Functional model by the outputs that can be reached from their layers.

    Args:
        model: the model.
        outputs: its output tensors by task.
        balancers: layers that the model holds, whose variables are not sorted.
    """
    of_balancers = {id(variable) for balancer in balancers for variable in balancer.variables}
    reach = _reach(list(outputs.values()), [frozenset([task]) for task in outputs])
    reached_by = _variables(reach)
    shared, tasks, beside = [], [], []
    specific: dict[str, list[Any]] = {task: [] for task in outputs}
    for variable in (each for each in model.trainable_variables if id(each) not in of_balancers):
        reached = reached_by.get(id(variable), frozenset())
        if len(reached) > 1:
            shared.append(variable)
            tasks.append(reached)
        elif reached:
            specific[next(iter(reached))].append(variable)
        else:
            beside.append(variable)
    found = cut(model.input, outputs)
    beyond = {id(variable) for layer in found.beyond for variable in getattr(layer, "trainable_variables", ())}
    return Partition(
        shared=shared,
        specific=specific,
        beside=beside,
        statistics=_statistics(reach, list(outputs)),
        tasks=tasks,
        beyond=[id(variable) in beyond for variable in shared],
        shared_layers=_shared_layers(reach),
        cut=found,
    )


def check_shared(parts: Partition, balancer: str) -> None:
    """Raises a `ValueError` if the tasks, being several, share no weight: there is no conflict for it to settle."""
    if len(parts.specific) > 1 and not parts.shared_layers:
        raise ValueError(
            f"The balancer `{balancer}` settles a conflict over shared parameters, and no weight of the model leads to "
            f"two outputs. Received: tasks {sorted(parts.specific)}. Let the tasks share layers, or use "
            "a balancer of losses alone, such as balancer='equal'."
        )


def check_unchanged(parts: Partition, variables: Sequence[Any]) -> None:
    """Raises a `ValueError` if the trainable variables are not those that were sorted."""
    known = {id(variable) for variable in [*parts.shared, *itertools.chain(*parts.specific.values()), *parts.beside]}
    changed = known ^ {id(variable) for variable in variables}
    if changed:
        raise ValueError(
            "What is trainable in the model has changed since it was compiled. Received: "
            f"{len(changed)} variables that were frozen or released. Call `compile` again."
        )


def check_features(parts: Partition, balancer: str, *, pairs: bool) -> None:
    """Raises a `ValueError` if gradients of features do not show what the tasks share.

    Args:
        parts: of the model.
        balancer: the name of the class.
        pairs: whether it compares the gradients of two tasks, which then need a feature that both read.
    """
    for reaching in parts.tasks:
        for first, second in itertools.combinations(sorted(reaching), 2):
            groups = [{first, second}] if pairs else [{first}, {second}]
            if not all(any(group <= readers for readers in parts.cut.readers) for group in groups):
                raise ValueError(
                    f"The balancer `{balancer}` with gradients='features' looks at the features that tasks read "
                    f"together. Received: the tasks {first!r} and {second!r}, which share weights and read no feature "
                    "in common. Use gradients='shared'."
                )


def _reach(tensors: Sequence[Any], labels: Sequence[frozenset[str]]) -> dict[Any, frozenset[str]]:
    """Each operation behind `tensors`, nested ones included, with the labels of the tensors that it leads to."""
    reach: dict[Any, frozenset[str]] = defaultdict(frozenset)
    seen: dict[int, frozenset[str]] = defaultdict(frozenset)
    waiting = list(zip(tensors, labels, strict=True))
    while waiting:
        tensor, label = waiting.pop()
        if label <= seen[id(tensor)]:
            continue
        seen[id(tensor)] |= label
        # The sets of layers behind two outputs alone would not tell which branch of a nested model leads where.
        node = node_of(tensor)
        operation = node.operation
        reach[operation] |= label
        inputs = node.input_tensors
        if isinstance(operation, keras.Model) and len(node.output_tensors) > 1 and hasattr(operation, "operations"):
            inner_output = operation.outputs[key_of(tensor)[2]]
            inner = _reach([inner_output], [label])
            for inner_operation, inner_label in inner.items():
                reach[inner_operation] |= inner_label
            inputs = _read_by(inner, operation, node)
            del reach[operation]
        waiting.extend((source, label) for source in inputs)
    return reach


def _read_by(inner: Mapping[Any, Any], model: keras.Model, node: Any) -> list[Any]:
    """The tensors of a call of a nested model that lead to operations within it."""
    arguments = node.arguments
    given = arguments.args[0] if arguments.args else arguments.kwargs.get("inputs")
    try:
        keras.tree.assert_same_structure(given, model.input)
    except (TypeError, ValueError):  # Keras matches them by name: rather too many than one too few
        return node.input_tensors
    pairs = zip(keras.tree.flatten(given), keras.tree.flatten(model.input), strict=True)
    return [outer for outer, inner_input in pairs if node_of(inner_input).operation in inner]


def _shared_layers(reach: Mapping[Any, frozenset[str]]) -> list[Any]:
    """Layers that two nested models hold lead where both lead."""
    layers = [(operation, label) for operation, label in reach.items() if isinstance(operation, keras.layers.Layer)]
    reached_by: dict[Any, frozenset[str]] = defaultdict(frozenset)
    for layer, label in layers:
        for each in (layer, *inner_layers(layer)):
            reached_by[each] |= label
    return [layer for layer, label in reached_by.items() if len(label) > 1 and layer.weights]


def _statistics(reach: Mapping[Any, frozenset[str]], tasks: Sequence[str]) -> dict[str, list[Any]]:
    """What is not trained, and leads to one output alone, by task."""
    reached_by: dict[int, frozenset[str]] = defaultdict(frozenset)
    found = {}
    for operation, label in reach.items():
        if not getattr(operation, "counts_steps", False):
            for variable in getattr(operation, "non_trainable_variables", []):
                reached_by[id(variable)] |= label
                found[id(variable)] = variable
    return {task: [each for key, each in found.items() if reached_by[key] == {task}] for task in tasks}


def _variables(reach: Mapping[Any, frozenset[str]]) -> dict[int, frozenset[str]]:
    reached_by: dict[int, frozenset[str]] = defaultdict(frozenset)
    for operation, label in reach.items():
        if isinstance(operation, keras.layers.Layer):
            for variable in operation.trainable_variables:
                reached_by[id(variable)] |= label
    return reached_by
