"""The look-ahead is the difference that a step on one task's loss makes."""

import contextlib

import keras
import numpy as np
import pytest

from keras_mtl import MultiTaskModel, tasks
from keras_mtl.callbacks import TaskAffinity
from tests.models import policies, three_task_model, two_task_data, two_task_model


def batch(size=20):
    x, y = two_task_data(size)
    return x, y


def test_a_small_step_is_a_product_of_gradients():
    """To first order, the affinity is the learning rate times the product of the two gradients over the loss."""
    x, y = batch()
    y["c"] = y["b"] - 1
    model = three_task_model()
    model.compile("adam")
    (one, _), (tenth, _) = (model.make_look_ahead(rate)((x, y)) for rate in (1e-2, 1e-3))
    np.testing.assert_allclose(one, 10 * tenth, rtol=0.1, atol=2e-4)
    losses = model.evaluate(x, y, verbose=0, return_dict=True)
    losses = np.array([losses[f"{name}_loss"] for name in "abc"])
    products = tenth * losses  # symmetrical, as the product of gradients is
    np.testing.assert_allclose(products, products.T, rtol=0.05, atol=1e-5)
    assert (np.diag(tenth) > 0).all()


@pytest.mark.parametrize("learning_rate", [None, 0.01])
def test_mixed_precision(learning_rate):
    x, y = batch()
    y["c"] = y["b"]
    found = []
    for policy in ("float32", "mixed_float16"):
        model = three_task_model(policy=policy)
        with policies(policy):
            optimizer = keras.optimizers.SGD(0.01)
            model.compile(optimizer if policy == "float32" else keras.optimizers.LossScaleOptimizer(optimizer))
        found.append(model.make_look_ahead(learning_rate)((x, y))[0])
    np.testing.assert_allclose(found[0], found[1], rtol=0.1, atol=2e-3)


@pytest.mark.parametrize("learning_rate", [0.05, pytest.param(None, marks=pytest.mark.slow)])
def test_a_loss_below_0_that_a_step_lowers_is_helped(learning_rate):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    trunk = keras.layers.Dense(8)(inputs)
    outputs = {name: keras.layers.Dense(3, name=name)(trunk) for name in ("a", "b")}
    model = MultiTaskModel(inputs, outputs, [tasks.Regression(name, 3, loss="CosineSimilarity") for name in outputs])
    model.compile(keras.optimizers.SGD(0.05))
    x, _ = two_task_data(60)
    labels = {"a": x[:, :3], "b": x[:, :3]}
    model.fit(x, labels, epochs=60, verbose=0)
    losses = model.evaluate(x, labels, verbose=0, return_dict=True)
    assert losses["a_loss"] < 0 > losses["b_loss"]
    affinity, defined = model.make_look_ahead(learning_rate)((x, labels))
    assert defined.all()
    assert (np.diag(affinity) > 0).all()


def overflowing(x):
    """A model whose third task alone has a gradient beyond the range of float16, if the loss is scaled."""
    keras.utils.set_random_seed(0)
    with policies("mixed_float16"):
        inputs = keras.Input((6,))
        trunk = keras.layers.Dense(8)(inputs)
        steep = keras.layers.Rescaling(100.0)(trunk)
        outputs = {name: keras.layers.Dense(1, name=name)(steep if name == "c" else trunk) for name in ("a", "b", "c")}
        model = MultiTaskModel(inputs, outputs, [tasks.Regression(name) for name in outputs])
        inner = keras.optimizers.SGD(1e-3)
        model.compile(keras.optimizers.LossScaleOptimizer(inner, initial_scale=2.0**8, dynamic_growth_steps=10**6))
    y = {"a": x[:, 0], "b": x[:, 1], "c": 1000 * x[:, 2]}
    return model, y


@pytest.mark.parametrize("replicas", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_step_that_the_optimizer_leaves_out_says_nothing(replicas, request):
    x, _ = two_task_data(40)
    with request.getfixturevalue("two_replicas").scope() if replicas else contextlib.nullcontext():
        model, y = overflowing(x)
    callback = TaskAffinity(every=1)
    model.fit(x, y, batch_size=40, verbose=0, callbacks=[callback])
    assert callback.counts.tolist() == [[1] * 3, [1] * 3, [0] * 3]
    assert np.isfinite(callback.affinity[:2]).all()


def test_what_was_frozen_since_is_said():
    model = two_task_model()
    model.compile("sgd")
    model.get_layer("trunk").trainable = False
    with pytest.raises(ValueError, match="has changed since it was compiled"):
        model.make_look_ahead()
