"""How a task reads others: what they hand on, and features from a task's own and from that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_mtl import heads
from keras_mtl._registry import serializable
from keras_mtl.sharing._base import Sharing, registry


# `ops.stop_gradient` in a graph bears a name that Keras counts up, and a backbone from a file may bear the same one.
@serializable
class StopGradient(keras.layers.Layer):
    """What it is given, through which no gradient passes.

    Args:
        **kwargs: the arguments of `keras.layers.Layer`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        """The inputs, `(batch, ...)`."""
        return ops.stop_gradient(inputs)


# `keras.layers.Add` drops the mask of a sequence to which it adds something without one.
@serializable
class AddEverywhere(keras.layers.Layer):
    """Adds a vector to a map at every place, and keeps the map's mask.

    Args:
        **kwargs: the arguments of `keras.layers.Layer`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs: Sequence[Any]) -> Any:
        """The sum `(batch, ..., channels)` of a map of that shape and vectors `(batch, channels)`."""
        places, vectors = inputs
        return places + ops.expand_dims(vectors, list(range(1, len(places.shape) - 1)))

    def compute_mask(self, inputs: Sequence[Any], mask: Sequence[Any] | None = None) -> Any:
        """The map's mask."""
        del inputs
        return None if mask is None else mask[0]

    def compute_output_shape(self, input_shape: Sequence[Sequence[int | None]]) -> tuple[int | None, ...]:
        """The shape of the map."""
        return tuple(input_shape[0])


def features_by(identifier: Any, architecture: str) -> Sharing:
    """The sharing that another one takes its features from.

    Args:
        identifier: a name, a config or an instance.
        architecture: the name of who asks, for messages.

    Raises:
        ValueError: if it is unknown, or forms predictions too, which would be lost.
    """
    base = registry.get(identifier)
    if type(base).outputs is not Sharing.outputs:
        raise ValueError(
            f"Parameter `base` of the architecture `{architecture}` should form features and leave the predictions to "
            f"the heads. Received: base={identifier!r}, a {type(base).__name__}, whose predictions read each other. "
            "Give that one's own `base`."
        )
    return base


def handed_on(tensor: Any, name: str, *, detach: bool) -> Any:
    """Features or a prediction `(batch, ..., channels)` as the vector that other tasks read.

    Args:
        tensor: the features or the prediction. A map is averaged over all but its channels.
        name: begins the names of layers.
        detach: whether to let no gradient through.
    """
    vector = heads.pool(tensor, f"{name}_handed_on_pool")
    return StopGradient(name=f"{name}_detached")(vector) if detach else vector


def joined(own: Any, seen: Sequence[Any], units: int, name: str) -> Any:
    """A dense layer with ReLU over a task's own features and what it sees, as if they were concatenated.

    It is written as the sum of two dense layers, so that own features may be a map: what is seen is then added at
    every place.

    Args:
        own: a tensor `(batch, ..., channels)`.
        seen: tensors `(batch, channels)`.
        units: the number of units.
        name: begins the names of layers.

    Returns:
        A tensor `(batch, ..., units)`.
    """
    total = keras.layers.Dense(units, name=f"{name}_own")(own)
    if seen:
        vector = keras.layers.Concatenate(name=f"{name}_concatenated")(seen) if len(seen) > 1 else seen[0]
        added = keras.layers.Dense(units, use_bias=False, name=f"{name}_seen")(vector)
        add = keras.layers.Add if len(own.shape) == 2 else AddEverywhere
        total = add(name=f"{name}_sum")([total, added])
    return keras.layers.Activation("relu", name=name)(total)
