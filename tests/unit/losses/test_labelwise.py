"""Losses with a value for each label of an example."""

import keras
import numpy as np
import pytest

from keras_mtl import losses


def example():
    rng = np.random.default_rng(0)
    return rng.integers(0, 2, (5, 3)).astype("float32"), rng.uniform(0.05, 0.95, (5, 3)).astype("float32")


class TestCrossentropy:
    @pytest.mark.parametrize("smoothing", [0.0, 0.3])
    def test_has_a_value_for_each_label(self, smoothing):
        labels, predictions = example()
        soft = labels * (1 - smoothing) + smoothing / 2
        expected = -soft * np.log(predictions) - (1 - soft) * np.log(1 - predictions)
        loss = losses.LabelwiseCrossentropy(smoothing)
        np.testing.assert_allclose(loss.call(labels, predictions), expected, rtol=1e-4)
        np.testing.assert_allclose(loss(labels, predictions), expected.mean(), rtol=1e-5)
        plain = keras.losses.BinaryCrossentropy(label_smoothing=smoothing)
        np.testing.assert_allclose(loss(labels, predictions), plain(labels, predictions), rtol=1e-5)

    def test_weights_may_be_of_each_label(self):
        labels, predictions = example()
        weights = np.arange(15).reshape(5, 3) % 2
        values = np.asarray(losses.LabelwiseCrossentropy().call(labels, predictions))
        found = losses.LabelwiseCrossentropy(reduction="sum")(labels, predictions, sample_weight=weights)
        np.testing.assert_allclose(found, (values * weights).sum(), rtol=1e-6)

    def test_round_trip(self):
        loss = losses.LabelwiseCrossentropy(0.25, reduction="sum", name="bce")
        found = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
        assert found.get_config() == loss.get_config()
        assert (found.label_smoothing, found.reduction, found.name) == (0.25, "sum", "bce")

    @pytest.mark.parametrize("smoothing", [-0.1, 1.1, None, np.nan])
    def test_smoothing_is_a_fraction(self, smoothing):
        with pytest.raises(ValueError, match="`label_smoothing` should be a number from 0 to 1"):
            losses.LabelwiseCrossentropy(smoothing)


class TestLoss:
    @pytest.mark.parametrize("name", ["BinaryCrossentropy", "BinaryFocalCrossentropy", "MeanSquaredError", "Huber"])
    def test_is_the_other_one_before_its_mean(self, name):
        labels, predictions = example()
        loss = losses.LabelwiseLoss(name)
        values = np.asarray(loss.call(labels, predictions))
        assert values.shape == (5, 3)
        np.testing.assert_allclose(values.mean(axis=1), keras.losses.get(name).call(labels, predictions), rtol=1e-5)
        assert values[0, 0] == pytest.approx(float(keras.losses.get(name)(labels[:1, :1], predictions[:1, :1])))

    def test_round_trip(self):
        loss = losses.LabelwiseLoss(keras.losses.BinaryFocalCrossentropy(gamma=3.0, reduction="sum"))
        found = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
        assert found.get_config() == loss.get_config()
        assert (found.loss.get_config()["gamma"], found.reduction) == (3.0, "sum")
        assert found.name == "binary_focal_crossentropy"

    @pytest.mark.parametrize("loss", ["mse", keras.losses.mean_squared_error])
    def test_a_bare_function_is_refused(self, loss):
        with pytest.raises(ValueError, match=r"`loss` should be a `keras.losses.Loss`.*'MeanSquaredError', not 'mse'"):
            losses.LabelwiseLoss(loss)
