"""Losses whose labels may be missing, beside Keras' on the labels that are there."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import balancers, losses
from tests.models import policies

REDUCTIONS = ("sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none", None)


def softmax(*shape):
    return np.random.default_rng(1).dirichlet(np.ones(shape[-1]), shape[:-1]).astype("float32")


def numbers(*shape):
    return np.random.default_rng(2).uniform(0.1, 0.9, shape).astype("float32")


def classes(*shape, dtype="int64"):
    return np.random.default_rng(3).integers(0, 3, shape).astype(dtype)


# The loss, what is missing (a number, and its place in a label), labels, predictions.
CASES = {
    "numbers": ("MeanSquaredError", np.nan, numbers(6, 1), numbers(6, 1) ** 2),
    "numbers without an axis": ("MeanSquaredError", np.nan, numbers(6), numbers(6, 1) ** 2),
    "labels of several numbers": ("Huber", np.nan, numbers(6, 3), numbers(6, 3) ** 2),
    "yes or no": ("BinaryCrossentropy", np.nan, classes(6, 1) % 2 * 1.0, numbers(6, 1)),
    "one of several numbers": (losses.LabelwiseCrossentropy(), np.nan, classes(6, 3) % 2 * 1.0, numbers(6, 3)),
    "classes": ("SparseCategoricalCrossentropy", -1, classes(6), softmax(6, 3)),
    "a column of classes": ("SparseCategoricalCrossentropy", -1, classes(6, 1), softmax(6, 3)),
    "classes as floats": ("SparseCategoricalCrossentropy", np.nan, classes(6) * 1.0, softmax(6, 3)),
    "weighted classes": (
        losses.ClassWeighted("SparseCategoricalCrossentropy", [1.0, 2.0, 5.0]),
        *(-1, classes(6), softmax(6, 3)),
    ),
    "pixels": ("SparseCategoricalCrossentropy", 255, classes(6, 4, 5, dtype="uint8"), softmax(6, 4, 5, 3)),
    "pixels of numbers": ("MeanAbsoluteError", np.nan, numbers(6, 4, 5, 1), numbers(6, 4, 5, 1) ** 2),
}


def case(name, reduction="sum_over_batch_size"):
    """The masked loss and the plain one, labels with missing ones and without, predictions, which values count."""
    inner, marker, labels, predictions = CASES[name]
    plain = keras.losses.get(inner)
    plain = type(plain).from_config(plain.get_config())
    plain.reduction = reduction
    present = np.random.default_rng(4).random(plain.call(labels * 1.0, predictions).shape) < 0.6
    given = labels.copy()
    if given.ndim > present.ndim:
        given[..., -1][~present] = marker  # one number of several will do
    else:
        given[~present] = marker
    assert 0 < present.sum() < present.size
    masked = losses.Masked(plain, None if np.isnan(marker) else marker)
    return masked, plain, given, labels, predictions, present


def value_and_gradient(loss, labels, predictions, weights=None, jit_compile=False):
    @tf.function(jit_compile=jit_compile)
    def compute(predictions):
        with tf.GradientTape() as tape:
            tape.watch(predictions)
            value = loss(tf.constant(labels), predictions, weights)
        return value, tape.gradient(value, predictions)

    return [np.asarray(part) for part in compute(tf.constant(predictions))]


class TestValue:
    @pytest.mark.parametrize("name", CASES)
    def test_is_that_of_the_labels_that_are_there(self, name):
        masked, plain, given, labels, predictions, present = case(name)
        value, gradient = value_and_gradient(masked, given, predictions)
        expected, expected_gradient = value_and_gradient(plain, labels[present], predictions[present])
        np.testing.assert_allclose(value, expected, rtol=1e-6)
        np.testing.assert_allclose(gradient[present], expected_gradient, rtol=1e-5)
        np.testing.assert_array_equal(gradient[~present], 0.0)
        np.testing.assert_allclose(masked(given, predictions), value, rtol=1e-6)
        np.testing.assert_array_equal(np.asarray(masked.call(given, predictions))[~present], 0.0)
        assert masked.value_and_count(given, predictions)[1] == present.sum()

    @pytest.mark.parametrize("reduction", REDUCTIONS)
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("name", ["labels of several numbers", "pixels"])
    def test_of_each_reduction(self, name, weighted, reduction):
        masked, plain, given, labels, predictions, present = case(name, reduction)
        weights = numbers(*present.shape) if weighted else None
        expected = plain(labels[present], predictions[present], weights[present] if weighted else None)
        found = np.asarray(masked(given, predictions, weights))
        if reduction in ("none", None):
            np.testing.assert_array_equal(found[~present], 0.0)
            found = found[present]
        np.testing.assert_allclose(found, expected, rtol=1e-5)

    @pytest.mark.parametrize("name", CASES)
    def test_is_keras_own_where_nothing_is_missing(self, name):
        masked, plain, _, labels, predictions, present = case(name)
        weights = numbers(*present.shape)
        np.testing.assert_allclose(masked(labels, predictions), plain(labels, predictions), rtol=1e-6)
        np.testing.assert_allclose(masked(labels, predictions, weights), plain(labels, predictions, weights), rtol=1e-6)

    @pytest.mark.parametrize("reduction", REDUCTIONS)
    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("jit_compile", [False, True])
    def test_without_a_label_it_is_zero(self, reduction, weighted, jit_compile):
        loss = losses.Masked(keras.losses.BinaryCrossentropy(reduction=reduction))
        labels, weights = np.full((4, 2), np.nan), np.ones(4) if weighted else None
        value, gradient = value_and_gradient(loss, labels, numbers(4, 2), weights, jit_compile)
        np.testing.assert_array_equal(value, np.zeros(4 if reduction in ("none", None) else ()))
        np.testing.assert_array_equal(gradient, np.zeros((4, 2)))

    def test_a_label_without_weight_is_missing(self):
        masked, plain, given, labels, predictions, present = case("classes")
        weights = np.array([1.0, 0.0, 2.0, 0.0, 3.0, 1.0])
        counted = present & (weights != 0)
        expected = plain(labels[counted], predictions[counted], weights[counted])
        np.testing.assert_allclose(masked(given, predictions, weights), expected, rtol=1e-6)
        assert masked.value_and_count(given, predictions, weights)[1] == counted.sum()

    @pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 1, 1), (6, 4, 1), (1, 4, 5), (), (6, 4, 5, 1)])
    def test_weights_are_those_of_their_places(self, shape):
        masked, plain, given, labels, predictions, present = case("pixels", "mean_with_sample_weight")
        weights = numbers(*shape)
        each = weights.reshape(*shape, *[1] * (3 - len(shape)))
        each = np.broadcast_to(each[..., 0] if each.ndim == 4 else each, present.shape)
        expected = plain(labels[present], predictions[present], each[present])
        np.testing.assert_allclose(masked(given, predictions, weights), expected, rtol=1e-5)

    def test_integers_are_compared_as_such(self):
        labels, predictions = np.array([[2**24], [2**24 + 1]]), np.array([[2.0**24 - 2], [0.0]])
        assert losses.Masked("MeanSquaredError", 2**24 + 1)(labels, predictions) == 4.0
        labels, predictions = np.array([0, 255], "uint8"), softmax(2, 256)
        plain = keras.losses.SparseCategoricalCrossentropy()
        np.testing.assert_allclose(losses.Masked(plain, -1)(labels, predictions), plain(labels, predictions), rtol=1e-6)

    def test_classes_that_the_loss_ignores_do_not_count(self):
        labels, predictions = classes(40), softmax(40, 3)
        for ignored in (0, 2):
            plain = keras.losses.SparseCategoricalCrossentropy(ignore_class=ignored)
            masked = losses.Masked(plain, missing_label=-1)
            np.testing.assert_allclose(masked(labels, predictions), plain(labels, predictions), rtol=1e-6)
            expected = plain(labels[10:], predictions[10:])
            given = np.where(np.arange(40) < 10, -1, labels)
            np.testing.assert_allclose(masked(given, predictions), expected, rtol=1e-6)

    @pytest.mark.parametrize("num_classes", [3, 5])
    def test_the_axes_of_the_loss_are_those_of_the_labels(self, num_classes):
        """One value for each class of an example, over five by five places."""
        plain = keras.losses.Dice(axis=(1, 2))
        labels, predictions = np.eye(num_classes)[classes(6, 5, 5)], softmax(6, 5, 5, num_classes)
        values = np.asarray(plain.call(labels, predictions))
        np.testing.assert_allclose(losses.Masked(plain)(labels, predictions), values.mean(), rtol=1e-6)
        labels[2, 3, 1, 1] = np.nan
        left = values.sum() - values[2, 1]
        np.testing.assert_allclose(losses.Masked(plain)(labels, predictions), left / (values.size - 1), rtol=1e-6)

    def test_values_that_fit_no_labels_are_refused(self):
        class OverThePlaces(keras.losses.Loss):
            def call(self, y_true, y_pred):
                return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=1)

        with pytest.raises(ValueError, match=r"which labels a value is of.*\(6, 4, 3\) and values of shape \(6, 3\)"):
            losses.Masked(OverThePlaces())(numbers(6, 4, 3), numbers(6, 4, 3))

    def test_classes_that_are_ignored_within_weights_of_classes(self):
        plain = keras.losses.SparseCategoricalCrossentropy(ignore_class=0)
        labels, predictions = np.array([0, 0, 1]), softmax(3, 2)
        found = losses.Masked(losses.ClassWeighted(plain, [1.0, 1.0]))(labels, predictions)
        np.testing.assert_allclose(found, plain(labels, predictions), rtol=1e-6)

    def test_the_axis_of_the_loss_is_that_of_the_labels(self):
        plain = keras.losses.CategoricalCrossentropy(axis=1)
        labels, predictions = (np.moveaxis(part, -1, 1) for part in (np.eye(3)[classes(6, 4)], softmax(6, 4, 3)))
        given = labels.copy()
        given[:, 2, 2:] = np.nan
        expected = plain(labels[..., :2], predictions[..., :2])
        np.testing.assert_allclose(losses.Masked(plain)(given, predictions), expected, rtol=1e-6)

    def test_a_guarded_division_by_the_label_has_a_gradient(self):
        class Relative(keras.losses.Loss):
            def call(self, y_true, y_pred):
                error = keras.ops.divide_no_nan(y_true - y_pred, y_true)
                return keras.ops.mean(keras.ops.square(error), axis=-1)

        labels, predictions = np.array([[2.0], [np.nan]]), np.array([[1.0], [2.0]], "float32")
        value, gradient = value_and_gradient(losses.Masked(Relative()), labels, predictions)
        np.testing.assert_allclose(value, 0.25)
        np.testing.assert_allclose(gradient, [[-0.5], [0.0]])

    @pytest.mark.parametrize("axis", [1, 2, -1, -2])
    def test_the_axis_of_the_cosine_similarity(self, axis):
        """Over three by three numbers, where the values of any axis have the same shape."""
        plain = keras.losses.CosineSimilarity(axis=axis)
        labels, predictions = numbers(4, 3, 3), numbers(4, 3, 3) ** 2 - 0.2
        values = np.asarray(plain.call(labels, predictions))
        given = np.moveaxis(labels.copy(), axis, -1)
        given[0, 1, 2] = given[2, 0, 0] = np.nan
        present = ~np.isnan(given).any(-1)
        found = losses.Masked(plain)(np.moveaxis(given, -1, axis), predictions)
        np.testing.assert_allclose(found, values[present].mean(), rtol=1e-6)

    @pytest.mark.parametrize("dtype", [None, "float16"])
    def test_dtype_is_that_of_keras(self, dtype):
        with policies("mixed_float16"):
            predictions = keras.layers.Dense(2)(numbers(4, 3))
        plain = keras.losses.MeanSquaredError(dtype=dtype)
        labels = numbers(4, 2)
        found, expected = losses.Masked(plain)(labels, predictions), plain(labels, predictions)
        assert found.dtype == expected.dtype == (dtype or "float32")
        np.testing.assert_allclose(found, expected, rtol=1e-3)
        labels[0, 1] = np.nan
        np.testing.assert_allclose(
            losses.Masked(plain)(labels, predictions), plain(labels[1:], predictions[1:]), rtol=1e-3
        )

    def test_under_a_strategy_it_is_a_mean_of_means_as_keras_has_it(self, two_replicas):
        labels, predictions = np.array([[1.0], [np.nan]]), np.array([[3.0], [9.0]])
        found = two_replicas.run(lambda: losses.Masked("MeanSquaredError")(labels, predictions))
        assert [float(value) for value in two_replicas.experimental_local_results(found)] == [2.0, 2.0]


class TestMask:
    @pytest.mark.parametrize("jit_compile", [False, True])
    @pytest.mark.parametrize("weighted", [False, True])
    def test_what_keras_masks_does_not_count(self, jit_compile, weighted):
        inputs = keras.Input((5,), dtype="int32")
        hidden = keras.layers.Embedding(4, 3, mask_zero=True)(inputs)
        model = keras.Model(inputs, keras.layers.Dense(3, "softmax")(hidden))
        x, labels = np.random.default_rng(5).integers(0, 4, (8, 5)), classes(8, 5)
        weights = numbers(8, 5) if weighted else None
        predictions, plain = model.predict(x, verbose=0), keras.losses.SparseCategoricalCrossentropy()

        def evaluated(loss, labels):
            model.compile("sgd", loss=loss, jit_compile=jit_compile)
            return model.evaluate(x, labels, sample_weight=weights, verbose=0)

        np.testing.assert_allclose(evaluated(losses.Masked(plain, -1), labels), evaluated(plain, labels), rtol=1e-6)
        given = np.where(numbers(8, 5) < 0.4, -1, labels)
        counted = (given != -1) & (x != 0)
        expected = plain(labels[counted], predictions[counted], weights[counted] if weighted else None)
        np.testing.assert_allclose(evaluated(losses.Masked(plain, -1), given), expected, rtol=1e-6)


class TestArguments:
    def test_round_trip(self):
        loss = losses.Masked(keras.losses.BinaryFocalCrossentropy(gamma=3.0, reduction="sum"), np.int8(-1), name="some")
        found = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
        assert found.get_config() == loss.get_config()
        assert (found.loss.get_config()["gamma"], found.reduction) == (3.0, "sum")
        assert (found.missing_label, found.name) == (-1, "some")
        assert losses.Masked("Huber").get_config()["name"] == "huber_loss"

    @pytest.mark.parametrize("label", [-1.0, np.nan, True, "-1", [-1]])
    def test_the_missing_label_is_an_integer(self, label):
        with pytest.raises(ValueError, match="`missing_label` should be an integer, such as -1, or None"):
            losses.Masked("Huber", label)

    @pytest.mark.parametrize(
        "loss",
        [losses.Masked("Huber"), losses.balanced({"a": "mse"}, balancers.Equal())[0]["a"], keras.losses.Circle()],
        ids=["masked", "balanced", "of pairs"],
    )
    def test_losses_that_are_not_of_an_example_alone_are_refused(self, loss):
        with pytest.raises(ValueError, match="`loss` should have a value for each example.*Received: loss=<"):
            losses.Masked(loss)

    def test_a_bare_function_is_refused(self):
        with pytest.raises(ValueError, match=r"`loss` should be a `keras.losses.Loss`.*'MeanSquaredError', not 'mse'"):
            losses.Masked("mse")

    def test_one_value_for_the_batch_is_refused(self):
        labels, predictions = numbers(6, 4, 5, 1).round(), numbers(6, 4, 5, 1)
        with pytest.raises(ValueError, match=r"needs a value for each example.*by the loss 'dice' \(Dice\)"):
            losses.Masked("Dice")(labels, predictions)
        plain, given = keras.losses.Dice(axis=(1, 2, 3)), labels.copy()
        given[2, 0, 0] = np.nan
        expected = plain(np.delete(labels, 2, axis=0), np.delete(predictions, 2, axis=0))
        np.testing.assert_allclose(losses.Masked(plain)(given, predictions), expected, rtol=1e-5)

    def test_weights_of_the_numbers_of_a_label_are_refused(self):
        with pytest.raises(ValueError, match=r"at most 1 axes.*weights of shape \(6, 3\)\. Give one for each example"):
            losses.Masked("MeanSquaredError")(numbers(6, 3), numbers(6, 3), numbers(6, 3))
