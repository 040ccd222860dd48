"""The graph of a Functional model: which call made a tensor, and the same calls again on other tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras


def node_of(tensor: Any) -> Any:
    """The call that made a symbolic tensor: its `operation`, `arguments`, `input_tensors` and `outputs`."""
    # `_keras_history` and `_inbound_nodes` are private. Keras has no public way from a tensor to the call that made it.
    # tests/unit/test_graph.py and tests/unit/engine/test_partition.py would notice their change.
    operation, node_index, _ = tensor._keras_history
    return operation._inbound_nodes[node_index]


def key_of(tensor: Any) -> tuple[int, int, int]:
    """What tells symbolic tensors apart: Keras may have several objects for one."""
    operation, node_index, output_index = tensor._keras_history
    return id(operation), node_index, output_index


def calls_between(sources: Sequence[Any], outputs: Sequence[Any]) -> list[Any]:
    """The calls that lead to `outputs` from `sources`, or from inputs of the graph, each after those that it needs.

    Args:
        sources: symbolic tensors, behind which nothing is looked for.
        outputs: symbolic tensors.
    """
    ends = {key_of(source) for source in sources}

    def before(tensors: Sequence[Any]) -> list[Any]:
        return [node_of(tensor) for tensor in tensors if key_of(tensor) not in ends]

    found: dict[int, Any] = {}
    waiting = before(outputs)
    while waiting:
        unknown = [node for node in before(waiting[-1].input_tensors) if id(node) not in found]
        if unknown:
            waiting.extend(unknown)
            continue
        node = waiting.pop()
        found[id(node)] = node
    return list(found.values())


def call_again(
    replaced: Sequence[tuple[Any, Any]], outputs: Sequence[Any], operation_for: Callable[[Any], Any] = lambda op: op
) -> list[Any]:
    """The outputs of the same calls on other tensors.

    Args:
        replaced: pairs of a symbolic tensor and what is to stand in its place.
        outputs: symbolic tensors.
        operation_for: from an operation to the one to call in its place, asked once for each operation.

    Returns:
        A tensor for each of `outputs`. Calls that do not depend on a tensor that was replaced are not repeated.
    """
    known = {key_of(old): new for old, new in replaced}
    operations: dict[int, Any] = {}

    def present(value: Any) -> Any:
        return known.get(key_of(value), value) if isinstance(value, keras.KerasTensor) else value

    for node in calls_between([old for old, _ in replaced], outputs):
        if not any(key_of(tensor) in known for tensor in node.input_tensors):
            continue
        if id(node.operation) not in operations:
            operations[id(node.operation)] = operation_for(node.operation)
        arguments, keywords = node.arguments.convert(present)
        made = operations[id(node.operation)](*arguments, **keywords)
        known.update({key_of(old): new for old, new in zip(node.outputs, keras.tree.flatten(made), strict=True)})
    return [present(tensor) for tensor in outputs]
