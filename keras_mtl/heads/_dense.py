"""The head of a task that predicts a vector: hidden dense layers and an output layer that bears the task's name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

_POOLING = {
    3: keras.layers.GlobalAveragePooling1D,
    4: keras.layers.GlobalAveragePooling2D,
    5: keras.layers.GlobalAveragePooling3D,
}


def pool(features: Any, name: str) -> Any:
    """Features as vectors: a feature map `(batch, ..., channels)` is averaged over all but its channels.

    Args:
        features: a tensor `(batch, channels)`, which is returned as it is, or `(batch, ..., channels)`.
        name: the name of the pooling layer.

    Raises:
        ValueError: if the features have no channels, or too many dimensions.
    """
    rank = len(features.shape)
    if rank == 2:
        return features
    if rank not in _POOLING:
        raise ValueError(
            f"Features should be vectors (batch, channels) or maps (batch, ..., channels) of 3 to 5 dimensions. "
            f"Received: features of shape {tuple(features.shape)}"
        )
    return _POOLING[rank](name=name)(features)


def dense_head(
    features: Any, name: str, *, units: int, activation: str, hidden_units: Sequence[int] = (), dropout: float = 0.0
) -> Any:
    """Hidden layers with ReLU, then an output of `units` numbers.

    Args:
        features: a tensor `(batch, channels)`, or a map, which is pooled.
        name: the name of the output layer, and the beginning of the names of the others.
        units: how many numbers the head predicts.
        activation: of the output. It is computed in float32 under mixed precision too.
        hidden_units: units of each hidden layer. Defaults to none.
        dropout: share of units dropped before the output layer in training. Defaults to 0.

    Returns:
        A tensor `(batch, units)`.
    """
    x = pool(features, f"{name}_pool")
    return dense_layers(x, name, units=units, activation=activation, hidden_units=hidden_units, dropout=dropout)


def dense_layers(x: Any, name: str, *, units: int, activation: str, hidden_units: Sequence[int], dropout: float) -> Any:
    """The layers of a head over the last axis of features `(batch, ..., channels)`."""
    x = hidden_layers(x, name, hidden_units=hidden_units, dropout=dropout)
    x = keras.layers.Dense(units, name=f"{name}_logits")(x)
    return keras.layers.Activation(activation, dtype="float32", name=name)(x)


def hidden_layers(x: Any, name: str, *, hidden_units: Sequence[int], dropout: float) -> Any:
    """The layers of a head before its last, over the last axis of features `(batch, ..., channels)`."""
    for index, number in enumerate(hidden_units):
        x = keras.layers.Dense(number, activation="relu", name=f"{name}_hidden_{index}")(x)
    return keras.layers.Dropout(dropout, name=f"{name}_dropout")(x) if dropout else x
