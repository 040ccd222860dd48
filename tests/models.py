"""Models and data that several tests train."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import MultiTaskModel, tasks


def two_task_graph(seed=0):
    """Inputs and outputs of a small dense graph with a shared trunk and two heads, always with the same weights."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((6,))
    trunk = keras.layers.Dense(16, activation="tanh", name="trunk")(inputs)
    trunk = keras.layers.Dense(8, activation="tanh", name="trunk_2")(trunk)
    a = keras.layers.Dense(4, activation="softmax", name="a")(trunk)
    b = keras.layers.Dense(1, name="b")(keras.layers.Dense(4, activation="tanh", name="b_hidden")(trunk))
    return inputs, {"a": a, "b": b}


def two_task_model(seed=0, **task_arguments):
    """That graph as a multi-task model."""
    inputs, outputs = two_task_graph(seed)
    kinds = [
        tasks.Classification("a", 4, **task_arguments.get("a", {})),
        tasks.Regression("b", **task_arguments.get("b", {})),
    ]
    return MultiTaskModel(inputs, outputs, kinds)


def two_task_data(size=400, seed=0):
    """Inputs and labels for that model; the labels depend on the inputs."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(size, 6)).astype("float32")
    return x, {"a": np.argmax(x[:, :4], axis=1), "b": (x[:, 0] - x[:, 5]).astype("float32")}


def largest_difference(first, second):
    """The largest difference between the weights of two models."""
    pairs = zip(first.get_weights(), second.get_weights(), strict=True)
    return max(float(np.max(np.abs(a.astype("float64") - b))) for a, b in pairs if a.size)


def frozen_normalization(model):
    """Freezes batch normalization: the statistics of a batch are each replica's own, as in plain Keras."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def three_task_model(seed=0, policy="float32", levels=True):
    """A small model of three tasks, one of which reads a lower layer, or, without `levels`, the same as the others."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((6,))
    with policies(policy):
        low = keras.layers.Dense(12, activation="tanh", name="low")(inputs)
        high = keras.layers.Dense(8, activation="tanh", name="high")(low)
        outputs = {
            "a": keras.layers.Dense(4, activation="softmax", name="a", dtype="float32")(high),
            "b": keras.layers.Dense(1, name="b", dtype="float32")(high),
            "c": keras.layers.Dense(1, name="c", dtype="float32")(low if levels else high),
        }
    kinds = [tasks.Classification("a", 4), tasks.Regression("b"), tasks.Regression("c", weight=0.5)]
    return MultiTaskModel(inputs, outputs, kinds)


def three_task_data(size=400, batch_size=20, seed=0):
    """A data set for that model."""
    x, y = two_task_data(size, seed)
    y["c"] = (x[:, 1] - 2 * x[:, 0]).astype("float32")
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(batch_size)


# One of each family of balancers, by what the engine does for it.
ONE_OF_EACH = (
    *("equal", "uncertainty", "famo", "auto_lambda", "gradnorm", "db_mtl"),
    *("pcgrad", "upgrad", "nash_mtl", "moco", "graddrop"),
)


# What the default tests train where the slow ones train all: losses, a second pass, norms, a Gramian, a whole matrix.
BY_DEFAULT = ("equal", "famo", "gradnorm", "upgrad", "graddrop")


def others_slow(every, by_default=BY_DEFAULT):
    """The parameters of a test, all but a few marked `slow`."""
    return [case if case in by_default else pytest.param(case, marks=pytest.mark.slow) for case in every]


def second_stream(balancer):
    """What `fit` is to be given beside the training data."""
    parts = balancer if isinstance(balancer, list) else [balancer]
    return {"balancing_data": three_task_data(80, seed=1)} if "auto_lambda" in parts else {}


@contextlib.contextmanager
def policies(policy):
    """Layers made within have that dtype policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
