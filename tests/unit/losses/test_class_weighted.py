"""Losses in which classes count differently."""

import re

import keras
import numpy as np
import pytest

from keras_mtl import losses


@pytest.mark.parametrize("places", [(), (4,), (2, 3)])
@pytest.mark.parametrize("column", [False, True])
def test_of_class_indices(places, column):
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 3, (5, *places)), rng.dirichlet(np.ones(3), (5, *places)).astype("float32")
    weights = np.array([0.5, 2.0, 0.0])
    loss = losses.ClassWeighted(keras.losses.SparseCategoricalCrossentropy(), weights)
    expected = -np.log(np.take_along_axis(predictions, labels[..., None], -1)[..., 0]) * weights[labels]
    found = loss.call(labels[..., None] if column else labels, predictions)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(loss(labels, predictions), expected.mean(), rtol=1e-5)


@pytest.mark.parametrize("pairs", [(0.5, 2.0), [[0.5, 2.0], [1.0, 0.0], [3.0, 1.0]]])
def test_of_several_labels(pairs):
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 2, (5, 3)).astype("float32"), rng.uniform(0.1, 0.9, (5, 3))
    labels[0] = 0.25  # three quarters of a 0
    by_label = np.broadcast_to(np.array(pairs), (3, 2))
    weights = by_label[:, 0] * (1 - labels) + by_label[:, 1] * labels
    expected = -(labels * np.log(predictions) + (1 - labels) * np.log(1 - predictions)) * weights
    loss = losses.ClassWeighted(losses.LabelwiseCrossentropy(), pairs, multi_label=True)
    np.testing.assert_allclose(loss.call(labels, predictions), expected, rtol=1e-4)


def test_of_one_label():
    labels, predictions = np.array([[0.0], [1.0]]), np.array([[0.2], [0.3]])
    loss = losses.ClassWeighted("BinaryCrossentropy", (0.5, 2.0), multi_label=True)
    expected = [-0.5 * np.log(0.8), -2 * np.log(0.3)]
    np.testing.assert_allclose(loss.call(labels, predictions), expected, rtol=1e-4)


def test_round_trip():
    loss = losses.ClassWeighted(keras.losses.BinaryFocalCrossentropy(gamma=3.0), np.array([[1, 2], [3, 4]]), True)
    found = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert found.get_config() == loss.get_config()
    assert (found.class_weights, found.multi_label) == ([[1.0, 2.0], [3.0, 4.0]], True)
    assert (found.loss.get_config()["gamma"], found.name) == (3.0, "binary_focal_crossentropy")


@pytest.mark.parametrize(
    ("weights", "multi_label"),
    [([], False), (None, False), ({0: 1.0}, False), ("ab", False), (3.0, False), ([1.0], True), ([1.0, 2.0, 3.0], True)]
    + [([[1.0, 2.0], [1.0]], True), ([[1.0, 2.0], 3.0], True)],
)
def test_other_forms_are_refused(weights, multi_label):
    form = "a pair of weights, for 0 and for 1" if multi_label else "a list of weights by class"
    message = f"`class_weights` should be {form}.*{re.escape(f'Received: class_weights={weights!r}')}"
    with pytest.raises(ValueError, match=message):
        losses.ClassWeighted("Huber", weights, multi_label)


@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf, "1", None, True])
def test_weights_are_finite_numbers_of_at_least_zero(weight):
    for weights, multi_label in (([1.0, weight], False), ([[1.0, 1.0], [1.0, weight]], True)):
        with pytest.raises(ValueError, match="`class_weights` should be a finite number of at least 0"):
            losses.ClassWeighted("Huber", weights, multi_label)


def test_whether_labels_are_numbers_is_yes_or_no():
    with pytest.raises(ValueError, match="`multi_label` should be one of .*Received: multi_label='no'"):
        losses.ClassWeighted("Huber", [1.0, 2.0], "no")


@pytest.mark.parametrize("wrapper", ["ClassWeighted", "LabelwiseLoss"])
@pytest.mark.parametrize(
    "loss",
    [losses.Masked("MeanSquaredError"), losses.balanced({"a": "mse"})[0]["a"]],
    ids=["masked", "balanced"],
)
def test_losses_that_would_be_bypassed_are_refused(wrapper, loss):
    arguments = ([1.0, 2.0],) if wrapper == "ClassWeighted" else ()
    with pytest.raises(ValueError, match=rf"`losses.{wrapper}` would go past what else it does.*Received: loss=<"):
        getattr(losses, wrapper)(loss, *arguments)


class TestOtherValues:
    """Those of a loss that has not one for each label."""

    def test_one_hot_labels_are_refused(self):
        loss, labels = losses.ClassWeighted("CategoricalCrossentropy", [1.0, 3.0, 1.0]), np.eye(3, dtype="float32")
        with pytest.raises(ValueError, match=r"labels of shape \(3, 3\) and values of shape \(3,\).*be class indices"):
            loss(labels, np.full((3, 3), 1 / 3, "float32"))

    @pytest.mark.parametrize("name", ["BinaryCrossentropy", "Dice"])
    def test_a_mean_over_the_labels_is_refused(self, name):
        loss = losses.ClassWeighted(name, [1.0, 3.0], multi_label=True)
        with pytest.raises(ValueError, match=r"labels of shape \(4, 3\) and values of.*`LabelwiseLoss` around it"):
            loss(np.ones((4, 3), "float32"), np.full((4, 3), 0.5, "float32"))

    def test_labels_without_the_axis_of_the_values(self):
        labels, predictions = np.array([0.0, 1.0]), np.array([[0.2], [0.3]])
        loss = losses.ClassWeighted(losses.LabelwiseCrossentropy(), (0.5, 2.0), multi_label=True)
        expected = loss.call(labels[:, None], predictions)

        class Columns(keras.losses.Loss):
            def call(self, y_true, y_pred):
                return losses.LabelwiseCrossentropy().call(keras.ops.reshape(y_true, (-1, 1)), y_pred)

        found = losses.ClassWeighted(Columns(), (0.5, 2.0), multi_label=True).call(labels, predictions)
        np.testing.assert_allclose(found, expected)
