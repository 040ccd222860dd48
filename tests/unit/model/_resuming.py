"""Small trainings that are stopped and go on."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from tests.models import largest_difference, two_task_data

EPOCHS = 4


class StoppedError(Exception):
    """In the place of a kill, within one process."""


class StopAt(keras.callbacks.Callback):
    """Stops a training before a batch of an epoch, counted over all epochs, or at the end of an epoch."""

    def __init__(self, *, batch=None, epoch=None):
        super().__init__()
        self.batch, self.epoch, self.seen = batch, epoch, 0

    def on_train_batch_begin(self, batch, logs=None):
        self.seen += 1
        if self.seen == self.batch:
            raise StoppedError

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise StoppedError


def build(balancer="dwa", **kwargs):
    keras.utils.set_random_seed(0)
    kinds = [mtl.tasks.Classification("a", 4), mtl.tasks.Regression("b")]
    model = mtl.build_model(mtl.backbones.MLP(6, units=(8,), dropout=0.3), kinds)
    model.compile(keras.optimizers.Adam(0.01), balancer=balancer, **kwargs)
    return model


def dataset(size=40):
    return tf.data.Dataset.from_tensor_slices(two_task_data(size)).shuffle(size, seed=1).batch(8)


def unknown(size=40):
    return dataset(size).filter(lambda x, y: True)


def arrays():
    x, y = two_task_data(40)
    return {"x": x, "y": y, "batch_size": 8, "validation_data": (x[:9], {name: value[:9] for name, value in y.items()})}


class Batches(keras.utils.PyDataset):
    def __init__(self, number=5):
        super().__init__()
        self._number = number
        self._x, self._y = two_task_data(8 * number)

    def __len__(self):
        return self._number

    def __getitem__(self, index):
        rows = slice(8 * index, 8 * index + 8)
        return self._x[rows], {name: value[rows] for name, value in self._y.items()}


DATA = {
    "known": lambda: {"x": dataset()},
    "unknown": lambda: {"x": unknown()},
    "endless": lambda: {"x": dataset().repeat(), "steps_per_epoch": 4},
    "endless in the end": lambda: {"x": unknown().repeat(), "steps_per_epoch": 4},
    "several epochs a pass": lambda: {"x": dataset(48), "steps_per_epoch": 3},
    "arrays": arrays,
    "arrays in their order": lambda: {**arrays(), "shuffle": False},
    "weighted arrays": lambda: {**arrays(), "sample_weight": {"a": np.linspace(0, 1, 40)}},
    "class weights": lambda: {**arrays(), "class_weight": {"a": {0: 3.0}}},
    "generator": lambda: {"x": (batch for batch in dataset().repeat()), "steps_per_epoch": 4},
}
RUNS_OUT = pytest.mark.filterwarnings("ignore:Your input ran out of data")


def train(data, folder, *callbacks, save_freq="epoch", epochs=EPOCHS, **kwargs):
    model = build(**kwargs)
    backup = keras.callbacks.BackupAndRestore(folder, save_freq=save_freq, delete_checkpoint=False)
    history = model.fit(**data, epochs=epochs, verbose=0, callbacks=[*callbacks, backup])
    return model, history.history


def check_same(first, second):
    (model, logs), (other, other_logs) = first, second
    assert largest_difference(model, other) <= 1e-6
    for one, two in zip(model.optimizer.variables, other.optimizer.variables, strict=True):
        np.testing.assert_allclose(one.numpy(), two.numpy(), atol=1e-6)
    assert set(logs) == set(other_logs)
    for name, values in logs.items():
        assert values[-1] == pytest.approx(other_logs[name][-1], abs=1e-5), name
