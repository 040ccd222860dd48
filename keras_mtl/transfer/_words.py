"""Which words the weights of a layer stand for."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_mtl._graph import calls_between, key_of
from keras_mtl._layers import NORMALIZATIONS, has_graph, layers_by_path, vocabularies

#: The vocabularies of one or more lookups.
_Words = list[list[Any]]


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
    different = [path for path, (others, words) in pairs.items() if others and not _are_among(words, others)]
    if different:
        warnings.warn(
            "The source and the target have different vocabularies: weights that are copied stand for other words in "
            f"the layers {different} of the target. Give both models one vocabulary, or leave these layers out.",
            stacklevel=stacklevel + 1,
        )


def _words_by_path(model: keras.Model) -> dict[str, _Words]:
    found: dict[int, _Words] = {}
    _walk(model, [[]] * len(model.inputs), found)
    return {path: found.get(id(layer), []) for path, layer in layers_by_path(model).items()}


def _of(words: Mapping[str, _Words], path: str) -> _Words:
    """The words of a layer, or of that which holds it: a path may lead on into a layer that is no model."""
    while path and path not in words:
        path = path.rpartition("/")[0]
    return words.get(path, [])


def _are_among(words: _Words, others: _Words) -> bool:
    """Whether each vocabulary is one of some others, but for words that one has more at its end."""
    return all(any(each[: len(other)] == other[: len(each)] for other in others) for each in words)


def _walk(model: keras.Model, read: Sequence[_Words], found: dict[int, _Words]) -> list[_Words]:
    """Notes, by the id of each layer with weights, the vocabularies of what is looked up on the way to it.

    Args:
        model: a model.
        read: for each of its inputs, what was looked up before it.
        found: is filled in.

    Returns:
        For each of its outputs, what was looked up before it, since the last weights.
    """
    through = {key_of(each): words for each, words in zip(model.inputs, read, strict=False)}
    for node in calls_between(model.inputs, list(model.outputs)):
        layer, given = node.operation, [through.get(key_of(each), []) for each in node.input_tensors]
        before = _merged(given)
        after = [before] * len(node.outputs)
        if has_graph(layer):
            after = _walk(layer, given[: len(layer.inputs)], found)  # masks may follow
        elif isinstance(layer, keras.layers.Layer):
            looked_up = _merged([[words] for _, words in vocabularies(layer) if words])
            if layer.weights:
                found[id(layer)] = _merged([found.get(id(layer), []), before, looked_up])
                after = [before if isinstance(layer, NORMALIZATIONS) else []] * len(node.outputs)
            elif looked_up:
                after = [looked_up] * len(node.outputs)
        for tensor, words in zip(node.outputs, after, strict=True):
            through[key_of(tensor)] = [] if tensor.dtype == "bool" else words  # a mask says where words are, not which
    return [through.get(key_of(each), []) for each in model.outputs]


def _merged(parts: Sequence[_Words]) -> _Words:
    merged: _Words = []
    for part in parts:
        merged += [words for words in part if words not in merged]
    return merged
