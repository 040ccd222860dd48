"""Raw waveforms: the spectrogram's size and range, and the encoders over it."""

import keras
import numpy as np
import pytest

from keras_mtl import backbones

SMALL = {"num_samples": 2048, "num_mel_bins": 16, "fft_length": 256, "hop_length": 128}


def tone(hertz, loudness=1.0):
    return (loudness * np.sin(2 * np.pi * hertz * np.arange(2048) / 16000)).astype("float32")[None]


def spectrogram(backbone):
    model = backbone.build()
    return keras.Model(model.input, model.get_layer("spectrogram").output)


def test_shapes():
    backbone = backbones.Audio(**SMALL)
    assert backbone.spectrogram_shape == (16, 17)
    assert backbone.build().input_shape == (None, 2048)
    assert spectrogram(backbone).output_shape == (None, 16, 17, 1)


def test_the_spectrogram_has_the_range_of_an_image():
    model = spectrogram(backbones.Audio(**SMALL))
    np.testing.assert_allclose(model(np.zeros((1, 2048), "float32")), 0, atol=1e-3)
    loud, quiet = np.asarray(model(tone(1000))), np.asarray(model(tone(1000, 0.01)))
    assert 150 < loud.max() < 255
    np.testing.assert_allclose(loud.max() - quiet.max(), 40 * 255 / 130, atol=0.5)  # 40 dB
    rows = [int(np.asarray(model(tone(hertz)))[0, :, 8, 0].argmax()) for hertz in (300, 1500, 5000)]
    assert rows == sorted(set(rows))


def test_an_example_does_not_depend_on_the_others():
    model = backbones.Audio(**SMALL).build()
    quiet = tone(500, 1e-4)
    np.testing.assert_allclose(model(quiet)[0], model(np.concatenate([quiet, tone(900)]))[0], atol=1e-5)


@pytest.mark.parametrize(
    ("encoder", "channels"),
    [("MobileNetV3Small", 3), (backbones.Convolutional((16, 17, 1), filters=(4, 6)), 1)],
    ids=["name", "instance"],
)
def test_encoders(encoder, channels):
    backbone = backbones.Audio(**{**SMALL, "num_mel_bins": 32 if channels == 3 else 16}, encoder=encoder)
    if channels == 3:
        backbone = backbones.Audio(8192, num_mel_bins=64, fft_length=256, hop_length=128, encoder=encoder)
    model = backbone.build()
    inputs = np.random.default_rng(0).uniform(-1, 1, (2, backbone.num_samples)).astype("float32")
    assert np.isfinite(model(inputs)).all()
    assert any(layer.name == "spectrogram_channels" for layer in model.layers) == (channels == 3)
    found = backbones.get(keras.saving.serialize_keras_object(backbone))
    assert found.get_config() == backbone.get_config()
    assert found.build().output_shape == model.output_shape


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_samples": 100}, "`fft_length` should be at most `num_samples`"),
        ({"hop_length": 0}, "`hop_length` should be an integer of at least 1"),
        ({"encoder": "nothing"}, "Unknown backbone: 'nothing'"),
        ({"encoder": "mlp"}, "`input_shape` should be"),
        ({"encoder": backbones.MLP(3)}, "`encoder` should be a backbone for images of 16 x 17"),
        (
            {"encoder": backbones.Convolutional((16, 18, 1))},
            r"Received: a Convolutional with input_shape=\(16, 18, 1\)",
        ),
        ({"encoder": 3}, "A backbone should be a name"),
    ],
    ids=["short", "hop", "unknown", "mlp", "vector", "size", "number"],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        backbones.Audio(**{**SMALL, **arguments})
