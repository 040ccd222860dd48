"""Numbers for each pixel."""

from __future__ import annotations

from typing import Any

from keras_mtl import heads
from keras_mtl._checks import check_integer, check_one_of
from keras_mtl.tasks._base import registry
from keras_mtl.tasks._decoder import DECODERS, check_levels
from keras_mtl.tasks._label_size import check_label_size
from keras_mtl.tasks._regression import Numbers


@registry.register("dense_regression")
class DenseRegression(Numbers):
    """Numbers for each pixel of an image: its depth (one), the normal of the surface (three).

    Output and labels are `(batch, height, width, num_outputs)`, the labels of one number `(batch, height, width)` too.
    A pixel is missing if one of its numbers is NaN, and the loss is the mean over the others. Trained by the mean
    squared error, compared by the mean absolute error. The outputs are as they are: normals are not brought to unit
    length.

    The head reads feature maps: 3 x 3 convolutions with as many filters as `hidden_units` tells, one with 1 x 1 windows
    to the numbers, then bilinear upsampling. Under `decoder="pyramid"` it reads the maps of all levels of the backbone,
    and fuses them first, in the size of the finest: outlines become sharper, at the cost of larger maps.

    Args:
        name: see `Task`.
        num_outputs: how many numbers are predicted for a pixel, at least 1. Defaults to 1.
        label_size: height and width of the labels and of the output, two positive integers. Defaults to those of the
            model's image.
        decoder: `"last"`, which reads the last level of the backbone, or `"pyramid"`, which reads all, under
            architectures that hand them on: `"hard"`, `"independent"`, `"soft"`, `"cross_stitch"`, `"nddr"` and
            `"mtan"`. The levels are those of known size: give the backbone an `input_shape`, or name its layers as
            `features`. Defaults to `"last"`.
        **kwargs: the other arguments of `Task`.

    Raises:
        ValueError: if an argument is out of range.

    Example:

    >>> import keras
    >>> from keras_mtl import tasks
    >>> features = keras.Input((8, 12, 16))
    >>> tasks.DenseRegression("normal", num_outputs=3, label_size=(32, 48)).head(features).shape
    (None, 32, 48, 3)
    """

    num_place_axes = 2
    num_label_axes = 2

    def __init__(
        self, name: str, num_outputs: int = 1, *, label_size: Any = None, decoder: str = "last", **kwargs: Any
    ) -> None:
        self.num_outputs = check_integer(num_outputs, "num_outputs")
        self.label_size = check_label_size(label_size)
        self.decoder = check_one_of(decoder, "decoder", DECODERS)
        super().__init__(name, **kwargs)
        self.label_shape = () if self.num_outputs == 1 else (self.num_outputs,)

    @property
    def reads_levels(self) -> bool:
        """Whether it decodes a pyramid."""
        return self.decoder == "pyramid"

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """Height and width, where they are given, and the numbers."""
        return (*(self.label_size or (None, None)), self.num_outputs)

    def head(self, features: Any) -> Any:
        """The decoder: from a map `(batch, height, width, channels)`, or a list of maps from the finest on."""
        self.check_features(features)
        check_levels(self, features)
        return heads.map_head(
            features,
            self.name,
            units=self.num_outputs,
            activation=self.activation,
            hidden_units=self.hidden_units,
            dropout=self.dropout,
            size=self.label_size,
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        size = None if self.label_size is None else list(self.label_size)
        return {**super().get_config(), "num_outputs": self.num_outputs, "label_size": size, "decoder": self.decoder}
