"""A guarded step is the one without a guard, and what it found is undone where that is not finite."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import MultiTaskModel, tasks
from tests.models import largest_difference, two_task_data, two_task_model


class Unbounded(keras.layers.Layer):
    """Adds a loss that overflows where an input is very large, and that no weight has a gradient of."""

    def call(self, inputs, features):
        self.add_loss(keras.ops.sum(keras.ops.square(keras.ops.stop_gradient(inputs))))
        return features


def with_frozen_dropout():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    trunk = keras.layers.Dense(16, activation="tanh", name="trunk")(inputs)
    dropped = keras.layers.Dropout(0.5, seed=1, name="dropped")(trunk)
    outputs = {"a": keras.layers.Dense(4, "softmax", name="a")(dropped), "b": keras.layers.Dense(1, name="b")(dropped)}
    model = MultiTaskModel(inputs, outputs, [tasks.Classification("a", 4), tasks.Regression("b")])
    model.get_layer("dropped").trainable = False
    return model


def batches(fault=None):
    """Three batches of 40; in the second, what `fault` says is in the labels of b."""
    x, y = two_task_data(120)
    if fault is not None:
        y["b"][40:80] = fault
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(40)


@pytest.mark.parametrize("balancer", ["equal", "pcgrad"])
def test_where_all_is_finite_it_is_the_same_to_the_bit(balancer):
    found = []
    for on_nonfinite in (None, "skip"):
        model = two_task_model()
        model.compile(keras.optimizers.Adam(0.01), balancer=balancer, on_nonfinite=on_nonfinite)
        model.fit(batches(), epochs=2, verbose=0)
        found.append(model)
    assert largest_difference(*found) == 0


@pytest.mark.parametrize("eagerly", [False, True])
def test_a_step_that_is_taken_again_drops_the_same_units(eagerly):
    """A frozen dropout draws too: once a step, whether it is taken again or not."""
    found = []
    for fault in (1e30, np.nan):  # an overflow, and a label that is missing
        model = with_frozen_dropout()
        model.compile(keras.optimizers.Adam(0.01), on_nonfinite="skip", run_eagerly=eagerly)
        history = model.fit(batches(fault), verbose=0).history
        assert history["b_skipped"] == [1 if fault == 1e30 else 0]
        found.append(model)
    assert largest_difference(*found) <= 1e-6
    first, second = (model.get_layer("dropped").seed_generator.state.numpy() for model in found)
    np.testing.assert_array_equal(first, second)


def test_an_added_loss_that_is_not_finite_stays_out_of_the_logs():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    features = Unbounded()(inputs, keras.layers.Dense(8, "tanh")(inputs[:, 1:]))
    outputs = {
        "a": keras.layers.Dense(4, "softmax", name="a")(features),
        "b": keras.layers.Dense(1, name="b")(features),
    }
    model = MultiTaskModel(inputs, outputs, [tasks.Classification("a", 4), tasks.Regression("b")])
    model.compile("adam", on_nonfinite="skip")
    x, y = two_task_data(120)
    x[50, 0] = 1e25
    history = model.fit(x, y, batch_size=40, shuffle=False, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert history["a_skipped"] == history["b_skipped"] == [0]
