"""Pretrained backbones of KerasHub, for texts and images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_mtl import _optional
from keras_mtl._checks import check_integer
from keras_mtl._graph import call_again
from keras_mtl._registry import serializable
from keras_mtl.backbones._base import Backbone, registry


@registry.register("keras_hub")
class KerasHub(Backbone):
    """A preset of KerasHub for texts or images, with its preprocessing inside the model.

    Raw texts `(batch,)` go in where the preset's backbone reads tokens, and its tokenizer is part of the model; the
    features are those of each token, and padding is left out of their mean. Raw images `(batch, height, width, 3)` from
    0 to 255 go in where it reads images. The layers of the preset are those of the model, to be named as `features`.

    It needs the extra `hub`. A model of texts cannot be loaded from a `.keras` file, since KerasHub brings the
    vocabulary of a tokenizer back only after the graph is made: build it again and `load_weights`, or export it. A
    SavedModel with a tokenizer is served where `tensorflow_text` has been imported.

    Args:
        preset: the name of a preset, such as `"bert_tiny_en_uncased"`, a handle (`"kaggle://..."`, `"hf://..."`), or a
            local folder that was written by `save_to_preset`.
        sequence_length: to how many tokens a text is cut or padded. Defaults to None: what the preset says.
        input_shape: `(height, width, 3)` of the images. Defaults to None: what the preset says.
        load_weights: whether to load the preset's weights; otherwise they are random. Defaults to True.

    Raises:
        ValueError: if an argument is out of range. From `build`: if there is no such preset, it reads neither tokens
            nor images, or an argument is given that goes with the other kind.
        ImportError: if `keras_hub` is not installed.

    Example:

    >>> from keras_mtl import backbones
    >>> backbones.KerasHub("bert_tiny_en_uncased", sequence_length=64).build()  # doctest: +SKIP
    """

    def __init__(
        self,
        preset: str | os.PathLike[str],
        sequence_length: int | None = None,
        input_shape: Sequence[int] | None = None,
        load_weights: bool = True,
    ) -> None:
        _hub()
        if not isinstance(preset, (str, os.PathLike)) or not os.fspath(preset):
            raise ValueError(f"Parameter `preset` should be a name, a handle or a folder. Received: preset={preset!r}")
        if not isinstance(load_weights, bool):
            raise ValueError(f"Parameter `load_weights` should be True or False. Received: load_weights={load_weights}")
        self.preset = os.fspath(preset)
        self.sequence_length = None if sequence_length is None else check_integer(sequence_length, "sequence_length")
        self.input_shape = None if input_shape is None else tuple(input_shape)
        if self.input_shape is not None and (len(self.input_shape) != 3 or self.input_shape[2] != 3):
            raise ValueError(
                f"Parameter `input_shape` should be (height, width, 3). Received: input_shape={input_shape!r}"
            )
        self.load_weights = load_weights

    def build(self) -> keras.Model:
        """A new model from raw texts or images to features `(batch, ..., channels)`."""
        models = _hub().models
        image = {} if self.input_shape is None else {"image_shape": self.input_shape}
        model = self._loaded(models.Backbone, load_weights=self.load_weights, **image)
        names = set(model.input) if isinstance(model.input, Mapping) else set()
        if "token_ids" in names and not image:
            return self._of_text(model)
        if not names and len(model.input.shape) == 4 and self.sequence_length is None:
            return self._of_images(model)
        raise ValueError(
            "A preset should read tokens, with `sequence_length` if any argument, or images, with `input_shape` if any."
            f" Received: preset={self.preset!r}, a {type(model).__name__} with the inputs {sorted(names) or 'image'}, "
            f"sequence_length={self.sequence_length}, input_shape={self.input_shape}"
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {
            "preset": self.preset,
            "sequence_length": self.sequence_length,
            "input_shape": None if self.input_shape is None else list(self.input_shape),
            "load_weights": self.load_weights,
        }

    def _of_text(self, model: keras.Model) -> keras.Model:
        length = {} if self.sequence_length is None else {"sequence_length": self.sequence_length}
        preprocessor = self._loaded(_hub().models.TextClassifierPreprocessor, **length)
        inputs = keras.Input((), dtype="string", name="text")
        prepared = preprocessor(inputs)
        outputs = model.output["sequence_output"] if isinstance(model.output, Mapping) else model.output
        pairs = [(tensor, prepared[name]) for name, tensor in model.input.items()]
        (tokens,) = call_again(pairs, [outputs])
        tokens = TokenMask(name="tokens")([tokens, prepared["padding_mask"]])
        return keras.Model(inputs, tokens, name="keras_hub")

    def _of_images(self, model: keras.Model) -> keras.Model:
        converter = self._loaded(_hub().layers.ImageConverter)
        inputs = keras.Input(model.input.shape[1:], name="image")
        (features,) = call_again([(model.input, converter(inputs))], [model.output])
        return keras.Model(inputs, features, name="keras_hub")

    def _loaded(self, cls: Any, **arguments: Any) -> Any:
        try:
            return cls.from_preset(self.preset, **arguments)
        except (FileNotFoundError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ValueError(
                f"The preset {self.preset!r} does not give a {cls.__name__}. KerasHub says: {reason}"
            ) from error


@serializable
class TokenMask(keras.layers.Layer):
    """Features of tokens, with a mask.

    Args:
        **kwargs: the arguments of `keras.layers.Layer`.
    """

    def call(self, inputs: Sequence[Any]) -> Any:
        """The first of features `(batch, length, channels)` and a mask `(batch, length)`, as it is."""
        return inputs[0] * ops.ones((), inputs[0].dtype)  # a new tensor, which bears the mask

    def compute_mask(self, inputs: Sequence[Any], mask: Any = None) -> Any:
        """The mask as booleans."""
        del mask
        return ops.cast(inputs[1], "bool")

    def compute_output_shape(self, input_shape: Sequence[Sequence[int | None]]) -> tuple[int | None, ...]:
        """The shape of the features."""
        return tuple(input_shape[0])


def _hub() -> Any:
    return _optional.require("keras_hub", extra="hub", needed_by="keras_mtl.backbones.KerasHub")
