"""The head of ordered classes, against the proportional-odds model by numpy."""

import keras
import numpy as np
import pytest

from keras_mtl import heads


def logistic(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("num_classes", [3, 5, 8])
def test_cuts_the_score_by_ordered_thresholds(num_classes):
    layer = heads.OrdinalLogits(num_classes)
    scores = np.random.default_rng(0).normal(size=(9, 1)).astype("float32") * 3
    layer(scores)
    rng = np.random.default_rng(1)
    first, steps = rng.normal(size=1), rng.normal(size=num_classes - 2)
    layer.set_weights([first, steps])
    thresholds = np.concatenate([first, first + np.cumsum(np.log1p(np.exp(steps)) + 1e-3)])
    up_to = np.concatenate([np.zeros((9, 1)), logistic(thresholds - scores), np.ones((9, 1))], axis=1)
    np.testing.assert_allclose(np.exp(layer(scores)), np.diff(up_to, axis=1), atol=1e-6)


def test_all_classes_are_alike_at_first():
    np.testing.assert_allclose(np.exp(heads.OrdinalLogits(6)(np.zeros((1, 1)))), np.full((1, 6), 1 / 6), atol=1e-6)


def test_the_logarithms_are_finite_and_have_a_gradient_far_out():
    layer, scores = heads.OrdinalLogits(4), np.array([[-500.0], [-40.0], [40.0], [500.0]], "float32")
    found = np.asarray(layer(scores))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, rtol=1e-5)
    assert found[0, 3] < found[1, 3] < found[2, 3]


def test_the_classes_keep_their_order():
    """The expected rank rises with the score, whatever the weights."""
    layer = heads.OrdinalLogits(5)
    scores = np.linspace(-6, 6, 50, dtype="float32")[:, None]
    layer(scores)
    layer.set_weights([np.array([1.0]), np.array([-9.0, 3.0, -2.0])])
    ranks = np.exp(layer(scores)) @ np.arange(5)
    assert (np.diff(ranks) > 0).all()


def test_head():
    features = keras.Input((4, 6))
    model = keras.Model(features, heads.ordinal_head(features, "grade", num_classes=4, hidden_units=(5,), dropout=0.5))
    names = [layer.name for layer in model.layers[1:]]
    assert names == ["grade_pool", "grade_hidden_0", "grade_dropout", "grade_score", "grade_logits", "grade"]
    x = np.random.default_rng(0).normal(size=(3, 4, 6))
    logits = keras.Model(features, model.get_layer("grade_logits").output)
    np.testing.assert_allclose(model(x), np.exp(logits(x)), atol=1e-6)


def test_round_trip():
    layer = heads.OrdinalLogits(7, name="logits")
    found = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(found) is heads.OrdinalLogits
    assert found.get_config() == layer.get_config()


@pytest.mark.parametrize("num_classes", [2, 3.0, None])
def test_num_classes_is_an_integer_of_at_least_three(num_classes):
    with pytest.raises(ValueError, match="`num_classes` should be an integer of at least 3"):
        heads.OrdinalLogits(num_classes)
