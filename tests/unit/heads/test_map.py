"""The decoder of tasks that predict something for each pixel."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_mtl import heads


def decoder(maps, **arguments):
    return heads.map_head(maps, "mask", **{"units": 3, "activation": "softmax", **arguments})


def test_upsamples_to_the_size_of_the_image():
    image = keras.Input((32, 48, 3))
    features = keras.layers.Conv2D(8, 3, strides=4, padding="same")(image)
    model = keras.Model(image, decoder(features, hidden_units=(5, 4), dropout=0.5))
    assert model.output_shape == (None, 32, 48, 3)
    names = [layer.name for layer in model.layers[2:]]
    assert names == ["mask_hidden_0", "mask_hidden_1", "mask_dropout", "mask_logits", "mask_resized", "mask"]
    assert [model.get_layer(f"mask_hidden_{index}").filters for index in range(2)] == [5, 4]
    assert model.get_layer("mask_hidden_0").kernel_size == (3, 3)
    prediction = np.asarray(model(np.random.default_rng(0).random((2, 32, 48, 3))))
    np.testing.assert_allclose(prediction.sum(axis=-1), 1, rtol=1e-5)


def test_computes_what_it_says():
    features = keras.Input((2, 3, 4))
    model = keras.Model(features, decoder(features, activation="linear", size=(4, 9)))
    x = np.random.default_rng(0).normal(size=(2, 2, 3, 4)).astype("float32")
    kernel, bias = model.get_layer("mask_logits").get_weights()
    expected = ops.image.resize(x @ kernel[0, 0] + bias, (4, 9))
    np.testing.assert_allclose(model(x), expected, atol=1e-5)


def test_a_map_of_the_right_size_is_left_as_it_is():
    features = keras.Input((4, 6, 8))
    model = keras.Model(features, decoder(features))
    assert [layer.name for layer in model.layers[1:]] == ["mask_logits", "mask"]


def test_fuses_several_maps_in_the_size_of_the_first():
    maps = [keras.Input((4, 6, 2)), keras.Input((2, 3, 5)), keras.Input((1, 1, 7))]
    model = keras.Model(maps, decoder(maps, activation="linear", size=(8, 12)))
    rng = np.random.default_rng(0)
    values = [rng.normal(size=(2, *one.shape[1:])).astype("float32") for one in maps]
    total = 0.0
    for index, value in enumerate(values):
        kernel, bias = model.get_layer(f"mask_level_{index}").get_weights()
        total = total + np.asarray(ops.image.resize(value @ kernel[0, 0] + bias, (4, 6)))
    kernel, bias = model.get_layer("mask_logits").get_weights()
    expected = ops.image.resize(total @ kernel[0, 0] + bias, (8, 12))
    np.testing.assert_allclose(model(values), expected, atol=1e-4)


def test_images_of_any_size():
    image = keras.Input((None, None, 3))
    features = keras.layers.Conv2D(8, 3, strides=4, padding="same")(image)
    model = keras.Model(image, decoder(features))
    assert model.output_shape == (None, None, None, 3)
    for size in ((32, 20), (7, 9)):
        assert model.predict(np.zeros((1, *size, 3)), verbose=0).shape == (1, *size, 3)


def test_without_one_image_the_size_is_asked_for():
    inputs = [keras.Input((8, 8, 3)), keras.Input((8, 8, 1))]
    features = keras.layers.Concatenate()(inputs)
    with pytest.raises(ValueError, match=r"task 'mask' .* \(None, 8, 8, .\), \(None, 8, 8, .\)\. .* `label_size`"):
        decoder(features)
    assert decoder(features, size=(8, 8)).shape == (None, 8, 8, 3)
    vector = keras.Input((16,))
    with pytest.raises(ValueError, match="Give the task `label_size`"):
        decoder(keras.layers.Reshape((4, 4, 1))(vector))


class TestResizeLike:
    @pytest.mark.parametrize("size", [(5, 3), (8, 12), (2, 2), (1, 1), (4, 7)])
    def test_is_keras_bilinear_resizing(self, size):
        x = np.random.default_rng(0).normal(size=(2, 4, 3, 5)).astype("float32")
        found = heads.ResizeLike()([x, np.zeros((2, *size, 1), "float32")])
        np.testing.assert_allclose(found, ops.image.resize(x, size), atol=1e-5)

    def test_round_trip(self):
        layer = heads.ResizeLike(name="resized", dtype="float32")
        found = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
        assert type(found) is heads.ResizeLike
        assert found.get_config() == layer.get_config()

    def test_follows_the_size_of_the_data(self):
        inputs = [keras.Input((None, None, 2)), keras.Input((None, None, 3))]
        model = keras.Model(inputs, heads.ResizeLike()(inputs))
        for size in ((3, 4), (6, 5)):
            assert model.predict([np.ones((1, 2, 2, 2)), np.ones((1, *size, 3))], verbose=0).shape == (1, *size, 2)
