"""A multi-layer perceptron for vectors of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_mtl._checks import check_integer, check_integers, check_number
from keras_mtl.backbones._base import Backbone, registry


@registry.register("mlp")
class MLP(Backbone):
    """A multi-layer perceptron: dense layers with ReLU over a vector of numbers.

    Args:
        input_shape: the number of inputs, as an integer or `(number,)`.
        units: units of each layer, from the input on. Defaults to `(128, 64)`.
        dropout: share of units dropped behind each layer in training, 0 <= dropout < 1. Defaults to 0.

    Raises:
        ValueError: if an argument is out of range.

    Example:

    >>> from keras_mtl import backbones
    >>> backbones.MLP(20, units=(32, 16)).build().output_shape
    (None, 16)
    """

    def __init__(
        self, input_shape: int | Sequence[int], units: Sequence[int] = (128, 64), dropout: float = 0.0
    ) -> None:
        self.input_shape = check_integers(input_shape, "input_shape")
        self.units = check_integers(units, "units")
        self.dropout = check_number(dropout, "dropout", below=1.0)
        if len(self.input_shape) != 1:
            raise ValueError(f"Parameter `input_shape` should be (number,). Received: input_shape={input_shape}")
        check_integer(len(self.units), "len(units)")

    def build(self) -> keras.Model:
        """A new model from vectors to vectors, `(batch, units[-1])`."""
        inputs = keras.Input(self.input_shape, name="vector")
        x = inputs
        for index, units in enumerate(self.units):
            x = keras.layers.Dense(units, activation="relu", name=f"dense_{index}")(x)
            if self.dropout:
                x = keras.layers.Dropout(self.dropout, name=f"dropout_{index}")(x)
        return keras.Model(inputs, x, name="mlp")

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {"input_shape": list(self.input_shape), "units": list(self.units), "dropout": self.dropout}
