"""The layers of a model by path, which of them a pattern means, and how far each is from the outputs."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import keras
import numpy as np

from keras_mtl._graph import calls_between, key_of

# The names that `keras.applications` gives to the layers of one block: block1a_bn, conv2_block1_1_conv, block_3_expand;
# and blocks_0, as others have it.
_BLOCK = re.compile(r"(.*?(?:blocks?|expanded_conv)_?\d*[a-z]?)(?:_|$)")
NORMALIZATIONS = (
    keras.layers.BatchNormalization,
    keras.layers.GroupNormalization,
    keras.layers.LayerNormalization,
    keras.layers.RMSNormalization,
)


def layers_by_path(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """The layers of a model, each once, in the model's order, by path: `"encoder/conv_1"` is a layer of `"encoder"`."""
    found: dict[str, keras.layers.Layer] = {}
    seen: set[int] = set()
    for layer in model.layers:
        inner = layers_by_path(layer) if has_graph(layer) else None
        named = {layer.name: layer} if inner is None else {f"{layer.name}/{path}": each for path, each in inner.items()}
        for path, each in named.items():
            if id(each) not in seen:
                seen.add(id(each))
                found[path] = each
    return found


def has_graph(layer: Any) -> bool:
    """Whether a layer is a model with a graph of its own; one without is a layer like others."""
    return isinstance(layer, keras.Sequential) or (isinstance(layer, keras.Model) and hasattr(layer, "operations"))


def inner_layers(layer: Any) -> list[keras.layers.Layer]:
    """The layers that a layer holds, and those within them, each once, after all that hold it."""
    # Private: Keras has a public list for models alone. tests/unit/transfer/test_flags.py would notice its change.
    found = layer._flatten_layers(include_self=False, recursive=True)
    return sorted(found, key=lambda each: -len(each._flatten_layers(include_self=False, recursive=True)))


def vocabularies(layer: Any) -> list[tuple[str, list[Any]]]:
    """The vocabulary of each layer within one, or a model, that looks up words or numbers in one, with its name."""
    lookups = [each for each in [*inner_layers(layer), layer] if hasattr(each, "get_vocabulary")]
    return [(each.name, _vocabulary(each)) for each in lookups]


def _vocabulary(lookup: Any) -> list[Any]:
    try:
        found = lookup.get_vocabulary()
    except Exception:  # whatever another library's raises that has none, or none yet
        return []
    return list(found) if isinstance(found, (list, tuple, np.ndarray)) else []  # by number: of other kinds unknown


def matches(pattern: str, path: str) -> bool:
    """Whether a pattern of `fnmatch` means a path: one name in it, or, with a `/`, names that follow each other."""
    names = path.split("/")
    length = pattern.count("/") + 1
    runs = ("/".join(names[start : start + length]) for start in range(len(names) - length + 1))
    return any(fnmatchcase(run, pattern) for run in runs)


def matched(patterns: str | Sequence[str], paths: Iterable[str], parameter: str) -> list[str]:
    """The paths that one of the patterns means, in their own order.

    Raises:
        ValueError: if `patterns` is of another kind, or one of them means nothing: the nearest names are listed.
    """
    patterns = [patterns] if isinstance(patterns, str) else patterns
    if not isinstance(patterns, Sequence) or not all(isinstance(each, str) and each for each in patterns):
        raise ValueError(
            f"Parameter `{parameter}` should be a name, a pattern such as 'block1*', or a list of them. Received: "
            f"{parameter}={patterns!r}"
        )
    paths = list(paths)
    for pattern in patterns:
        if not any(matches(pattern, path) for path in paths):
            raise ValueError(
                f"Parameter `{parameter}` should name layers of the model. Received: {pattern!r}, which matches "
                f"none.{nearest(pattern, paths)}"
            )
    return [path for path in paths if any(matches(pattern, path) for pattern in patterns)]


def nearest(name: str, paths: Iterable[str]) -> str:
    """A sentence with the names most like one that is unknown: first of single names, then of whole paths."""
    paths = list(paths)
    names = dict.fromkeys([*(part for path in paths for part in path.split("/")), *paths])
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or list(names)[:3]
    return f" The nearest names are {', '.join(map(repr, near))}." if near else ""


def levels(model: keras.Model) -> dict[int, int]:
    """How many blocks of layers lie between each layer that has weights and the outputs, at most, by the layer's id.

    The last layers are at 0. Layers whose names begin alike up to a `block` with its number are one block, and so is
    a layer with the normalizations that follow it.
    """
    nodes = _calls(model)
    return _levels_of(nodes, list(model.outputs), _blocks(nodes, {}))


def _calls(model: keras.Model) -> list[Any]:
    return calls_between([], list(model.outputs))


def _blocks(nodes: Sequence[Any], before: Mapping[int, str]) -> dict[int, str]:
    """The block of each layer that has weights, by the layer's id, from the inputs on."""
    blocks: dict[int, str] = dict(before)
    through: dict[tuple[int, int, int], str] = {}  # of the last block on the way to a tensor
    for node in nodes:
        layer = node.operation
        source = next((through[key_of(each)] for each in node.input_tensors if key_of(each) in through), None)
        block = source
        if has_graph(layer):
            blocks = _blocks(_calls(layer), blocks)
            inner = [each for each in layers_by_path(layer).values() if id(each) in blocks]
            block = blocks[id(inner[-1])] if inner else source
        elif getattr(layer, "weights", ()):
            named = _BLOCK.match(layer.name)
            own = named[1] if named else f"{layer.name} {id(layer)}"
            joins = source is not None and not named and isinstance(layer, NORMALIZATIONS)
            block = blocks.setdefault(id(layer), str(source) if joins else own)
        if block is not None:
            through.update({key_of(each): block for each in node.outputs})
    return blocks


def _levels_of(nodes: Sequence[Any], outputs: Sequence[Any], blocks: Mapping[int, str]) -> dict[int, int]:
    by_block: dict[str, int] = {}
    _walk(nodes, {key_of(each): {} for each in outputs}, blocks, by_block)
    return {layer: by_block[block] for layer, block in blocks.items() if block in by_block}


def _walk(
    nodes: Sequence[Any], ahead: dict[Any, dict[str, int]], blocks: Mapping[int, str], found: dict[str, int]
) -> None:
    """Goes from the outputs to the inputs, and notes the level of each block.

    Args:
        nodes: the calls, from the inputs on.
        ahead: for tensors, the levels of the next blocks on the way from them to the outputs; filled in.
        blocks: the block of each layer, by its id.
        found: the level of each block; filled in.
    """
    for node in reversed(nodes):
        front = _merged([ahead.get(key_of(each), {}) for each in node.outputs])
        layer = node.operation
        if has_graph(layer):
            inner = {key_of(tensor): front for tensor in layer.outputs}
            _walk(_calls(layer), inner, blocks, found)
            front = _merged([inner.get(key_of(each), {}) for each in layer.inputs])
        elif id(layer) in blocks:
            block = blocks[id(layer)]
            level = max((number + (other != block) for other, number in front.items()), default=0)
            found[block] = max(found.get(block, 0), level)
            front = {block: level}
        for source in node.input_tensors:
            ahead[key_of(source)] = _merged([ahead.get(key_of(source), {}), front])


def _merged(fronts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    merged: dict[str, int] = {}
    for front in fronts:
        for block, level in front.items():
            merged[block] = max(merged.get(block, 0), level)
    return merged
