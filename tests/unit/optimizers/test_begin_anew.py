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


@pytest.mark.parametrize(
    ("name", "is_wrapped"),
    # Within the wrapper but those whose steps cannot be multiplied, which it refuses.
    [*((name, False) for name in NAMES), *((name, True) for name in NAMES if name not in ("Adafactor", "Ftrl"))],
)
def test_as_a_new_one(name, is_wrapped):
    def make():
        options = {"momentum": 0.9} if name == "SGD" else {}
        return getattr(keras.optimizers, name)(0.01, **options)

    used, weights = wrapped(make()) if is_wrapped else make(), keras.Variable(np.ones((2, 3), "float32"))
    steps(used, weights, GRADIENTS[:3])
    used.learning_rate = 0.02
    optimizers.begin_anew(used, [weights])
    assert used.iterations == 0
    new, others = make(), keras.Variable(keras.ops.convert_to_numpy(weights))
    new.learning_rate = 0.02
    scale = 2**15 if is_wrapped else 1
    np.testing.assert_allclose(
        steps(used, weights, scale * GRADIENTS[3:]), steps(new, others, GRADIENTS[3:]), rtol=1e-5, atol=1e-6
    )
