"""A model and batches with what is not finite in them."""

import keras
import numpy as np
import tensorflow as tf

from keras_mtl import MultiTaskModel, tasks
from tests.models import ONE_OF_EACH, policies, two_task_data

ONE_OF_A_KIND = [each for each in ONE_OF_EACH if each != "auto_lambda"]  # that one takes two data sets
BAD = (1, 4)  # the batches in which something is wrong
OPTIMIZERS = {
    "sums": lambda: keras.optimizers.SGD(0.1, momentum=0.9, gradient_accumulation_steps=2),
    "adafactor": lambda: keras.optimizers.Adafactor(0.01),
    "nadam": lambda: keras.optimizers.Nadam(0.01),
    "averages": lambda: keras.optimizers.Adam(0.01, use_ema=True),
}


@keras.saving.register_keras_serializable("tests")
class Root(keras.layers.Layer):
    """The square root of `f^2 x^2 + x^2`: where `x` is 0 it is 0, and its gradient is not a number."""

    def call(self, features, x):
        return keras.ops.sqrt(keras.ops.square(features * x) + keras.ops.square(x))


def a_model(root=None, policy="float32"):
    """Three tasks; `root` says in which part there is a square root."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    switch = inputs[:, :1]
    with policies(policy):
        low = keras.layers.Dense(12, activation="tanh", name="low")(inputs)
        high = keras.layers.Dense(8, activation="tanh", name="high")(low)
        high = Root(name="root", dtype="float32")(high, switch) if root == "trunk" else high
        head = keras.layers.Dense(5, activation="tanh", name="b_hidden")(high)
        head = Root(name="root", dtype="float32")(head, switch) if root == "head" else head
        outputs = {
            "a": keras.layers.Dense(4, activation="softmax", name="a", dtype="float32")(high),
            "b": keras.layers.Dense(1, name="b", dtype="float32")(head),
            "c": keras.layers.Dense(1, name="c", dtype="float32")(low),
        }
    return MultiTaskModel(
        inputs, outputs, [tasks.Classification("a", 4), tasks.Regression("b"), tasks.Regression("c", weight=0.5)]
    )


def some_data(fault=None, size=120):
    """Batches of 20. `fault`: a label of b that overflows, inputs for `Root`, or labels of b that are absent."""
    x, y = two_task_data(size)
    y["c"] = (x[:, 1] - 2 * x[:, 0]).astype("float32")
    x[:, 0] = np.where(np.abs(x[:, 0]) < 0.2, 0.2, x[:, 0])
    rows = np.isin(np.arange(size) // 20, BAD)
    if fault == "loss":
        y["b"][rows] = 1e30
    if "absent" in (fault or ""):
        y["b"][rows] = np.nan
    if "gradient" in (fault or ""):
        x[rows & (np.arange(size) % 20 == 13), 0] = 0
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(20)


def trained(data, balancer, on_nonfinite, root=None, optimizer=None, policy="float32", epochs=1, **arguments):
    model = a_model(root, policy)
    model.compile(optimizer or keras.optimizers.Adam(0.01), balancer=balancer, on_nonfinite=on_nonfinite, **arguments)
    return model, model.fit(data, epochs=epochs, shuffle=False, verbose=0).history


def sgd():
    return keras.optimizers.SGD(0.1, momentum=0.9)
