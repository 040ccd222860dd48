"""Every image architecture of `keras.applications`, by name."""

from __future__ import annotations

import os
import textwrap
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_mtl._checks import check_integer
from keras_mtl._registry import serializable
from keras_mtl.backbones._base import Backbone
from keras_mtl.backbones._image_preprocessing import (
    ImagePreprocessing,
    architectures,
    find_architecture,
    preprocesses_itself,
)

__all__ = ["Image", "ImagePreprocessing", "architectures"]

# Their graph depends on the sizes of feature maps: built for any size, it builds and then fails on every image.
_FIXED_SIZE = ("NASNetLarge", "NASNetMobile")

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


@serializable
class Image(Backbone):
    """An architecture of `keras.applications` that takes raw images, with its preprocessing inside the model.

    The model is flat: each layer of the architecture is found by `model.get_layer(name)`, to take features from or to
    freeze, and `model.output` is the last feature map, not pooled.

    Args:
        architecture: name of any architecture of `keras.applications`, such as `"EfficientNetV2B0"`, in any case.
        input_shape: `(height, width, 3)`: integers, or None for images of any size. Defaults to `(None, None, 3)`.
            NASNet wants integers. Where sizes are None, choose images with sides that are multiples of 32: Keras then
            pads as for those, and gives others feature maps that differ from those of a model of fixed size.
        weights: None for random weights, `"imagenet"`, or the path of a local weights file: `.weights.h5`, `.keras`,
            or `.h5` as Keras publishes them. The file is one of the architecture with `include_top=False`; a
            `.weights.h5` or `.keras` file may also be of the whole architecture, and its top is passed over.
            Defaults to None.

    Raises:
        ValueError: if Keras has no such architecture, if `input_shape` is not the shape of RGB images, or if there is
            no file at `weights`. From `build`: if the architecture refuses the size, if the file holds other weights,
            or if Keras is configured for `"channels_first"`.
        RuntimeError: from `build`, if the ImageNet weights cannot be downloaded.

    Example:

    >>> from keras_mtl import backbones
    >>> model = backbones.Image("MobileNetV3Small", input_shape=(64, 64, 3)).build()
    >>> model.input_shape, model.output_shape
    ((None, 64, 64, 3), (None, 2, 2, 576))
    >>> model.get_layer("expanded_conv_2_add").output.shape
    (None, 8, 8, 24)
    """

    def __init__(
        self,
        architecture: str,
        input_shape: Sequence[int | None] | None = None,
        weights: str | os.PathLike[str] | None = None,
    ) -> None:
        self.architecture = find_architecture(architecture)
        self.input_shape = _check_input_shape(input_shape)
        self.weights = _check_weights(weights)
        if self.architecture in _FIXED_SIZE and None in self.input_shape:
            raise ValueError(
                f"{self.architecture} works for images of one size only. Pass their height and width, for example "
                f"input_shape=(224, 224, 3). Received: input_shape={self.input_shape}"
            )

    def build(self) -> keras.Model:
        """A new flat model from raw images, `(batch, height, width, 3)` from 0 to 255, to the last feature map."""
        if keras.config.image_data_format() != "channels_last":
            raise ValueError(
                "Image backbones work with the image data format 'channels_last'. Call "
                f"keras.config.set_image_data_format('channels_last'). Received: {keras.config.image_data_format()!r}"
            )
        model = self._connect()
        if self.weights == "imagenet":
            self._copy_imagenet(model)
        elif self.weights is not None:
            self._load(model, self.weights)
        _settle_normalization(model)
        return model

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {"architecture": self.architecture, "input_shape": list(self.input_shape), "weights": self.weights}

    def _connect(self) -> keras.Model:
        images = keras.Input(self.input_shape, dtype="float32", name="image")
        preprocessed = images
        if not preprocesses_itself(self.architecture):
            preprocessed = ImagePreprocessing(self.architecture, name="image_preprocessing")(images)
        try:
            architecture = self._call_architecture(weights=None, input_tensor=preprocessed)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{self.architecture} cannot be built for input_shape={self.input_shape}. Keras says: {error}. Pass an "
                "`input_shape` that it accepts, and resize the images to it"
                + ("." if self.architecture in _FIXED_SIZE else ", or (None, None, 3) if their size varies.")
            ) from error
        # Keras makes the input a list of one tensor there, which warns when the model is called on a tensor.
        return keras.Model(images, architecture.output, name=architecture.name)

    def _call_architecture(self, **kwargs: Any) -> keras.Model:
        function = getattr(keras.applications, self.architecture)
        return function(include_top=False, input_shape=self.input_shape, **kwargs)

    def _copy_imagenet(self, model: keras.Model) -> None:
        # With weights="imagenet" EfficientNet has one layer more than without. Copied into the model without it, the
        # weights fit every model that this backbone builds, and those that load its weights files.
        try:
            pretrained = self._call_architecture(weights="imagenet")
        except Exception as error:  # what Keras raises when a download fails
            raise RuntimeError(
                f"The ImageNet weights of {self.architecture} cannot be loaded. Keras says: {error}. Download the file "
                "elsewhere (the one without the top) and pass weights='path/to/the/file.h5', or put it into the folder "
                "`models` of Keras' cache (`~/.keras/models`), or pass weights=None for random weights."
            ) from error
        for variable, value in zip(model.variables, pretrained.variables, strict=True):
            variable.assign(value)

    def _load(self, model: keras.Model, path: str) -> None:
        try:
            with warnings.catch_warnings(record=True) as passed_over:
                # Keras warns of the layers that it leaves as they are, by the hundred where the file is another's.
                warnings.simplefilter("ignore")
                warnings.simplefilter("always", UserWarning)
                model.load_weights(path)
            if passed_over:
                raise ValueError(str(passed_over[0].message))
        except Exception as error:  # h5py, zipfile and Keras each have their own
            reason = textwrap.shorten(str(error), 400, placeholder=" ...")
            raise ValueError(
                f"The file '{path}' does not hold the weights of {self.architecture}. Keras says: {reason} The file "
                f"should be written from keras.applications.{self.architecture}(include_top=False) by "
                "model.save_weights('name.weights.h5')."
            ) from error


