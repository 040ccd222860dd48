"""The head of a task that predicts something for each pixel: a light decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_mtl._graph import calls_between
from keras_mtl.heads._resize_like import ResizeLike

#: The channels that maps of several sizes are brought to before they are added.
FUSED_CHANNELS = 64


def map_head(
    features: Any,
    name: str,
    *,
    units: int,
    activation: str,
    hidden_units: Sequence[int] = (),
    dropout: float = 0.0,
    size: Sequence[int] | None = None,
) -> Any:
    """Convolutions over a feature map, then an output of `units` numbers for each pixel of the labels.

    Several maps are brought to 64 channels each by 1 x 1 convolutions, to the size of the first by bilinear resizing,
    and added, as in the semantic branch of A. Kirillov et al., "Panoptic Feature Pyramid Networks", CVPR, 2019, without
    that one's stages of convolutions in between.

    Args:
        features: a symbolic tensor `(batch, height, width, channels)`, or a list of such maps, the finest first.
        name: the name of the output layer, and the beginning of the names of the others.
        units: how many numbers the head predicts for a pixel.
        activation: of the output. It is computed in float32 under mixed precision too.
        hidden_units: filters of each hidden 3 x 3 convolution with ReLU. Defaults to none.
        dropout: share of numbers dropped before the last convolution in training. Defaults to 0.
        size: height and width of the output. Defaults to those of the only image among the inputs of the graph.

    Returns:
        A tensor `(batch, height, width, units)`.

    Raises:
        ValueError: if there is no `size`, and none or several images among the inputs.

    Example:

    >>> import keras
    >>> from keras_mtl import heads
    >>> maps = [keras.Input((16, 16, 8)), keras.Input((8, 8, 16))]
    >>> heads.map_head(maps, "mask", units=3, activation="softmax", size=(64, 64)).shape
    (None, 64, 64, 3)
    """
    maps = list(features) if isinstance(features, (list, tuple)) else [features]
    image = _image_of(maps, name) if size is None else None
    if image is not None and None not in image.shape[1:3]:
        size, image = image.shape[1:3], None
    x = maps[0] if len(maps) == 1 else _fused(maps, name)
    for index, number in enumerate(hidden_units):
        x = keras.layers.Conv2D(number, 3, padding="same", activation="relu", name=f"{name}_hidden_{index}")(x)
    if dropout:
        x = keras.layers.Dropout(dropout, name=f"{name}_dropout")(x)
    x = keras.layers.Conv2D(units, 1, name=f"{name}_logits")(x)
    if image is not None:
        x = ResizeLike(dtype="float32", name=f"{name}_resized")([x, image])
    elif tuple(x.shape[1:3]) != tuple(size or ()):
        height, width = size or (None, None)
        x = keras.layers.Resizing(height, width, dtype="float32", name=f"{name}_resized")(x)
    return keras.layers.Activation(activation, dtype="float32", name=name)(x)


def _fused(maps: Sequence[Any], name: str) -> Any:
    """The maps as one, of the size of the first."""
    projected = [
        keras.layers.Conv2D(FUSED_CHANNELS, 1, name=f"{name}_level_{index}")(one) for index, one in enumerate(maps)
    ]
    alike = [
        ResizeLike(name=f"{name}_level_{index}_resized")([one, projected[0]])
        for index, one in enumerate(projected[1:], start=1)
    ]
    return keras.layers.Add(name=f"{name}_levels")([projected[0], *alike])


def _image_of(maps: Sequence[Any], name: str) -> Any:
    """The only image among the inputs that the maps are made from."""
    inputs = [call.outputs[0] for call in calls_between([], maps) if not call.input_tensors]
    images = [one for one in inputs if len(one.shape) == 4]
    if len(images) != 1:
        raise ValueError(
            f"The output of task {name!r} has the size of the model's image, if there is one. Received: inputs of "
            f"shape {', '.join(str(tuple(one.shape)) for one in inputs)}. Give the task `label_size`."
        )
    return images[0]
