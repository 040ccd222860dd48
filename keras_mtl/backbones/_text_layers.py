"""Layers over tokens that leave padding out of account."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_mtl._registry import serializable

#: The indices of `keras.layers.TextVectorization` for padding and for words that are not in the vocabulary.
PADDING, UNKNOWN = 0, 1


@serializable
class AtLeastOneToken(keras.layers.Layer):
    """Gives texts a place of padding, where none of a batch has a word.

    Args:
        **kwargs: the arguments of `keras.layers.Layer`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"autocast": False, **kwargs})

    def call(self, inputs: Any) -> Any:
        """Indices of tokens, `(batch, length)`, with a length of at least 1."""
        batch, length = ops.shape(inputs)
        padded = ops.concatenate([inputs, ops.zeros((batch, 1), dtype=inputs.dtype)], axis=1)
        return padded[:, : ops.maximum(length, 1)]

    def compute_output_spec(self, inputs: Any) -> Any:
        """The shape and dtype of the input."""
        return keras.KerasTensor(inputs.shape, inputs.dtype)


@serializable
class WordDropout(keras.layers.Layer):
    """In training, has a share of the words, drawn anew for each text, read as words that are not in the vocabulary.

    Source: M. Iyyer et al., "Deep Unordered Composition Rivals Syntactic Methods for Text Classification", ACL 2015,
    where such words are left out.

    Args:
        rate: the share, 0 <= rate < 1.
        **kwargs: the arguments of `keras.layers.Layer`.
    """

    def __init__(self, rate: float, **kwargs: Any) -> None:
        super().__init__(**{"autocast": False, **kwargs})
        self.rate = rate
        self.seed_generator = keras.random.SeedGenerator()
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Indices of tokens, `(batch, length)`."""
        if not training:
            return inputs
        drawn = keras.random.uniform(ops.shape(inputs), seed=self.seed_generator) < self.rate
        return ops.where(ops.logical_and(drawn, inputs != PADDING), ops.full_like(inputs, UNKNOWN), inputs)

    def compute_output_spec(self, inputs: Any, training: bool = False) -> Any:
        """The shape and dtype of the input."""
        return keras.KerasTensor(inputs.shape, inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "rate": self.rate}


@serializable
class TokenEmbedding(keras.layers.Embedding):
    """Vectors of tokens, with a mask of those that are not padding.

    The first place is never masked, so that a text without words is a padding token, and no mean over nothing.

    Args:
        **kwargs: the arguments of `keras.layers.Embedding`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.supports_masking = True

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """True where there is a token, `(batch, length)`."""
        del mask
        # The place is counted, so that the length may be unknown when the graph is made.
        place = ops.cumsum(ops.ones_like(inputs), axis=1)
        return ops.logical_or(ops.not_equal(inputs, PADDING), ops.equal(place, 1))


@serializable
class MaskedConv1D(keras.layers.Conv1D):
    """A convolution that reads zeros where its input is masked, and hands the mask on.

    Args:
        **kwargs: the arguments of `keras.layers.Conv1D`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """A tensor `(batch, length, filters)` from one `(batch, length, channels)` and a mask `(batch, length)`."""
        if mask is not None:
            inputs = inputs * ops.cast(ops.expand_dims(mask, -1), inputs.dtype)
        return super().call(inputs)


@serializable
class MaxOverTime(keras.layers.Layer):
    """The largest number of each channel over the tokens that are not masked.

    Args:
        **kwargs: the arguments of `keras.layers.Layer`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Vectors `(batch, channels)` from `(batch, length, channels)` and a mask `(batch, length)`."""
        if mask is not None:
            lowest = ops.cast(-6e4, inputs.dtype)  # which float16 has too
            inputs = ops.where(ops.expand_dims(mask, -1), inputs, lowest)
        return ops.max(inputs, axis=1)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """None: there are no places left."""

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """The shape of the vectors."""
        return (input_shape[0], input_shape[-1])


@serializable
class SinusoidalPositions(keras.layers.Layer):
    """Adds to each vector of a sequence sines and cosines of its place, for sequences of any length.

    The vectors are multiplied by the root of the number of channels before.

    Source: A. Vaswani et al., "Attention Is All You Need", NeurIPS 2017, section 3.5.

    Args:
        **kwargs: the arguments of `keras.layers.Layer`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        """The sum, `(batch, length, channels)`."""
        channels = inputs.shape[-1]
        places = ops.cast(ops.arange(ops.shape(inputs)[1]), "float32")
        half = (channels + 1) // 2
        rates = ops.exp(ops.arange(half, dtype="float32") * (-math.log(10000.0) / half))
        angles = ops.expand_dims(places, 1) * rates  # [length, half]
        waves = ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)[:, :channels]
        return inputs * math.sqrt(channels) + ops.cast(waves, inputs.dtype)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """The shape of the input."""
        return tuple(input_shape)
