"""The cross-entropy with class indices and label smoothing."""

import keras
import numpy as np
import pytest

from keras_mtl import losses


@pytest.mark.parametrize("places", [(), (4,), (2, 3)])
@pytest.mark.parametrize("column", [False, True])
def test_spreads_a_share_of_the_label(places, column):
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 3, (5, *places)), rng.dirichlet(np.ones(3), (5, *places)).astype("float32")
    target = np.eye(3)[labels] * 0.7 + 0.1
    expected = -(target * np.log(predictions)).sum(axis=-1)
    loss = losses.SmoothedCrossentropy(0.3)
    np.testing.assert_allclose(loss.call(labels[..., None] if column else labels, predictions), expected, rtol=1e-4)
    np.testing.assert_allclose(loss(labels, predictions), expected.mean(), rtol=1e-5)


def test_without_smoothing_it_is_keras_own():
    labels, predictions = np.array([0, 2]), np.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]], "float32")
    plain = keras.losses.SparseCategoricalCrossentropy()
    np.testing.assert_allclose(losses.SmoothedCrossentropy(0)(labels, predictions), plain(labels, predictions))


def test_round_trip():
    loss = losses.SmoothedCrossentropy(0.25, reduction="sum", name="ce")
    found = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert found.get_config() == loss.get_config()
    assert (found.label_smoothing, found.reduction, found.name) == (0.25, "sum", "ce")


@pytest.mark.parametrize("smoothing", [-0.1, 1.1, None, np.nan])
def test_smoothing_is_a_fraction(smoothing):
    with pytest.raises(ValueError, match="`label_smoothing` should be a number from 0 to 1"):
        losses.SmoothedCrossentropy(smoothing)
