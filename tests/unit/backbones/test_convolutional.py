"""The small convolutional network: its shapes, what it computes, and what it refuses."""

import keras
import numpy as np
import pytest

from keras_mtl.backbones import Convolutional


@pytest.mark.parametrize(
    "input_shape, filters, expected",
    [
        ((24, 32, 1), (32, 64, 128), (None, 6, 8, 128)),
        ((24, 32, 3), (8, 16), (None, 12, 16, 16)),
        ((5, 7, 1), (8, 4), (None, 2, 3, 4)),
        ((1, 1, 2), (3,), (None, 1, 1, 3)),
        ((9, 9, 2), 3, (None, 9, 9, 3)),
        ((4, 8, 1), (2, 2, 2), (None, 1, 2, 2)),
    ],
)
def test_each_entry_but_the_last_halves_the_image(input_shape, filters, expected):
    model = Convolutional(input_shape, filters).build()
    assert model.input_shape == (None, *input_shape)
    assert model.output_shape == expected


def test_layers():
    model = Convolutional((8, 8, 1), filters=(4, 5, 6), units=7).build()
    assert [layer.name for layer in model.layers] == [
        *("image", "rescaling", "conv_0", "pool_1", "conv_1", "pool_2", "conv_2", "flatten", "dense")
    ]
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [layer.filters for layer in convolutions] == [4, 5, 6]
    assert {layer.kernel_size for layer in convolutions} == {(3, 3)}


def identity(model, name, bias=0.0):
    """Makes a convolution of one filter return its input, shifted by `bias`."""
    kernel = np.zeros((3, 3, 1, 1))
    kernel[1, 1] = 1
    model.get_layer(name).set_weights([kernel, np.array([bias])])


def test_scales_pixels_then_takes_maxima_of_two_by_two():
    model = Convolutional((4, 6, 1), filters=(1, 1)).build()
    identity(model, "conv_0")
    identity(model, "conv_1")
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 1))
    expected = images.reshape(3, 2, 2, 3, 2, 1).max(axis=(2, 4)) / 255
    np.testing.assert_allclose(model(images.astype("uint8")), expected, rtol=1e-6)


def test_negative_values_are_cut_off():
    model = Convolutional((4, 6, 1), filters=1).build()
    identity(model, "conv_0", bias=-0.5)
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 1))
    np.testing.assert_allclose(model(images.astype("float32")), np.maximum(images / 255 - 0.5, 0), atol=1e-6)


def test_units_make_a_vector_that_knows_places():
    model = Convolutional((4, 6, 1), filters=1, units=24).build()
    identity(model, "conv_0")
    model.get_layer("dense").set_weights([np.eye(24), np.full(24, -0.5)])
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 1))
    assert model.output_shape == (None, 24)
    expected = np.maximum(images.reshape(3, 24) / 255 - 0.5, 0)
    np.testing.assert_allclose(model(images.astype("float32")), expected, atol=1e-6)


def test_defaults():
    assert Convolutional((8, 8, 1)).get_config() == {"input_shape": [8, 8, 1], "filters": [32, 64, 128], "units": None}


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"input_shape": (8, 8)}, r"`input_shape` should be \(height, width, channels\)\. .*input_shape=\(8, 8\)"),
        ({"input_shape": 8}, r"`input_shape` should be \(height, width, channels\)\. .*input_shape=8"),
        ({"input_shape": (8, 8, 0)}, r"`input_shape\[2\]` should be an integer of at least 1"),
        ({"input_shape": (None, 8, 1)}, r"`input_shape\[0\]` should be an integer of at least 1"),
        ({"input_shape": "8x8"}, "`input_shape` should be an integer or a sequence of integers"),
        ({"filters": ()}, r"`len\(filters\)` should be an integer of at least 1"),
        ({"filters": (8, 0)}, r"`filters\[1\]` should be an integer of at least 1"),
        ({"filters": None}, "`filters` should be an integer or a sequence of integers"),
        ({"units": 0}, "`units` should be an integer of at least 1"),
        ({"units": (8,)}, "`units` should be an integer of at least 1"),
        ({"input_shape": (3, 8, 1)}, "at least 4 in height and width for 3 convolutions.*Give larger images or fewer"),
        ({"input_shape": (8, 3, 1)}, r"at least 4 in height and width .*Received: input_shape=\(8, 3, 1\)"),
        ({"input_shape": (7, 7, 1), "filters": (1, 1, 1, 1)}, "at least 8 in height and width for 4 convolutions"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        Convolutional(**{"input_shape": (8, 8, 1), **arguments})
