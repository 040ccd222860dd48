"""One or several numbers: what it predicts, and which labels it takes."""

import keras
import numpy as np
import pytest

from keras_mtl.tasks import Regression


@pytest.mark.parametrize("num_outputs", [0, -1, 1.0, "2", None, True], ids=repr)
def test_num_outputs_is_an_integer_of_at_least_one(num_outputs):
    with pytest.raises(ValueError, match=f"`num_outputs` should be an integer of at least 1. .*={num_outputs!r}$"):
        Regression("age", num_outputs)


@pytest.mark.parametrize("num_outputs", [1, 3])
def test_predicts_numbers_without_bounds(num_outputs):
    features = keras.Input((6,))
    model = keras.Model(features, Regression("age", num_outputs).head(features))
    prediction = np.asarray(model(100 * np.random.default_rng(0).normal(size=(50, 6))))
    assert prediction.shape == (50, num_outputs)
    assert prediction.min() < -10
    assert prediction.max() > 10


def test_is_trained_by_the_squared_error_and_compared_by_the_absolute_one():
    task = Regression("place", 2)
    assert isinstance(task.loss, keras.losses.MeanSquaredError)
    assert [metric.name for metric in task.metrics] == ["mae"]
    labels, prediction = np.zeros((2, 2)), np.array([[1.0, -3.0], [0.0, 2.0]])
    assert float(task.loss(labels, prediction)) == (1 + 9 + 4) / 4
    metric = task.metrics[0]
    metric.update_state(labels, prediction)
    assert float(metric.result()) == (1 + 3 + 2) / 4


class TestLabels:
    @pytest.mark.parametrize(
        "num_outputs, shape", [(1, (8,)), (1, (8, 1)), (1, (None,)), (3, (8, 3)), (3, (None, 3)), (3, (8, None))]
    )
    def test_shapes(self, num_outputs, shape):
        Regression("age", num_outputs).check_shape(shape)

    @pytest.mark.parametrize(
        "num_outputs, shape, expected",
        [
            (1, (8, 2), r"\(batch,\) or \(batch, 1\)"),
            (3, (8,), r"\(batch, 3\)"),
            (3, (8, 1), r"\(batch, 3\)"),
            (3, (8, 2), r"\(batch, 3\)"),
            (3, (8, 3, 1), r"\(batch, 3\)"),
        ],
    )
    def test_other_shapes_are_refused(self, num_outputs, shape, expected):
        with pytest.raises(ValueError, match=rf"should have shape {expected}\. Received: shape"):
            Regression("age", num_outputs).check_shape(shape)

    @pytest.mark.parametrize("dtype", ["uint8", "int64", "float16", "float32", "float64"])
    def test_dtypes(self, dtype):
        Regression("age").check_dtype(np.dtype(dtype))
        Regression("age").check_labels(np.array([0, 7], dtype))

    def test_booleans_are_refused(self):
        with pytest.raises(ValueError, match="should be of an integer or float dtype. Received: dtype bool"):
            Regression("age").check_dtype(np.dtype(bool))

    def test_any_finite_number_passes(self):
        Regression("age").check_labels(np.array([-1e38, 0.0, 1e-38]))

    @pytest.mark.parametrize(
        "labels, shown",
        [([1.0, np.inf], "inf (1 of 2"), ([[np.inf, 0.0], [-np.inf, 1.0]], "-inf, inf (2 of 4")],
    )
    def test_what_is_not_finite_is_shown(self, labels, shown):
        with pytest.raises(ValueError) as caught:
            Regression("age", label="years").check_labels(np.array(labels))
        assert str(caught.value) == (
            f"Labels 'years' of task 'age' (Regression) should be finite numbers. Received: {shown} labels)."
        )
