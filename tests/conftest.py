"""Two logical CPUs, so that replicas are real, and models to train."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import MultiTaskModel, tasks

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


@pytest.fixture(autouse=True)
def _fresh_state():
    keras.utils.set_random_seed(0)
    yield
    keras.backend.clear_session()


@pytest.fixture
def two_replicas():
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


@pytest.fixture
def digit_tasks():
    """One task of each kind, over the same digits."""
    return [tasks.Classification("digit", 10), tasks.BinaryClassification("is_even"), tasks.Regression("value")]


@pytest.fixture
def digits():
    """64 random images with labels of all three tasks."""
    rng = np.random.default_rng(0)
    digit = rng.integers(0, 10, 64)
    images = rng.integers(0, 256, (64, 8, 8, 1)).astype("uint8")
    return images, {"digit": digit, "is_even": digit % 2 == 0, "value": digit.astype("float32")}


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
    kinds = [tasks.Classification("a", 4, **task_arguments.get("a", {})), tasks.Regression("b", **task_arguments.get("b", {}))]
    return MultiTaskModel(inputs, outputs, kinds)


def two_task_data(size=400, seed=0):
    """Inputs and labels for that model; the labels depend on the inputs."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(size, 6)).astype("float32")
    return x, {"a": np.argmax(x[:, :4], axis=1), "b": (x[:, 0] - x[:, 5]).astype("float32")}


def largest_difference(first, second):
    """The largest difference between the weights of two models."""
    pairs = zip(first.get_weights(), second.get_weights(), strict=True)
    return max(float(np.max(np.abs(a - b))) for a, b in pairs if a.size)
