"""Yes or no: what it predicts, and which labels it takes."""

import keras
import numpy as np
import pytest

from keras_mtl.tasks import BinaryClassification


@pytest.fixture
def task():
    return BinaryClassification("is_cat", label="cat")


def test_predicts_a_probability(task):
    features = keras.Input((6,))
    model = keras.Model(features, task.head(features))
    probabilities = np.asarray(model(5 * np.random.default_rng(0).normal(size=(50, 6))))
    assert probabilities.shape == (50, 1)
    assert 0 <= probabilities.min() < 0.5 < probabilities.max() <= 1


def test_is_trained_by_the_binary_cross_entropy(task):
    assert isinstance(task.loss, keras.losses.BinaryCrossentropy)
    np.testing.assert_allclose(
        task.loss(np.array([[1.0], [0.0]]), np.array([[0.8], [0.3]])), -np.log([0.8, 0.7]).mean(), rtol=1e-5
    )


def test_is_compared_by_the_area_under_the_curve_with_the_accuracy_beside_it(task):
    auc, accuracy = task.metrics
    assert (task.primary_metric, auc.name, accuracy.name) == ("auc", "auc", "accuracy")
    labels, prediction = np.array([0, 0, 1, 1]), np.array([[0.1], [0.4], [0.35], [0.8]])
    auc.update_state(labels, prediction)
    accuracy.update_state(labels, prediction)
    assert float(auc.result()) == pytest.approx(0.75, abs=0.01)
    assert float(accuracy.result()) == 0.75


def test_metrics_that_were_asked_for_come_last():
    metrics = BinaryClassification("is_cat", metrics=[keras.metrics.Precision(name="precision")]).metrics
    assert [metric.name for metric in metrics] == ["auc", "accuracy", "precision"]


class TestLabels:
    @pytest.mark.parametrize("shape", [(8,), (8, 1), (None,), (None, 1)])
    def test_shapes(self, task, shape):
        task.check_shape(shape)

    @pytest.mark.parametrize("shape", [(8, 2), (8, 1, 1)])
    def test_other_shapes_are_refused(self, task, shape):
        with pytest.raises(ValueError, match=r"should have shape \(batch,\) or \(batch, 1\)\. Received: shape"):
            task.check_shape(shape)

    @pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float64"])
    def test_dtypes(self, task, dtype):
        task.check_dtype(np.dtype(dtype))
        task.check_labels(np.array([0, 1, 1], dtype))

    def test_smoothed_labels_pass(self, task):
        task.check_labels(np.array([[0.1], [0.9]]))

    @pytest.mark.parametrize(
        "labels, shown",
        [
            ([0, 2], "2 (1 of 2"),
            ([-2, 1], "-2 (1 of 2"),
            ([0.5, 1.001], "1.001 (1 of 2"),
            ([-0.1, 7.0, 7.0], "-0.1, 7.0 (3 of 3"),
        ],
    )
    def test_labels_out_of_range_are_shown(self, task, labels, shown):
        with pytest.raises(ValueError) as caught:
            task.check_labels(np.array(labels))
        assert str(caught.value) == (
            f"Labels 'cat' of task 'is_cat' (BinaryClassification) should be from 0 to 1. Received: {shown} labels)."
        )

    @pytest.mark.parametrize("value", [-np.inf, np.inf])
    def test_what_is_not_finite_is_refused(self, task, value):
        with pytest.raises(ValueError, match=rf"should be from 0 to 1. Received: {value} \(1 of 2 labels\)\."):
            task.check_labels(np.array([1.0, value]))
