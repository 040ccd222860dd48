"""Models within a graph: the same layers behind other tensors, and under other names."""

from __future__ import annotations

from typing import Any

import keras

from keras_mtl._graph import call_again


def behind(model: keras.Model, tensor: Any) -> Any:
    """The output of a model of one input and one output on another tensor, layer by layer."""
    (output,) = call_again([(model.inputs[0], tensor)], model.outputs)
    return output


def renamed(model: keras.Model, prefix: str, inputs: dict[str, Any]) -> Any:
    """The output of a copy of a model, with its weights, whose layers' names begin with `prefix`.

    Args:
        model: a Functional model of one output.
        prefix: what the names of the layers begin with.
        inputs: symbolic tensors in place of the model's inputs, by the names of those.

    Returns:
        A symbolic tensor.
    """
    made: list[tuple[keras.layers.Layer, keras.layers.Layer]] = []

    def operation_for(operation: Any) -> Any:
        if not isinstance(operation, keras.layers.Layer):
            return operation
        if hasattr(operation, "tokenizer"):  # KerasHub keeps a vocabulary in files, and not in the config
            return operation
        copy = type(operation).from_config({**operation.get_config(), "name": f"{prefix}_{operation.name}"})
        made.append((operation, copy))
        return copy

    pairs = [(tensor, inputs[tensor.name]) for tensor in model.inputs]
    (output,) = call_again(pairs, model.outputs, operation_for)
    for layer, copy in made:
        copy.set_weights(layer.get_weights())
        if isinstance(copy, keras.layers.Normalization):
            copy.finalize_state()  # it computes with what it has made of its statistics, not with them
    return output
