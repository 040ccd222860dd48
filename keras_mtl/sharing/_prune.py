"""The tree that `LearningToBranch` has found, as a model of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_mtl.sharing._copies import copy_calls
from keras_mtl.sharing._learning_to_branch import Branching


def prune(model: Any) -> Any:
    """A new model with the nodes of the likeliest tree only, of a model with the sharing `LearningToBranch`.

    It predicts what the model predicts, has no branching layers, and has copies of the layers with their weights, so
    that training it leaves the model as it is. To train the tree from the beginning, as the paper does, give its layers
    new weights.

    Args:
        model: a `MultiTaskModel`.

    Returns:
        A `MultiTaskModel` of the same tasks, to be compiled.

    Raises:
        ValueError: if the model has no branching layers.

    Example:

    >>> import keras_mtl as mtl
    >>> tasks = [mtl.tasks.Regression("a"), mtl.tasks.Regression("b")]
    >>> model = mtl.build_model("mlp", tasks, sharing="learning_to_branch", input_shape=(4,))
    >>> [layer.name for layer in mtl.sharing.prune(model).layers if "dense" in layer.name]
    ['dense_0_node_0', 'dense_1_node_0']
    """
    if not any(isinstance(layer, Branching) for layer in getattr(model, "layers", ())) or not hasattr(model, "tasks"):
        raise ValueError(
            "Parameter `model` should be a `MultiTaskModel` with branching layers: one of `build_model` with "
            f"sharing='learning_to_branch'. Received: {model!r}"
        )

    def in_place(layer: keras.layers.Layer) -> Callable[..., Any] | None:
        if not isinstance(layer, Branching):
            return None
        places = layer.chosen()
        return lambda nodes: [nodes[place] for place in places]

    inputs = [(tensor, tensor) for tensor in model.inputs]
    outputs = copy_calls(inputs, list(model.output.values()), lambda name: name, in_place=in_place)
    found = dict(zip(model.output, outputs, strict=True))
    return type(model)(model.input, found, model.tasks, name=model.name)
