"""Which layers of a model are its backbone, and which of those are meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_mtl._checks import check_integer
from keras_mtl._layers import has_graph, layers_by_path, levels, matched
from keras_mtl.model import MultiTaskModel


def check_model(model: Any) -> None:
    """Raises a `ValueError` if a model has no layers to choose from."""
    if not isinstance(model, keras.Model) or not model.built or not model.layers:
        raise ValueError(
            "Parameter `model` should be a Functional or Sequential model that is built. Received: "
            f"{model!r} (of type {type(model).__name__})"
        )


def backbone_of(model: keras.Model, backbone: str | Sequence[str] | None) -> dict[str, keras.layers.Layer]:
    """The layers of the backbone that have weights, by path, in the model's order.

    Args:
        model: the model.
        backbone: patterns, or None for what leads to two or more tasks, in a multi-task model, or for all layers.
    """
    # What layers such as `Normalization` adapt to data is not trained.
    all_layers = {
        path: layer for path, layer in layers_by_path(model).items() if layer.weights and not hasattr(layer, "adapt")
    }
    if backbone is not None:
        return {path: all_layers[path] for path in matched(backbone, all_layers, "backbone")}
    if not isinstance(model, MultiTaskModel):
        return all_layers
    shared: set[int] = set()
    for layer in model.partition.shared_layers:
        inner = layers_by_path(layer).values() if has_graph(layer) else [layer]
        shared |= {id(layer), *map(id, inner)}
    found = {path: layer for path, layer in all_layers.items() if id(layer) in shared}
    if not found:
        raise ValueError(
            "Parameter `backbone` should be given where no layer leads to two or more tasks. Received: a model of the "
            f"tasks {[task.name for task in model.tasks]} and backbone=None. Name the layers of the backbone, by "
            f"patterns: the first ones are {list(all_layers)[:3]}."
        )
    return found


def chosen(
    model: keras.Model, part: Mapping[str, Any], layers: int | str | Sequence[str] | None, blocks: int | None
) -> list[str]:
    """The paths that are meant, of those of a part of a model, in their order.

    Args:
        model: the model.
        part: its layers to choose from, by path.
        layers: how many from the top, or patterns.
        blocks: how many blocks from the top.
    """
    check_choice(layers, blocks)
    if blocks is not None:
        level_of = levels(model)
        present = sorted({level_of[id(layer)] for layer in part.values()})
        _check_number(blocks, len(present), "blocks")
        return [path for path, layer in part.items() if level_of[id(layer)] in present[:blocks]]
    if isinstance(layers, int):
        _check_number(layers, len(part), "layers")
        return list(part)[len(part) - layers :]
    return matched(layers or [], part, "layers")


def check_choice(layers: Any, blocks: Any) -> None:
    """Raises a `ValueError` if layers are to be chosen in two ways, or in none that is known."""
    if layers is not None and blocks is not None:
        raise ValueError(
            "Parameters `layers` and `blocks` are two ways to choose layers. Received: "
            f"layers={layers!r} and blocks={blocks!r}. Leave one out."
        )
    if blocks is not None:
        check_integer(blocks, "blocks", minimum=0)
    elif layers is not None and not isinstance(layers, (str, list, tuple)):
        check_integer(layers, "layers", minimum=0)


def _check_number(number: int, largest: int, parameter: str) -> None:
    if number > largest:
        raise ValueError(
            f"Parameter `{parameter}` should be at most {largest}, which is how many the backbone has. Received: "
            f"{parameter}={number}. For all of them, give layers='*'."
        )
