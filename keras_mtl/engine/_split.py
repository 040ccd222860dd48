"""Runs a multi-task graph in two parts, so that gradients can be taken where the parts meet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from keras_mtl._graph import key_of, node_of


class _Copy(keras.layers.Layer):
    """Another tensor with the same values and mask, at which gradients end.

    Without the end, TensorFlow would write down a pass through the shared part for each task that is differentiated,
    and throw it away: that took as long as writing down the passes that are used.
    """

    def __init__(self) -> None:
        super().__init__(dtype="float32", autocast=False)
        self.supports_masking = True
        self.built = True

    def call(self, inputs: Any) -> Any:
        return tf.stop_gradient(inputs)


class _Heads(keras.Function):
    """The part of a graph beyond intermediate tensors, run by the layers of the model.

    A `keras.Model` there would add calls to the layers, so that `layer.output` of the user's would be ambiguous; a
    `keras.Function` as it is runs each layer in the phase in which it was called symbolically, that is not in training.
    """

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        def in_phase(operation: Any) -> Any:
            if training is None or not isinstance(operation, keras.layers.Layer):
                return operation
            return lambda *args, **kwargs: operation(*args, **{**kwargs, "training": training})

        # Private: the public way has no argument for the phase. tests/unit/engine/test_split.py would notice.
        return self._run_through_graph(inputs, operation_fn=in_phase)


class Split(keras.layers.Layer):
    """A Functional graph, run up to the features where shared and task-specific calls meet, and on from copies of them.

    The gradient of a task's loss with respect to its copies is what comes out of the task's own part: it costs one
    pass through that part, and ends there. From the features one pass, or one for each task, goes on through the shared
    part. The layers are those of the model.

    Args:
        trunk: a Functional model from the inputs to `boundary` and `passed`.
        heads: a function from the tensors of both to the outputs by task.
        num_features: how many of the trunk's outputs are features; the others are passed as they are.
    """

    def __init__(self, trunk: keras.Model, heads: _Heads, num_features: int) -> None:
        # Inputs are cast by the trunk, as they are by the model.
        super().__init__(dtype="float32", autocast=False, name="split")
        self.trunk = trunk
        self._heads = heads
        # Tracked, so that what they add as losses is cleared at each call.
        self._head_layers = [found for found in heads.operations if isinstance(found, keras.layers.Layer)]
        self._num_features = num_features
        self._copies = [_Copy() for _ in range(num_features)]
        self.built = True

    def call(
        self, inputs: Any, training: bool | None = None, tape: tf.GradientTape | None = None
    ) -> tuple[dict[str, Any], list[Any], list[Any]]:
        """Predictions by task, the features, and the copies of them that the heads read, watched by the tape."""
        found = self.trunk(inputs, training=training)
        found = found if isinstance(found, list) else [found]
        features = found[: self._num_features]
        copies = [layer(feature) for layer, feature in zip(self._copies, features, strict=True)]  # masks go with them
        if tape is not None:
            tape.watch(copies)
        predictions = self._heads([*copies, *found[self._num_features :]], training=training)
        return predictions, features, copies


@dataclass(frozen=True)
class Cut:
    """Where a graph was cut.

    Args:
        split: the graph in two parts, or None if there is no feature.
        features: the symbolic features: what calls that several tasks share give to calls of one task alone, if a
            trainable weight goes into it.
        readers: for each of the features, the tasks that read it other than by way of another one.
        beyond: the layers of which a call is one task's alone.
    """

    split: Split | None
    features: list[Any]
    readers: list[frozenset[str]]
    beyond: list[Any]


def cut(inputs: Any, outputs: Mapping[str, Any]) -> Cut:
    """Cuts a Functional graph where shared and task-specific calls meet.

    Args:
        inputs: the input tensors of the graph.
        outputs: its output tensors by task.
    """
    tasks_of: dict[int, set[str]] = {}
    nodes: dict[int, Any] = {}
    for task, tensor in outputs.items():
        waiting = [node_of(tensor)]
        while waiting:
            node = waiting.pop()
            if task not in tasks_of.setdefault(id(node), set()):
                tasks_of[id(node)].add(task)
                nodes[id(node)] = node
                waiting.extend(node_of(source) for source in node.input_tensors)
    crossing: dict[tuple[int, int, int], Any] = {}
    readers: dict[tuple[int, int, int], set[str]] = defaultdict(set)

    def cross(tensors: Sequence[Any], tasks: set[str]) -> None:
        for tensor in tensors:
            crossing[key_of(tensor)] = tensor
            readers[key_of(tensor)] |= tasks

    for task, tensor in outputs.items():
        if len(tasks_of[id(node_of(tensor))]) > 1:
            cross([tensor], {task})
    beyond = []
    for key, node in nodes.items():
        if len(tasks_of[key]) > 1:
            continue
        if not node.input_tensors:  # an input of the model that one task alone reads
            cross(node.output_tensors, tasks_of[key])
            continue
        beyond.append(node.operation)
        cross([tensor for tensor in node.input_tensors if len(tasks_of[id(node_of(tensor))]) > 1], tasks_of[key])
    known: dict[int, bool] = {}
    features = {key: tensor for key, tensor in crossing.items() if _has_trainable(node_of(tensor), known)}
    passed = [tensor for key, tensor in crossing.items() if key not in features]
    ends = [*features.values(), *passed]
    split = Split(keras.Model(inputs, ends), _Heads(ends, dict(outputs)), len(features)) if features else None
    return Cut(split, list(features.values()), [frozenset(readers[key]) for key in features], beyond)


def _has_trainable(node: Any, known: dict[int, bool]) -> bool:
    """Whether a trainable weight goes into what the node gives."""
    waiting: list[Any] = [node]
    while waiting:
        current = waiting[-1]
        before = [node_of(source) for source in current.input_tensors]
        unknown = [source for source in before if id(source) not in known]
        if unknown:
            waiting.extend(unknown)
            continue
        own = getattr(current.operation, "trainable_variables", [])
        known[id(current)] = bool(own) or any(known[id(source)] for source in before)
        waiting.pop()
    return known[id(node)]


def channels(features: Sequence[Any]) -> int:
    """The number of channels of symbolic features together.

    Raises:
        ValueError: if the last axis of one has no fixed size.
    """
    sizes = [feature.shape[-1] if len(feature.shape) > 1 else 1 for feature in features]
    if None in sizes:
        raise ValueError(
            "Gradients of features need features whose last axis has a fixed size. Received: shapes "
            f"{[tuple(feature.shape) for feature in features]}"
        )
    return sum(sizes)
