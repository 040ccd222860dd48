"""What is frozen in a model and stands in no config of a layer, for its files; and what cannot be trained with it."""

from __future__ import annotations

from collections.abc import Mapping

import keras

from keras_mtl._layers import inner_layers, layers_by_path


def frozen_within(graph: keras.Model) -> dict[str, dict[str, list[int]]]:
    """What is frozen in a graph beside layers that stand in it: variables by themselves, and layers within layers.

    Returns:
        By the path of a layer, the positions of such layers among those within it, and of such variables among its
        weights. Layers that have none are left out.
    """
    found = {}
    for path, layer in layers_by_path(graph).items():
        inner = inner_layers(layer)
        # Private: what a layer trains unless it is told otherwise. tests/unit/transfer/test_flags.py would notice.
        own = [
            each for one in (layer, *inner) for each in one._trainable_variables if one is not layer or one.trainable
        ]
        frozen = {id(variable) for variable in own if not variable.trainable}
        rows = {
            "layers": [position for position, each in enumerate(inner) if not each.trainable],
            "weights": [position for position, each in enumerate(layer.weights) if id(each) in frozen],
        }
        if any(rows.values()):
            found[path] = rows
    return found


def freeze_within(graph: keras.Model, frozen: Mapping[str, Mapping[str, list[int]]]) -> None:
    """Freezes what `frozen_within` found in another model of the same graph."""
    layers = layers_by_path(graph)
    for path, rows in frozen.items():
        layer = layers[path]
        inner = inner_layers(layer)
        for position, each in enumerate(inner):  # the outer ones first: their flag goes on to those within
            each.trainable = position not in rows["layers"]
        for position in rows["weights"]:
            layer.weights[position].trainable = False