def _check_input_shape(value: Any) -> tuple[int | None, int | None, int]:
    if value is None:
        return (None, None, 3)
    if not isinstance(value, (tuple, list)) or len(value) != 3 or value[2] != 3:
        raise ValueError(
            "Parameter `input_shape` should be (height, width, 3), the shape of RGB images; to use grey images, repeat "
            f"their channel three times. Received: input_shape={value!r}"
        )
    height, width = (
        size if size is None else check_integer(size, f"input_shape[{index}]") for index, size in enumerate(value[:2])
    )
    return (height, width, 3)


def _check_weights(value: Any) -> str | None:
    if value is None or value == "imagenet":
        return value
    if not isinstance(value, (str, os.PathLike)):
        raise ValueError(
            f"Parameter `weights` should be None, 'imagenet' or the path of a weights file. Received: weights={value!r}"
        )
    path = os.fspath(value)
    if not os.path.isfile(path):
        raise ValueError(
            "Parameter `weights` should be None, 'imagenet' or the path of a weights file, and there is no file at "
            f"that path. Received: weights={path!r}"
        )
    return path


def _settle_normalization(model: keras.Model) -> None:
    """Makes the statistics of EfficientNet's `Normalization` what the layer takes them for, and has it take them up."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            mean, variance, count = layer.get_weights()
            # Keras' ImageNet files hold standard deviations here (tensorflow issue 49930). Keras makes up for it by one
            # more layer, but only under weights="imagenet", not for the same file given by its path.
            if np.allclose(mean, _IMAGENET_MEAN, atol=1e-3) and np.allclose(variance, _IMAGENET_DEVIATION, atol=1e-3):
                layer.set_weights([mean, np.square(variance), count])
            layer.finalize_state()
