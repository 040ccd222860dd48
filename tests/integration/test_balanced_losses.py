"""Balanced losses in a plain `keras.Model` do what `MultiTaskModel` does."""

import keras
import numpy as np
import pytest

from keras_mtl import MultiTaskModel, balancers, tasks
from keras_mtl.losses import balanced
from tests.models import others_slow

CASES = {
    "equal": lambda: balancers.Equal(),
    "fixed": lambda: balancers.Fixed({"a": 0.1, "b": 3.0}),
    "uncertainty": lambda: balancers.Uncertainty(),
    "uncertainty_so": lambda: balancers.get("uncertainty_so"),
    "dwa": lambda: balancers.get("dwa"),
    "gls": lambda: balancers.get("gls"),
    "scale_invariant": lambda: balancers.get("scale_invariant"),
    "imtl_l": lambda: balancers.get("imtl_l"),
    "stch": lambda: balancers.get("stch"),
    "go4align": lambda: balancers.get("go4align"),
    "rlw": lambda: balancers.classes()["rlw"](seed=3),
}


def graph():
    keras.utils.set_random_seed(5)
    inputs = keras.Input((6,))
    trunk = keras.layers.Dense(16, activation="tanh")(inputs)
    return inputs, {
        "a": keras.layers.Dense(1, name="a")(trunk),
        "b": keras.layers.Dense(3, activation="softmax", name="b")(trunk),
    }


def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(112, 6)).astype("float32")
    return x, {"a": 3 * x[:, :1], "b": np.argmax(x[:, 1:4], axis=1)}


@pytest.mark.parametrize("name", others_slow(CASES, by_default=("uncertainty", "dwa", "rlw")))
def test_the_same_weights_after_21_steps(name):
    make, found = CASES[name], []
    x, y = data()
    for plain in (True, False):
        inputs, outputs = graph()
        optimizer, arguments = keras.optimizers.Adam(0.01), {"batch_size": 16, "epochs": 3, "shuffle": False}
        if plain:
            model = keras.Model(inputs, outputs)
            losses, callback = balanced({"a": "mse", "b": "SparseCategoricalCrossentropy"}, make())
            callback.attach(model)
            model.compile(optimizer, loss=losses)
            arguments["callbacks"] = [callback]
        else:
            model = MultiTaskModel(inputs, outputs, [tasks.Regression("a"), tasks.Classification("b", 3)])
            model.compile(optimizer, balancer=make())
        history = model.fit(x, y, verbose=0, **arguments).history
        learnt = [np.array(weight) for layer in model.layers for weight in layer.weights]
        balancer = model.loss_balancer
        found.append((learnt, [np.array(weight) for weight in balancer.weights], history))
    for received, expected in zip(found[0][0], found[1][0], strict=True):
        np.testing.assert_allclose(received, expected, rtol=1e-6, atol=1e-6)
    for received, expected in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-6)
    for key in ("loss", "a_loss", "b_loss"):
        np.testing.assert_allclose(found[0][2][key], found[1][2][key], rtol=1e-5)


def test_every_balancer_that_it_takes_is_compared():
    kinds = (balancers.DirectionBalancer, balancers.BilevelBalancer, balancers.GradientNormBalancer)
    taken = {
        name for name, cls in balancers.classes().items() if not issubclass(cls, kinds) and not cls.needs_after_step
    }
    assert taken == set(CASES)
