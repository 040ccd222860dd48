"""Which words the weights of a layer stand for."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_mtl._graph import calls_between, key_of
from keras_mtl._layers import NORMALIZATIONS, has_graph, layers_by_path, vocabularies

#: The vocabularies that a call of a layer reads, one beside the other.
_Words = list[list[Any]]
# Layers with weights after which a number stands for the word that it stood for before.
_BY_NUMBER = (*NORMALIZATIONS, keras.layers.Normalization, keras.layers.PReLU)


def warn_of_other_words(source: Any, target: keras.Model, copied: Mapping[str, str], stacklevel: int) -> None:
    """Warns if weights are to be copied to a layer that reads other words by the same numbers.

    Args:
        source: a model; of a file, which has no vocabularies, nothing is said.
        target: a model.
        copied: paths in the source by paths in the target.
        stacklevel: of the caller, as `warnings.warn` has it.
    """
    if not isinstance(source, keras.Model):
        return
    given, own = _words_by_path(source), _words_by_path(target)
    pairs = {path: (_of(given, other), _of(own, path)) for path, other in copied.items()}
    different = [path for path, (others, calls) in pairs.items() if others and not _are_among(calls, others)]
    if different:
        warnings.warn(
            "The source and the target have different vocabularies: weights that are copied stand for other words in "
            f"the layers {different} of the target. Give both models one vocabulary, or leave these layers out.",
            stacklevel=stacklevel + 1,
        )


def _words_by_path(model: keras.Model) -> dict[str, list[_Words]]:
    walk = _Walk()
    walk.through(model, {})
    return {path: walk.calls.get(id(layer), []) for path, layer in layers_by_path(model).items()}


def _of(calls: Mapping[str, list[_Words]], path: str) -> list[_Words]:
    """The calls of a layer, or of that which holds it: a path may lead on into a layer that is no model."""
    while path and path not in calls:
        path = path.rpartition("/")[0]
    return calls.get(path, [])


def _are_among(calls: Sequence[_Words], others: Sequence[_Words]) -> bool:
    """Whether each call reads what one of some others does, but for words that one has more at its end."""

    def alike(call: _Words, other: _Words) -> bool:
        pairs = zip(call, other, strict=False)
        return len(call) == len(other) and all(one[: len(two)] == two[: len(one)] for one, two in pairs)

    return all(any(alike(call, other) for other in others) for call in calls)


class _Walk:
    """Goes through a graph, and notes what the calls of its layers read."""

    def __init__(self) -> None:
        self.calls: dict[int, list[_Words]] = {}  # by the id of each layer with weights; without those of no words
        self._looked_up: dict[int, _Words] = {}  # by the id of each layer

    def through(self, model: keras.Model, read: Mapping[tuple[int, int, int], _Words]) -> list[_Words]:
        """Notes what is looked up on the way to each layer with weights.

        Args:
            model: a model.
            read: what was looked up before its inputs.

        Returns:
            For each of its outputs, what was looked up before it, since the last weights.
        """
        found = dict(read)
        for node in calls_between(model.inputs, list(model.outputs)):
            layer = node.operation
            before = _merged([found.get(key_of(each), []) for each in node.input_tensors])
            after = [before] * len(node.outputs)
            if has_graph(layer):
                pairs = _inputs_of(node)
                after = self.through(layer, {key_of(inner): found.get(key_of(each), []) for inner, each in pairs})
            elif isinstance(layer, keras.layers.Layer):
                looked_up = self._vocabularies_of(layer)
                if layer.weights:
                    if before or looked_up:
                        self.calls.setdefault(id(layer), []).append(_merged([before, looked_up]))
                    after = [before if isinstance(layer, _BY_NUMBER) else []] * len(node.outputs)
                elif looked_up:
                    after = [looked_up] * len(node.outputs)
            for tensor, words in zip(node.outputs, after, strict=True):
                found[key_of(tensor)] = [] if tensor.dtype == "bool" else words  # masks: where words are, not which
        return [found.get(key_of(each), []) for each in model.outputs]

    def _vocabularies_of(self, layer: keras.layers.Layer) -> _Words:
        if id(layer) not in self._looked_up:
            self._looked_up[id(layer)] = _merged([[words] for _, words in vocabularies(layer) if words])
        return self._looked_up[id(layer)]


def _inputs_of(node: Any) -> list[tuple[Any, Any]]:
    """Each input of a model, and what it is called with; by name, as Keras does it, if it is called with a dict."""
    model, arguments = node.operation, node.arguments.args
    if not (arguments and isinstance(arguments[0], Mapping)):
        return list(zip(model.inputs, node.input_tensors, strict=False))  # masks may follow
    return [(inner, arguments[0][inner.name]) for inner in model.inputs if inner.name in arguments[0]]


def _merged(parts: Sequence[_Words]) -> _Words:
    merged: _Words = []
    for part in parts:
        merged += [words for words in part if not any(words is other or words == other for other in merged)]
    return merged
