"""A worker of a training: trains, evaluates and predicts, and writes what came of it.

python -m tests.integration._worker BALANCER RESULT.npz [weight of a task]
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

import keras_mtl as mtl


def data():
    """70 examples in batches of 8, labels of both tasks missing, the last batch without any of one."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(70, 6)).astype("float32")
    a, b = np.argmax(x[:, :4], axis=1), (x[:, 0] - x[:, 5]).astype("float32")
    a[:30:2], b[5:19], b[64:] = -1, np.nan, np.nan
    return tf.data.Dataset.from_tensor_slices((x, {"a": a, "b": b})).batch(8)


def run(strategy, balancer, weight=1.0):
    """The weights after 18 steps of SGD, what `evaluate` says and what `predict` gives."""
    keras.utils.set_random_seed(0)
    with strategy.scope():
        kinds = [mtl.tasks.Classification("a", 4), mtl.tasks.Regression("b", weight=weight)]
        model = mtl.build_model(mtl.backbones.MLP(6, units=(8,)), kinds)
        model.compile(keras.optimizers.SGD(0.05), balancer=balancer)
    second = {"balancing_data": data().take(2)} if balancer == "auto_lambda" else {}
    model.fit(data(), epochs=2, verbose=0, shuffle=False, **second)
    logs = model.evaluate(data(), verbose=0, return_dict=True)
    predictions = model.predict(data().map(lambda x, y: x), verbose=0)
    found = {f"weight {index}": weight for index, weight in enumerate(model.get_weights())}
    found |= {f"log {name}": np.asarray(value) for name, value in logs.items()}
    return found | {f"prediction {name}": value for name, value in predictions.items()}


if __name__ == "__main__":
    np.savez(sys.argv[2], **run(mtl.distribution.strategy(timeout=60), sys.argv[1], *map(float, sys.argv[3:])))
