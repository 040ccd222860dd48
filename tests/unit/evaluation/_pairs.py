"""What other processes import."""

import contextlib

import keras
import tensorflow as tf

from keras_mtl import build_model, tasks
from tests.models import two_task_data

TASKS = [tasks.Classification("a", 4), tasks.Regression("b"), tasks.Regression("c")]


def build(subset):
    backbone = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(8, activation="tanh"), keras.layers.Dropout(0.2)]
    )
    return build_model(backbone, subset)


def labels(size, seed):
    x, y = two_task_data(size, seed)
    return x, {**y, "c": y["b"]}


def train(subset):
    x, y = labels(120, 0)
    data = tf.data.Dataset.from_tensor_slices((x, {task.name: y[task.name] for task in subset}))
    return data.shuffle(120).batch(20)


def held_out(subset):
    x, y = labels(80, 1)
    return tf.data.Dataset.from_tensor_slices((x, {task.name: y[task.name] for task in subset})).batch(80)


def failing(subset):
    if {task.name for task in subset} == {"a", "c"}:
        raise RuntimeError("broken off")
    return build(subset)


def cached(scope=contextlib.nullcontext):
    """A function that keeps the backbone of its first call, made within a strategy's scope."""
    kept = []

    def build_on_it(subset):
        with scope():
            if not kept:
                kept.append(keras.Sequential([keras.Input((6,)), keras.layers.Dense(8)]))
            return build_model(kept[0], subset)

    return build_on_it


def never(subset):
    raise AssertionError("data were asked for")
