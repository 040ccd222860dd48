"""A small convolutional backbone for small images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_mtl._checks import check_integer, check_integers
from keras_mtl.backbones._base import Backbone, registry


@registry.register("convolutional")
class Convolutional(Backbone):
    """A small convolutional network, for images for which an architecture of `keras.applications` is too large.

    Pixels are scaled from 0..255 to 0..1 inside. Then for each entry of `filters` a 3x3 convolution with ReLU and a
    2x2 max pooling follow; the last pooling is left out, so that `n` entries divide the image size by `2 ** (n - 1)`.
    The feature map forgets where things are once it is averaged. Where the place matters, as for digits side by side,
    give `units`: the map is then flattened into a dense layer with ReLU.

    Args:
        input_shape: `(height, width, channels)` of the raw images.
        filters: filters of each convolution, from the input on. Defaults to `(32, 64, 128)`.
        units: units of a dense layer over the flattened feature map. Defaults to None: the map is the output.

    Raises:
        ValueError: if an argument is out of range, or the image is too small for that many poolings.

    Example:

    >>> from keras_mtl import backbones
    >>> backbones.Convolutional((24, 32, 1), filters=(8, 16)).build().output_shape
    (None, 12, 16, 16)
    """

    def __init__(
        self, input_shape: Sequence[int], filters: Sequence[int] = (32, 64, 128), units: int | None = None
    ) -> None:
        self.input_shape = check_integers(input_shape, "input_shape")
        self.filters = check_integers(filters, "filters")
        self.units = None if units is None else check_integer(units, "units")
        if len(self.input_shape) != 3:
            raise ValueError(
                f"Parameter `input_shape` should be (height, width, channels). Received: input_shape={input_shape}"
            )
        check_integer(len(self.filters), "len(filters)")
        smallest = 2 ** (len(self.filters) - 1)
        if min(self.input_shape[:2]) < smallest:
            raise ValueError(
                f"Parameter `input_shape` should be at least {smallest} in height and width for {len(self.filters)} "
                f"convolutions. Received: input_shape={self.input_shape}. Give larger images or fewer `filters`."
            )

    def build(self) -> keras.Model:
        """A new model from raw images to a map `(batch, height', width', filters[-1])`, or to `(batch, units)`."""
        inputs = keras.Input(self.input_shape, name="image")
        x = keras.layers.Rescaling(1 / 255, name="rescaling")(inputs)
        for index, filters in enumerate(self.filters):
            if index:
                x = keras.layers.MaxPooling2D(name=f"pool_{index}")(x)
            x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv_{index}")(x)
        if self.units is not None:
            x = keras.layers.Flatten(name="flatten")(x)
            x = keras.layers.Dense(self.units, activation="relu", name="dense")(x)
        return keras.Model(inputs, x, name="convolutional")

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {"input_shape": list(self.input_shape), "filters": list(self.filters), "units": self.units}
