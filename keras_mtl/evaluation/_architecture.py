"""Whether two models are of one architecture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import keras

from keras_mtl.model import MultiTaskModel

# What may differ between models of one architecture: how they were trained, and what they are called.
_HOW_TRAINED = {"name", "trainable", "seed", "rate", "noise_shape", "shared_object_id"}
_ENDINGS = ("_initializer", "_regularizer", "_constraint")


def check_architecture(first: MultiTaskModel, other: MultiTaskModel) -> None:
    """Raises a `ValueError` if two models would not do the same with the same weights."""
    graphs = [keras.Model(model.input, model.output) for model in (first, other)]
    layers = [[_description(layer) for layer in graph.layers] for graph in graphs]
    shapes = [[(tuple(weight.shape), weight.dtype) for weight in graph.weights] for graph in graphs]
    if layers[0] == layers[1] and shapes[0] == shapes[1]:
        return
    different = [pair for pair in zip(*layers, *(graph.layers for graph in graphs), strict=False) if pair[0] != pair[1]]
    if len(layers[0]) != len(layers[1]):
        received = f"{len(layers[0])} and {len(layers[1])} layers"
    elif different:
        received = f"layers that differ, such as {different[0][2].name!r} and {different[0][3].name!r}"
    else:
        received = f"weights of shapes {shapes[0]} and {shapes[1]}"
    raise ValueError(
        f"The members should be of one architecture, and {first.name!r} and {other.name!r} are not. "
        f"Received: {received}."
    )


def _description(layer: Any) -> str:
    """A layer's class and config, without its name and what concerns training alone."""
    serialized = keras.saving.serialize_keras_object(layer)
    names: dict[str, str] = {}
    _collect_names(serialized, names)
    return json.dumps(_normal(serialized, names), sort_keys=True, default=str)


def _collect_names(config: Any, names: dict[str, str]) -> None:
    """The names in a config, those of layers within a layer among them, numbered in their order."""
    for value in (
        config.values() if isinstance(config, Mapping) else config if isinstance(config, (list, tuple)) else ()
    ):
        _collect_names(value, names)
    if isinstance(config, Mapping) and isinstance(config.get("name"), str):
        names.setdefault(config["name"], f"#{len(names)}")


def _normal(config: Any, names: Mapping[str, str]) -> Any:
    if isinstance(config, Mapping):
        kept = {key: value for key, value in config.items() if not _concerns_training(key)}
        return {key: _normal(value, names) for key, value in kept.items()}
    if isinstance(config, (list, tuple)):
        return [_normal(value, names) for value in config]
    return names.get(config, config) if isinstance(config, str) else config


def _concerns_training(key: Any) -> bool:
    return key in _HOW_TRAINED or (isinstance(key, str) and key.endswith(_ENDINGS))
