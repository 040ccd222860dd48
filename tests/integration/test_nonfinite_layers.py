"""What is not finite within layers, and what they add to the loss and keep."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import MultiTaskModel, tasks
from tests.integration._nonfinite import a_model, sgd, some_data
from tests.models import others_slow, two_task_data


def infinite_input(value):
    """Data with one such number among the inputs of the second batch."""
    x, y = two_task_data(120)
    x[25, 3] = value
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(20)


def saturating(normalized=False):
    """Two tasks on a layer whose outputs, and their gradients, are finite where an input is infinite."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    x = keras.layers.BatchNormalization(name="norm")(inputs) if normalized else inputs
    x = keras.layers.Dense(12, activation="tanh", name="low")(x)
    outputs = {name: keras.layers.Dense(size, name=name)(x) for name, size in (("a", 4), ("b", 1))}
    outputs["a"] = keras.layers.Softmax()(outputs["a"])
    return MultiTaskModel(inputs, outputs, [tasks.Classification("a", 4), tasks.Regression("b")])


@pytest.mark.parametrize("balancer", others_slow(["equal", "upgrad", "graddrop"], by_default=("upgrad",)))
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_an_infinite_input_of_a_layer_that_saturates(balancer, value):
    model = saturating()
    model.compile(sgd(), balancer=balancer, on_nonfinite="skip")
    history = model.fit(infinite_input(value), shuffle=False, verbose=0).history
    assert history["a_skipped"] == history["b_skipped"] == [1]
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    model.compile(sgd(), balancer=balancer, on_nonfinite="raise")
    with pytest.raises(FloatingPointError, match="task 'a' and 'b' was not finite in step 2 of epoch 1"):
        model.fit(infinite_input(value), shuffle=False, verbose=0)


@pytest.mark.parametrize("replicas", [1, 2])
def test_moving_statistics_that_tasks_share_stay_finite(replicas, two_replicas):
    with two_replicas.scope() if replicas == 2 else tf.distribute.get_strategy().scope():
        model = saturating(normalized=True)
        model.compile(sgd(), on_nonfinite="skip")
    history = model.fit(infinite_input(np.nan), shuffle=False, verbose=0).history
    assert history["a_skipped"] == [1]
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    assert np.abs(model.get_layer("norm").moving_mean.numpy()).max() > 0


@pytest.mark.parametrize("eagerly", [False, True])
def test_moving_statistics_stay_finite_where_every_loss_is(eagerly):
    """The variance of a batch with 1e21 in it is infinite, what is normalized by it is not."""
    model = saturating(normalized=True)
    model.compile(sgd(), on_nonfinite="skip", run_eagerly=eagerly)
    model.fit(infinite_input(1e21), shuffle=False, verbose=0)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    assert np.abs(model.get_layer("norm").moving_mean.numpy()).max() > 0


@keras.saving.register_keras_serializable("tests")
class LargestSoFar(keras.layers.Layer):
    """Keeps the largest value of each channel that was above 1 in a batch: minus infinity until then."""

    def build(self, input_shape):
        low = keras.initializers.Constant(-np.inf)
        self.largest = self.add_weight(shape=input_shape[1:], initializer=low, trainable=False, name="largest")

    def call(self, inputs):
        found = keras.ops.max(inputs, axis=0)
        self.largest.assign(keras.ops.where(found > 1, keras.ops.maximum(found, self.largest), self.largest))
        return inputs


def test_what_was_never_finite_moves_as_without_the_guard():
    found = []
    for on_nonfinite in ("skip", None):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((6,))
        x = keras.layers.Dense(8, name="low")(LargestSoFar(name="kept")(inputs))
        outputs = {name: keras.layers.Dense(1, name=name)(x) for name in "ab"}
        model = MultiTaskModel(inputs, outputs, [tasks.Regression(name) for name in "ab"])
        model.compile(sgd(), on_nonfinite=on_nonfinite)
        rows = np.random.default_rng(0).normal(size=(60, 6)).astype("float32")
        rows[:, 2] = np.minimum(rows[:, 2], 0.9)
        model.fit(rows, dict.fromkeys("ab", rows[:, 0]), batch_size=20, shuffle=False, verbose=0)
        found.append(model.get_layer("kept").largest.numpy())
    np.testing.assert_array_equal(*found)
    assert np.isfinite(found[0]).sum() == 5


@keras.saving.register_keras_serializable("tests")
def group_lasso(kernel):
    """The lengths of a kernel's columns: at 0 the gradient of one is not a number."""
    return keras.ops.sum(keras.ops.sqrt(keras.ops.sum(keras.ops.square(kernel), axis=0)))


def test_a_regularization_loss_whose_gradient_is_not_finite():
    model = a_model()
    low = model.get_layer("low")
    low.kernel_regularizer = low.kernel.regularizer = group_lasso
    kernel = low.kernel.numpy()
    kernel[:, 2] = 0
    low.kernel.assign(kernel)
    model.compile(sgd(), on_nonfinite="skip")
    history = model.fit(some_data(), verbose=0).history
    assert history["a_skipped"] == history["b_skipped"] == history["c_skipped"] == [6]
    np.testing.assert_array_equal(low.kernel.numpy(), kernel)


def test_a_convolution_in_groups():
    """A fault in what the second group reads does not show in the first output."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 2))
    x = keras.layers.Conv2D(4, 3, groups=2, activation="tanh")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    outputs = {name: keras.layers.Dense(1, name=name)(x) for name in "ab"}
    model = MultiTaskModel(inputs, outputs, [tasks.Regression(name) for name in "ab"])
    model.compile(sgd(), on_nonfinite="skip")
    images = np.random.default_rng(0).normal(size=(30, 6, 6, 2)).astype("float32")
    images[12, 2, 2, 1] = np.inf
    labels = {name: np.ones(30, "float32") for name in "ab"}
    history = model.fit(images, labels, batch_size=10, shuffle=False, verbose=0).history
    assert history["a_skipped"] == history["b_skipped"] == [1]
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
