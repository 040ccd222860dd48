"""One of several classes: what it predicts, and which labels it takes."""

import keras
import numpy as np
import pytest

from keras_mtl.tasks import Classification


@pytest.fixture
def task():
    return Classification("digit", 10, label="number")


@pytest.mark.parametrize("num_classes", [1, 0, -3, 2.0, "10", None, True], ids=repr)
def test_num_classes_is_an_integer_of_at_least_two(num_classes):
    with pytest.raises(ValueError, match=f"`num_classes` should be an integer of at least 2. .*={num_classes!r}$"):
        Classification("digit", num_classes)
    assert Classification("digit", 2).num_outputs == 2


def test_predicts_probabilities(task):
    features = keras.Input((6,))
    model = keras.Model(features, task.head(features))
    probabilities = np.asarray(model(np.random.default_rng(0).normal(size=(5, 6))))
    assert probabilities.shape == (5, 10)
    assert probabilities.min() > 0
    np.testing.assert_allclose(probabilities.sum(axis=1), np.ones(5), rtol=1e-5)


def test_is_trained_by_the_cross_entropy_and_compared_by_accuracy(task):
    assert isinstance(task.loss, keras.losses.SparseCategoricalCrossentropy)
    assert [metric.name for metric in task.metrics] == ["accuracy"]
    prediction = np.eye(10)[[3, 4]] * 0.5 + 0.05
    np.testing.assert_allclose(task.loss(np.array([3, 5]), prediction), -np.log([0.55, 0.05]).mean(), rtol=1e-6)
    metric = task.metrics[0]
    metric.update_state(np.array([3, 5]), prediction)
    assert float(metric.result()) == 0.5


class TestLabels:
    @pytest.mark.parametrize("shape", [(8,), (8, 1), (None,), (None, 1)])
    def test_shapes(self, task, shape):
        task.check_shape(shape)

    @pytest.mark.parametrize("shape", [(8, 2), (8, 9), (8, 10, 1)])
    def test_other_shapes_are_refused(self, task, shape):
        with pytest.raises(ValueError, match=r"should have shape \(batch,\) or \(batch, 1\)\. Received: shape"):
            task.check_shape(shape)

    @pytest.mark.parametrize("shape", [(8, 10), (None, 10)])
    def test_one_hot_labels_are_told_how_to_mend(self, task, shape):
        with pytest.raises(ValueError, match=r"Labels 'number' of task 'digit' .*class indices.*argmax\(axis=-1\)"):
            task.check_shape(shape)

    @pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint64"])
    def test_dtypes(self, task, dtype):
        task.check_dtype(np.dtype(dtype))

    @pytest.mark.parametrize("dtype", ["float32", "float64", "bool"])
    def test_other_dtypes_are_refused(self, task, dtype):
        with pytest.raises(ValueError, match=rf'an integer dtype. Received: dtype {dtype}. Pass y.astype\("int32"\)'):
            task.check_dtype(np.dtype(dtype))

    def test_range(self, task):
        task.check_labels(np.arange(10))
        task.check_labels(np.arange(10, dtype="uint8")[:, None])

    @pytest.mark.parametrize(
        "labels, shown", [([0, 10], "10 (1 of 2"), ([[-2], [9]], "-2 (1 of 2"), ([12, -2, 12, 3], "-2, 12 (3 of 4")]
    )
    def test_indices_out_of_range_are_shown(self, task, labels, shown):
        with pytest.raises(ValueError) as caught:
            task.check_labels(np.array(labels))
        assert str(caught.value) == (
            "Labels 'number' of task 'digit' (Classification) should be class indices from 0 to 9. "
            f"Received: {shown} labels)."
        )

    def test_at_most_ten_are_shown(self, task):
        with pytest.raises(ValueError, match=r"Received: 10, 11, 12, 13, 14, 15, 16, 17, 18, 19 \(90 of 90 labels\)"):
            task.check_labels(np.arange(10, 100))
