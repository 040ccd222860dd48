"""The dense head: pooling, hidden layers, dropout, and an output layer that bears the task's name."""

import keras
import numpy as np
import pytest

from keras_mtl import heads


def head(shape, **arguments):
    """A model of a head alone, over features of this shape."""
    features = keras.Input(shape)
    return keras.Model(features, heads.dense_head(features, "age", **{"units": 3, "activation": "linear", **arguments}))


def names(model):
    return [layer.name for layer in model.layers[1:]]


class TestPool:
    def test_vectors_are_returned_as_they_are(self):
        features = keras.Input((5,))
        assert heads.pool(features, "pool") is features

    @pytest.mark.parametrize("shape", [(4, 6), (4, 3, 6), (4, 3, 2, 6)])
    def test_maps_are_averaged_over_all_but_their_channels(self, shape):
        features = keras.Input(shape)
        pooled = heads.pool(features, "age_pool")
        assert pooled.shape == (None, 6)
        model = keras.Model(features, pooled)
        assert names(model) == ["age_pool"]
        values = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
        expected = values.reshape(2, -1, 6).mean(axis=1)
        np.testing.assert_allclose(model(values), expected, atol=1e-6)

    @pytest.mark.parametrize("shape", [(None, None, 6), (None, 6)])
    def test_maps_may_vary_in_size(self, shape):
        assert heads.pool(keras.Input(shape), "pool").shape == (None, 6)

    @pytest.mark.parametrize("shape", [(), (2, 2, 2, 2, 2)])
    def test_other_ranks_are_refused(self, shape):
        with pytest.raises(
            ValueError, match=r"vectors \(batch, channels\) or maps .* Received: features of shape \(None"
        ):
            heads.pool(keras.Input(shape), "pool")


class TestDenseHead:
    @pytest.mark.parametrize("shape", [(6,), (4, 6), (4, 3, 6), (4, 3, 2, 6)])
    def test_predicts_a_vector(self, shape):
        model = head(shape)
        assert model.output_shape == (None, 3)
        assert names(model) == ["age_pool"] * (len(shape) > 1) + ["age_logits", "age"]

    def test_names_every_layer_after_the_task(self):
        model = head((4, 6), hidden_units=(8, 5), dropout=0.5)
        assert names(model) == ["age_pool", "age_hidden_0", "age_hidden_1", "age_dropout", "age_logits", "age"]
        assert [model.get_layer(f"age_{name}").units for name in ("hidden_0", "hidden_1", "logits")] == [8, 5, 3]

    def test_computes_what_it_says(self):
        model = head((6,), hidden_units=(8, 5), activation="sigmoid")
        first, first_bias, second, second_bias, last, last_bias = [
            np.random.default_rng(i).normal(size=weight.shape).astype("float32")
            for i, weight in enumerate(model.weights)
        ]
        model.set_weights([first, first_bias, second, second_bias, last, last_bias])
        x = np.random.default_rng(9).normal(size=(7, 6)).astype("float32")
        hidden = np.maximum(x @ first + first_bias, 0)
        hidden = np.maximum(hidden @ second + second_bias, 0)
        expected = 1 / (1 + np.exp(-(hidden @ last + last_bias)))
        np.testing.assert_allclose(model(x), expected, atol=1e-5)

    def test_drops_before_the_output_and_only_in_training(self):
        model = head((6,), units=80, hidden_units=(80,), dropout=0.25)
        model.get_layer("age_hidden_0").set_weights([np.zeros((6, 80)), np.ones(80)])
        model.get_layer("age_logits").set_weights([np.eye(80), np.zeros(80)])
        x = np.ones((50, 6), "float32")
        np.testing.assert_array_equal(model(x, training=False), np.ones((50, 80)))
        trained = np.asarray(model(x, training=True))
        np.testing.assert_allclose(np.unique(trained), [0, 1 / 0.75], rtol=1e-6)
        np.testing.assert_allclose(np.mean(trained == 0), 0.25, atol=0.03)

    def test_has_no_dropout_unless_asked(self):
        assert not any(isinstance(layer, keras.layers.Dropout) for layer in head((6,), hidden_units=(4,)).layers)

    def test_the_output_is_float32_under_mixed_precision(self):
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            model = head((4, 6), hidden_units=(8,), activation="softmax")
        finally:
            keras.config.set_dtype_policy(before)
        assert model.get_layer("age_logits").compute_dtype == "bfloat16"
        assert model.output.dtype == "float32"
        probabilities = np.asarray(model(np.random.default_rng(0).normal(size=(9, 4, 6))))
        np.testing.assert_allclose(probabilities.sum(axis=1), np.ones(9), atol=1e-6)
