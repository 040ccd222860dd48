"""Encoders of texts: from vectors of tokens to features of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_mtl.backbones._text_layers import MaskedConv1D, SinusoidalPositions

#: The name of the layer that gives the features of tokens.
TOKENS = "tokens"


def convolutional(x: Any, *, filters: int, kernel_sizes: Sequence[int], dropout: float) -> Any:
    """Windows of several widths, side by side.

    Args:
        x: a masked tensor `(batch, length, channels)`.
        filters: filters of each width.
        kernel_sizes: the widths.
        dropout: not used here: the features are dropped behind the pooling.

    Returns:
        A masked tensor `(batch, length, filters * len(kernel_sizes))`.
    """
    del dropout
    one = len(kernel_sizes) == 1
    maps = [
        MaskedConv1D(filters, size, padding="same", activation="relu", name=TOKENS if one else f"conv_{size}")(x)
        for size in kernel_sizes
    ]
    return maps[0] if one else keras.layers.Concatenate(name=TOKENS)(maps)


def recurrent(x: Any, *, units: int, num_layers: int, dropout: float) -> Any:
    """Gated recurrent units in both directions.

    Args:
        x: a masked tensor `(batch, length, channels)`.
        units: units of each direction.
        num_layers: how many layers.
        dropout: share of numbers dropped between the layers in training.

    Returns:
        A masked tensor `(batch, length, 2 * units)`.
    """
    for index in range(num_layers):
        if index and dropout:
            x = keras.layers.Dropout(dropout, name=f"recurrent_dropout_{index}")(x)
        last = index == num_layers - 1
        layer = keras.layers.GRU(units, return_sequences=True, name=f"gru_{index}")
        x = keras.layers.Bidirectional(layer, name=TOKENS if last else f"recurrent_{index}")(x)
    return x


def transformer(x: Any, *, units: int, num_layers: int, num_heads: int, dropout: float) -> Any:
    """Layers of attention that normalize first.

    Args:
        x: a masked tensor `(batch, length, channels)`.
        units: units between the two dense layers.
        num_layers: how many layers.
        num_heads: heads of attention.
        dropout: share of numbers dropped from what each part of a layer adds, and of the attention, in training.

    Returns:
        A masked tensor of the shape of `x`.
    """
    channels = x.shape[-1]

    def added(x: Any, new: Any, name: str) -> Any:
        if dropout:
            new = keras.layers.Dropout(dropout, name=f"{name}_dropout")(new)
        return keras.layers.Add(name=f"{name}_added")([x, new])

    x = SinusoidalPositions(name="positions")(x)
    for index in range(num_layers):
        name = f"attention_{index}"
        normalized = keras.layers.LayerNormalization(name=f"{name}_normalization")(x)
        attention = keras.layers.MultiHeadAttention(num_heads, channels // num_heads, dropout=dropout, name=name)
        x = added(x, attention(normalized, normalized), name)
        name = f"dense_{index}"
        hidden = keras.layers.LayerNormalization(name=f"{name}_normalization")(x)
        hidden = keras.layers.Dense(units, activation="gelu", name=f"{name}_hidden")(hidden)
        x = added(x, keras.layers.Dense(channels, name=name)(hidden), name)
    return keras.layers.LayerNormalization(name=TOKENS)(x)
