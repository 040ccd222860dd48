"""Raw waveforms: a spectrogram, and an encoder of images over it."""

from __future__ import annotations

from typing import Any

import keras

from keras_mtl._checks import check_integer
from keras_mtl.backbones._base import Backbone, registry
from keras_mtl.backbones._get import get
from keras_mtl.backbones._splice import behind

# Decibels of the power of a bin: 16 bits have noise of about -70, and a full sine in a window of 1024 has 54.
_SILENCE, _LOUDEST = -70.0, 60.0


@registry.register("audio")
class Audio(Backbone):
    """Raw waveforms: the logarithm of their mel spectrogram is formed in the model, and read like an image.

    Waveforms `(batch, num_samples)` with values of -1 to 1 go in, all of one length: cut longer ones, and pad shorter
    ones with zeros. The spectrogram, of `keras.layers.MelSpectrogram`, has a row for each mel band and a column for
    each hop. Its decibels, from -70 to 60, are brought to 0 to 255, which encoders of images take; nothing there
    depends on the other examples of a batch.

    Args:
        num_samples: how many samples a waveform has: its duration in seconds times `sample_rate`.
        sample_rate: samples in a second, in Hertz. Defaults to 16000.
        num_mel_bins: mel bands, the height of the spectrogram. Defaults to 64.
        fft_length: samples of a window, not more than `num_samples`. Defaults to 1024.
        hop_length: samples from one window to the next. Defaults to 256.
        encoder: a backbone for images: the name of one that is made from an `input_shape` only, `"convolutional"` or an
            architecture of `keras.applications`, or an instance or a config with the spectrogram's height, width and 1
            or 3 channels (3 repeat it) as its input shape. Defaults to `"convolutional"`.

    Raises:
        ValueError: if an argument is out of range, or the encoder does not take the spectrogram.

    Example:

    >>> from keras_mtl import backbones
    >>> audio = backbones.Audio(16000)
    >>> audio.spectrogram_shape
    (64, 63)
    >>> audio.build().output_shape
    (None, 16, 15, 128)
    """

    def __init__(
        self,
        num_samples: int,
        sample_rate: int = 16000,
        *,
        num_mel_bins: int = 64,
        fft_length: int = 1024,
        hop_length: int = 256,
        encoder: Any = "convolutional",
    ) -> None:
        self.num_samples = check_integer(num_samples, "num_samples")
        self.sample_rate = check_integer(sample_rate, "sample_rate", minimum=100)
        self.num_mel_bins = check_integer(num_mel_bins, "num_mel_bins")
        self.fft_length = check_integer(fft_length, "fft_length")
        self.hop_length = check_integer(hop_length, "hop_length")
        if self.num_samples < self.fft_length:
            raise ValueError(
                "Parameter `fft_length` should be at most `num_samples`. Received: "
                f"fft_length={fft_length}, num_samples={num_samples}"
            )
        self.encoder = encoder if isinstance(encoder, str) else get(encoder)
        self._encoder()

    @property
    def spectrogram_shape(self) -> tuple[int, int]:
        """Mel bands and windows."""
        _, height, width = self._spectrogram().compute_output_shape((None, self.num_samples))
        return (height, width)

    def build(self) -> keras.Model:
        """A new model from waveforms `(batch, num_samples)` to what the encoder gives."""
        encoder = self._encoder().build()
        inputs = keras.Input((self.num_samples,), name="waveform")
        x = self._spectrogram()(inputs)
        scale = 255 / (_LOUDEST - _SILENCE)
        x = keras.layers.Rescaling(scale, -_SILENCE * scale, name="spectrogram_rescaling")(x)
        x = keras.layers.Reshape((*self.spectrogram_shape, 1), name="spectrogram")(x)
        channels = encoder.input_shape[-1]
        if channels > 1:
            x = keras.layers.Concatenate(name="spectrogram_channels")([x] * channels)
        return keras.Model(inputs, behind(encoder, x), name="audio")

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        encoder = self.encoder
        return {
            "num_samples": self.num_samples,
            "sample_rate": self.sample_rate,
            "num_mel_bins": self.num_mel_bins,
            "fft_length": self.fft_length,
            "hop_length": self.hop_length,
            "encoder": encoder if isinstance(encoder, str) else keras.saving.serialize_keras_object(encoder),
        }

    def _spectrogram(self) -> keras.layers.MelSpectrogram:
        # With a `top_db` below the whole range, Keras would cut what is that far below the loudest of the batch.
        return keras.layers.MelSpectrogram(
            fft_length=self.fft_length,
            sequence_stride=self.hop_length,
            sampling_rate=self.sample_rate,
            num_mel_bins=self.num_mel_bins,
            min_power=10 ** (_SILENCE / 10),
            top_db=1000.0,
            name="mel_spectrogram",
        )

    def _encoder(self) -> Backbone:
        """The encoder as a backbone."""
        shape = self.spectrogram_shape
        encoder = self.encoder
        if isinstance(encoder, str):
            return get(encoder, input_shape=(*shape, 1 if encoder == "convolutional" else 3))
        received = tuple(getattr(encoder, "input_shape", ()))
        if (
            len(received) != 3
            or received[2] not in (1, 3)
            or any(size not in (None, wanted) for size, wanted in zip(received, shape, strict=False))
        ):
            raise ValueError(
                f"Parameter `encoder` should be a backbone for images of {shape[0]} x {shape[1]}, of 1 or 3 channels. "
                f"Received: a {type(encoder).__name__} with input_shape={received}"
            )
        return encoder
