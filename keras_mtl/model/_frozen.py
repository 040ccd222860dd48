"""What is frozen in a model and stands in no config of a layer, for its files; and what cannot be trained with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


def check_trained(model: Any) -> None:
    """Raises a `ValueError` if weights were frozen or released since `compile`, and what keeps state for each is lost.

    Args:
        model: a compiled multi-task model.
    """
    trained, known = model.trainable_variables, model.optimized_variables
    if [id(variable) for variable in trained] == [id(variable) for variable in known]:
        return
    changed = {variable.path for variable in trained} ^ {variable.path for variable in known}
    received = f"{len(changed)} weights that were frozen or released since, such as {min(changed)!r}"
    optimizer = model.optimizer
    while getattr(optimizer, "inner_optimizer", None) is not None:
        optimizer = optimizer.inner_optimizer
    if optimizer.use_ema:
        raise ValueError(
            "With use_ema=True, what is trained should be what was trainable when the model was compiled: Keras would "
            f"set weights to the averages of others. Received: {received}. Call `compile` again, or leave out use_ema."
        )
    keeping = [each for each in (model.loss_balancer, model.gradient_balancer) if each and each.keeps_gradients]
    for balancer in keeping:
        parts = model.partitioned()
        if parts.num_gradients(balancer.gradients) != balancer.num_gradients:
            raise ValueError(
                f"The balancer `{type(balancer).__name__}` has a number for each shared weight that was trainable when "
                f"the model was compiled. Received: {received}. Call `compile` again, with a new balancer."
            )
