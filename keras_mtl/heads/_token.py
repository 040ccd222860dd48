"""The head of a task that predicts something for each token of a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras_mtl.heads._dense import dense_layers


def token_head(
    features: Any, name: str, *, units: int, activation: str, hidden_units: Sequence[int] = (), dropout: float = 0.0
) -> Any:
    """Hidden layers with ReLU, then an output of `units` numbers, over each token by itself.

    Args:
        features: a tensor `(batch, length, channels)`.
        name: the name of the output layer, and the beginning of the names of the others.
        units: how many numbers the head predicts for a token.
        activation: of the output. It is computed in float32 under mixed precision too.
        hidden_units: units of each hidden layer. Defaults to none.
        dropout: share of units dropped before the output layer in training. Defaults to 0.

    Returns:
        A tensor `(batch, length, units)`.

    Example:

    >>> import keras
    >>> from keras_mtl import heads
    >>> heads.token_head(keras.Input((None, 64)), "tag", units=17, activation="softmax").shape
    (None, None, 17)
    """
    return dense_layers(features, name, units=units, activation=activation, hidden_units=hidden_units, dropout=dropout)
