"""The preprocessing that each image architecture of Keras was trained with, as a layer."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_mtl._registry import serializable, unknown_name


def architectures() -> list[str]:
    """The names of all architectures of `keras.applications`, sorted."""
    return sorted(name for name, _ in inspect.getmembers(keras.applications, inspect.isfunction))


def find_architecture(name: Any) -> str:
    """The name of an architecture in Keras' own spelling, from one in any case.

    Raises:
        ValueError: if Keras has no architecture of that name.
    """
    known = {item.lower(): item for item in architectures()}
    if not isinstance(name, str) or name.lower() not in known:
        raise unknown_name("architecture", name, known.values())
    return known[name.lower()]


def preprocessing_of(architecture: str) -> Callable[..., Any]:
    """The `preprocess_input` that belongs to an architecture."""
    # Not every public module has its architectures beside `preprocess_input`, but each is named after the file of both.
    module = getattr(keras.applications, architecture).__module__.rpartition(".")[2]
    return getattr(keras.applications, module).preprocess_input


def preprocesses_itself(architecture: str) -> bool:
    """Whether the architecture takes raw images as it is: its `preprocess_input` then changes nothing."""
    pixel = np.ones((1, 1, 1, 3), "float32")
    return np.array_equal(preprocessing_of(architecture)(pixel.copy(), data_format="channels_last"), pixel)


@serializable
class ImagePreprocessing(keras.layers.Layer):
    """Turns raw RGB images into what an architecture of `keras.applications` was trained on.

    `Image` puts it into the model, so that training, serving and export all take raw images. It is computed in float32
    also under a mixed precision policy.

    Args:
        architecture: name of an architecture of `keras.applications`, in any case. Those that preprocess images
            themselves (EfficientNet, ConvNeXt, MobileNetV3) leave the images as they are.
        dtype: data type of the computation and of the output. Defaults to `"float32"`.
        **kwargs: as for every `keras.layers.Layer`.

    Input and output have the shape `(batch, height, width, 3)`; the input holds values from 0 to 255.

    Raises:
        ValueError: if Keras has no such architecture.

    Example:

    >>> import numpy as np
    >>> from keras_mtl import backbones
    >>> images = np.array([0, 255], "uint8").repeat(3).reshape(1, 1, 2, 3)
    >>> preprocessed = backbones.ImagePreprocessing("MobileNetV2")(images)
    >>> np.asarray(preprocessed)[0, 0].tolist()
    [[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]]
    """

    def __init__(self, architecture: str, dtype: Any = "float32", **kwargs: Any) -> None:
        super().__init__(dtype=dtype, **kwargs)
        self.architecture = find_architecture(architecture)
        self.input_spec = keras.InputSpec(ndim=4, axes={-1: 3})
        self._preprocess = preprocessing_of(self.architecture)

    def call(self, images: Any) -> Any:
        """The preprocessed images."""
        return self._preprocess(keras.ops.cast(images, self.compute_dtype), data_format="channels_last")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "architecture": self.architecture}
