"""Whether two models are of one architecture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import keras

from keras_mtl._layers import vocabularies
from keras_mtl.model import MultiTaskModel

# What may differ between models of one architecture: how they were trained, and what they are called.
_HOW_TRAINED = {"name", "trainable", "seed", "rate", "noise_shape", "shared_object_id"}
# Where the config of a graph names the layer that a tensor is from.
_WIRING = {"keras_history", "input_layers", "output_layers"}
_ENDINGS = ("_initializer", "_regularizer", "_constraint")


def check_architecture(first: MultiTaskModel, other: MultiTaskModel) -> None:
    """Raises a `ValueError` if two models would not do the same with the same weights."""
    graphs = [keras.Model(model.input, model.output) for model in (first, other)]
    configs = [keras.saving.serialize_keras_object(graph)["config"] for graph in graphs]
    layers = [[_text(layer) for layer in _normal(config, {})["layers"]] for config in configs]
    shapes = [[(tuple(weight.shape), weight.dtype) for weight in graph.weights] for graph in graphs]
    wholes = [_text(_normal(config, {})) for config in configs]
    if wholes[0] == wholes[1] and shapes[0] == shapes[1]:
        for (name, words), (_, other_words) in zip(*map(vocabularies, (first, other)), strict=True):
            if words != other_words:
                raise ValueError(
                    "The members should have the same vocabularies, or their weights are of other words. Received: "
                    f"layers {name!r} of {first.name!r} and {other.name!r} that were adapted to other data."
                )
        return
    names = [[layer["name"] for layer in config["layers"]] for config in configs]
    different = [pair for pair in zip(*layers, *names, strict=False) if pair[0] != pair[1]]
    if len(layers[0]) != len(layers[1]):
        received = f"{len(layers[0])} and {len(layers[1])} layers"
    elif different:
        received = f"layers that differ, or read others, such as {different[0][2]!r} and {different[0][3]!r}"
    elif shapes[0] != shapes[1]:
        received = f"weights of shapes {shapes[0]} and {shapes[1]}"
    else:
        received = "outputs of other layers"
    raise ValueError(
        f"The members should be of one architecture, and {first.name!r} and {other.name!r} are not. "
        f"Received: {received}."
    )


def _text(config: Any) -> str:
    return json.dumps(config, sort_keys=True, default=str)


def _normal(config: Any, places: Mapping[str, int]) -> Any:
    """A config without names and what concerns training alone.

    Args:
        config: a config, or what is in one.
        places: of the graph that it is in, the place of each layer by its name: where it is read, that stands for it.
    """
    if isinstance(config, Mapping):
        layers = config.get("layers")
        if isinstance(layers, (list, tuple)):
            places = {layer["name"]: place for place, layer in enumerate(layers) if "inbound_nodes" in layer}
        kept = {key: value for key, value in config.items() if not _concerns_training(key)}
        return {key: _wired(value, places) if key in _WIRING else _normal(value, places) for key, value in kept.items()}
    if isinstance(config, (list, tuple)):
        return [_normal(value, places) for value in config]
    return config


def _wired(value: Any, places: Mapping[str, int]) -> Any:
    """Tensors, each by the place of its layer, the number of the call and that of the output."""
    if isinstance(value, Mapping):
        return {key: _wired(each, places) for key, each in value.items()}
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], str):
        return [places[value[0]], *value[1:]]
    return [_wired(each, places) for each in value] if isinstance(value, (list, tuple)) else value


def _concerns_training(key: Any) -> bool:
    return key in _HOW_TRAINED or (isinstance(key, str) and key.endswith(_ENDINGS))
