"""Which words the weights of a layer stand for."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_mtl._graph import calls_between, key_of
from keras_mtl._layers import has_graph, layers_by_path, vocabularies

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
    different = [path for path, (others, words) in pairs.items() if others and words and others != words]
    if different:
        warnings.warn(
            "The source and the target have different vocabularies: weights that are copied stand for other words in "
            f"the layers {different} of the target. Give both models one vocabulary, or leave these layers out.",
            stacklevel=stacklevel + 1,
        )


def _words_by_path(model: keras.Model) -> dict[str, _Words]:
    found: dict[int, _Words] = {}
    _walk(model, [], found)
    return {path: found.get(id(layer), []) for path, layer in layers_by_path(model).items()}


def _of(words: Mapping[str, _Words], path: str) -> _Words:
    """The words of a layer, or of that which holds it: a path may lead on into a layer that is no model."""
    while path and path not in words:
        path = path.rpartition("/")[0]
    return words.get(path, [])


def _walk(model: keras.Model, read: _Words, found: dict[int, _Words]) -> _Words:
    """Notes, by the id of each layer with weights, the vocabularies of what is looked up on the way to it.

    Args:
        model: a model, its inputs included.
        read: what was looked up before its inputs.
        found: is filled in.

    Returns:
        What was looked up before its outputs, since the last weights.
    """
    through: dict[tuple[int, int, int], _Words] = {}
    for node in calls_between([], list(model.outputs)):
        layer = node.operation
        before = _merged([through[key_of(each)] for each in node.input_tensors]) if node.input_tensors else read
        looked_up = [words for _, words in vocabularies(layer)] if isinstance(layer, keras.layers.Layer) else []
        if has_graph(layer):
            after = _walk(layer, before, found)
        elif getattr(layer, "weights", ()):
            found[id(layer)] = _merged([found.get(id(layer), []), before, looked_up])
            after = []
        else:
            after = looked_up or before
        through.update({key_of(each): after for each in node.outputs})
    return _merged([through[key_of(each)] for each in model.outputs])


def _merged(parts: Sequence[_Words]) -> _Words:
    merged: _Words = []
    for part in parts:
        merged += [words for words in part if words not in merged]
    return merged
