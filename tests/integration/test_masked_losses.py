"""Masked losses in a plain `keras.Model` do what `MultiTaskModel` does where labels are missing."""

import keras
import numpy as np
import pytest

from keras_mtl import MultiTaskModel, losses, tasks
from tests.models import largest_difference, others_slow, two_task_data, two_task_graph, two_task_model


def numbers(*shape):
    return np.random.default_rng(2).uniform(0.1, 0.9, shape).astype("float32")


def with_missing(labels):
    """Those of `two_task_data`, half of them missing: some of each task, and all of `b` in the last batch of 20."""
    rng, size = np.random.default_rng(6), len(labels["a"])
    b = np.where(rng.random(size) < 0.5, np.nan, labels["b"])
    b[-20:] = np.nan
    return {"a": np.where(rng.random(size) < 0.5, -1, labels["a"]), "b": b.astype("float32")}


def masked_losses():
    return {"a": losses.Masked("SparseCategoricalCrossentropy", -1), "b": losses.Masked("MeanSquaredError")}


def test_the_value_is_that_of_the_engine():
    x, y = two_task_data(60)
    y = with_missing(y)
    weights = {"a": numbers(60), "b": np.where(numbers(60) < 0.3, 0.0, numbers(60))}
    model = two_task_model()
    model.compile("sgd")
    logs = model.evaluate(x, y, sample_weight=weights, batch_size=60, verbose=0, return_dict=True)
    predictions = model.predict(x, verbose=0)
    for task, loss in masked_losses().items():
        found = loss(y[task], predictions[task], weights[task])
        np.testing.assert_allclose(found, logs[f"{task}_loss"], rtol=1e-6)


def test_the_value_is_that_of_the_engine_for_places():
    inputs = keras.Input((None, 3))
    tagging = tasks.SequenceTagging("tag", 3)
    model = MultiTaskModel(inputs, {"tag": keras.layers.Dense(3, "softmax", name="tag")(inputs)}, [tagging])
    model.compile("sgd")
    x, y = numbers(8, 5, 3), np.where(numbers(8, 5) < 0.4, -1, np.random.default_rng(3).integers(0, 3, (8, 5)))
    logs = model.evaluate(x, {"tag": y}, sample_weight=numbers(8), verbose=0, return_dict=True)
    found = losses.Masked(tagging.loss, -1)(y, model.predict(x, verbose=0)["tag"], numbers(8))
    np.testing.assert_allclose(found, logs["tag_loss"], rtol=1e-6)


@pytest.mark.parametrize(
    "options",
    others_slow([{"jit_compile": True}, {"run_eagerly": True}, {}], by_default=({"jit_compile": True},)),
    ids=str,
)
def test_training_is_that_of_a_multi_task_model(options):
    x, y = two_task_data(100)
    y = with_missing(y)
    plain, other = keras.Model(*two_task_graph()), two_task_model()
    plain.compile(keras.optimizers.SGD(0.1), loss=masked_losses(), **options)
    other.compile(keras.optimizers.SGD(0.1))
    for model in (plain, other):
        model.fit(x, y, batch_size=20, epochs=2, shuffle=False, verbose=0)
    assert largest_difference(plain, other) < 1e-6
    assert largest_difference(plain, two_task_model()) > 1e-2


def test_a_saved_model_goes_on(tmp_path):
    x, y = two_task_data(40)
    y = with_missing(y)
    model = keras.Model(*two_task_graph())
    model.compile("sgd", loss=masked_losses())
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    found = keras.saving.load_model(tmp_path / "model.keras")
    for each in (model, found):
        each.fit(x, y, shuffle=False, verbose=0)
    assert largest_difference(model, found) == 0


def test_a_task_without_a_label_in_a_batch_is_not_active():
    x, y = two_task_data(20)
    model = keras.Model(*two_task_graph())
    by_task, callback = losses.balanced(masked_losses(), "uncertainty")
    callback.attach(model)
    model.compile(keras.optimizers.SGD(0.1), loss=by_task)
    before = [np.array(weight) for weight in model.get_layer("b").weights]
    logs = model.fit(x, with_missing(y), callbacks=[callback], batch_size=20, verbose=0).history
    assert logs["b_loss"] == [0.0]
    assert callback.balancer.log_variance[0] != 0
    assert callback.balancer.log_variance[1] == 0
    for weight, expected in zip(model.get_layer("b").weights, before, strict=True):
        np.testing.assert_array_equal(weight, expected)


@pytest.mark.parametrize("name", ["uncertainty", "dwa"])
def test_balanced_they_train_as_a_multi_task_model(name):
    """By gradient descent without momentum, which would move the head of a task without a label in a batch."""
    x, y = two_task_data(100)
    y = with_missing(y)
    plain, other = keras.Model(*two_task_graph()), two_task_model()
    by_task, callback = losses.balanced(masked_losses(), name)
    callback.attach(plain)
    plain.compile(keras.optimizers.SGD(0.1), loss=by_task)
    other.compile(keras.optimizers.SGD(0.1), balancer=name)
    plain.fit(x, y, batch_size=20, epochs=4, shuffle=False, callbacks=[callback], verbose=0)
    other.fit(x, y, batch_size=20, epochs=4, shuffle=False, verbose=0)
    for received, expected in zip(plain.layers, other.layers, strict=False):
        for weight, other_weight in zip(received.weights, expected.weights, strict=True):
            np.testing.assert_allclose(weight, other_weight, rtol=1e-5, atol=1e-6)
    for weight, other_weight in zip(plain.loss_balancer.weights, other.loss_balancer.weights, strict=True):
        np.testing.assert_allclose(weight, other_weight, rtol=1e-5, atol=1e-6)
