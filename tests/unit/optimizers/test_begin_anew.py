"""An optimizer that begins anew takes the steps of a new one."""

import keras
import numpy as np
import pytest

from keras_mtl import optimizers

NAMES = [
    "SGD",
    "RMSprop",
    "Adam",
    "AdamW",
    "Adadelta",
    "Adagrad",
    "Adamax",
    "Adafactor",
    "Nadam",
    "Ftrl",
    "Lion",
    "Lamb",
]
GRADIENTS = np.random.default_rng(0).normal(size=(6, 2, 3)).astype("float32")


def steps(optimizer, weights, gradients):
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [weights])
    return keras.ops.convert_to_numpy(weights)


def wrapped(optimizer):
    return keras.optimizers.LossScaleOptimizer(optimizers.LayerwiseLearningRate(optimizer))


@pytest.mark.parametrize("around", [lambda optimizer: optimizer, wrapped], ids=["alone", "wrapped"])
@pytest.mark.parametrize("name", NAMES)
def test_as_a_new_one(name, around):
    def make():
        options = {"momentum": 0.9} if name == "SGD" else {}
        return getattr(keras.optimizers, name)(0.01, **options)

    if name == "Adafactor" and around is wrapped:
        pytest.skip("Adafactor cannot have a learning rate for each layer.")
    used, weights = around(make()), keras.Variable(np.ones((2, 3), "float32"))
    steps(used, weights, GRADIENTS[:3])
    used.learning_rate = 0.02
    optimizers.begin_anew(used, [weights])
    assert used.iterations == 0
    new, others = make(), keras.Variable(keras.ops.convert_to_numpy(weights))
    new.learning_rate = 0.02
    scale = 1 if used.loss_scale_factor is None and not isinstance(used, keras.optimizers.LossScaleOptimizer) else 2**15
    np.testing.assert_allclose(
        steps(used, weights, scale * GRADIENTS[3:]), steps(new, others, GRADIENTS[3:]), rtol=1e-5, atol=1e-6
    )
