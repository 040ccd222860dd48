"""A training that goes on where it was when it was killed, and may be told to kill itself.

python -m tests.integration._resuming KIND FOLDER

KIND is a key of `KINDS`; with a `TF_CONFIG` this is one of several workers. The environment variable `KILL` is
`{moment}:{number}`: the process ends by SIGKILL at that moment, when it has come the numbered time. The final weights
and logs go to FOLDER/result.npz, of a worker to FOLDER/result{index}.npz.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

import keras_mtl as mtl

EPOCHS = 4


def mixture(seed=3):
    """Two data sets, each with the labels of one task, shuffled anew in each pass: 9 batches."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(70, 6)).astype("float32")
    a, b = np.argmax(x[:, :4], axis=1), (x[:, 0] - x[:, 5]).astype("float32")
    kinds = [mtl.tasks.Classification("a", 4), mtl.tasks.Regression("b")]
    first = tf.data.Dataset.from_tensor_slices((x[:40], {"a": a[:40]}))
    second = tf.data.Dataset.from_tensor_slices((x[40:], {"b": b[40:]}))
    return mtl.data.mix({"first": first, "second": second}, kinds, batch_size=8, at_end="once", shuffle=16, seed=seed)


def arrays():
    """The same as arrays, with the labels of both tasks, some of them missing."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(70, 6))
    a, b = np.argmax(x[:, :4], axis=1), x[:, 0] - x[:, 5]
    a[:30:2], b[5:19] = -1, np.nan
    return {"x": x, "y": {"a": a, "b": b}, "batch_size": 8}


def stream():
    """An endless one."""
    return mixture().repeat().shuffle(4, seed=1)


# The balancer, the data, how often the backup is written, steps at once.
KINDS = {
    "mixture": (["dwa", "upgrad"], lambda: {"x": mixture()}, "epoch", 1),
    "batches": (["dwa", "upgrad"], lambda: {"x": mixture()}, 4, 1),
    "arrays": (["famo", "pcgrad"], arrays, 4, 1),
    "stream": (["uncertainty", "upgrad"], lambda: {"x": stream(), "steps_per_epoch": 8}, 3, 2),
}


def build(balancer, at_once=1):
    """A small network with dropout and state of every kind."""
    keras.utils.set_random_seed(0)
    kinds = [mtl.tasks.Classification("a", 4), mtl.tasks.Regression("b")]
    model = mtl.build_model(mtl.backbones.MLP(6, units=(8,), dropout=0.3), kinds)
    model.compile(keras.optimizers.Adam(0.01), balancer=balancer, steps_per_execution=at_once)
    return model


def everything(model):
    """All that a training leaves in a model."""
    found = [*model.get_weights(), *(variable.numpy() for variable in model.optimizer.variables)]
    return {f"{index:03}": np.asarray(value) for index, value in enumerate(found)}


def kill_at(moment, number):
    """Has this process kill itself when a moment comes the numbered time."""
    count = 0

    def come():
        nonlocal count
        count += 1
        if moment == "late":
            time.sleep(1)
        elif count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(owner, name):
        old = getattr(owner, name)
        setattr(owner, name, lambda *args, **kwargs: (come(), old(*args, **kwargs))[1])

    def dumped(value, **options):
        text = dumps(value, **options)
        if "epoch" in value:
            Path(os.environ["NOTES"]).write_text(text[: len(text) // 2])
            come()
        return text

    if moment == "rename":  # the new file is complete beside the old one
        before(os, "replace")
    elif moment == "flush":  # the new file is being written
        before(os, "fsync")
    elif moment == "notes":  # after the weights, before the notes of Keras are begun
        before(json, "dumps")
    elif moment == "half":  # the notes of Keras are cut short
        dumps, json.dumps = json.dumps, dumped
    elif moment == "late":  # time for another worker between the look for a folder and its making
        before(os, "makedirs")
    elif moment == "step":
        before(mtl.MultiTaskModel, "get_metrics_result")


class Killer(keras.callbacks.Callback):
    """Kills the process at a batch or at the end of an epoch, before anything is saved there."""

    def __init__(self, moment, number):
        super().__init__()
        self._moment, self._left = moment, number

    def _come(self):
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_train_batch_end(self, batch, logs=None):
        if self._moment == "batch" and not self.model.progress.catching_up:
            self._come()

    def on_epoch_end(self, epoch, logs=None):
        if self._moment == "epoch":
            self._come()

    def on_epoch_begin(self, epoch, logs=None):
        if self._moment == "between":
            self._come()


def run(kind, folder):
    """Trains, from where it was."""
    balancer, data, save_freq, at_once = KINDS[kind]
    config = json.loads(os.environ.get("TF_CONFIG", "{}"))
    strategy = mtl.distribution.strategy(timeout=60) if config else tf.distribute.get_strategy()
    with strategy.scope():
        model = build(balancer, at_once)
    backup = keras.callbacks.BackupAndRestore(folder / "backup", save_freq=save_freq)
    moment, _, number = os.environ.get("KILL", "").partition(":")
    callbacks = [backup]
    if moment:
        os.environ["NOTES"] = str(folder / "backup" / "training_metadata.json")
        kill_at(moment, int(number))
        callbacks = [Killer(moment, int(number)), backup]
    history = model.fit(**data(), epochs=EPOCHS, verbose=0, callbacks=callbacks)
    # None where the process was killed after the last epoch: there is nothing left to train.
    last = {f"log {name}": np.asarray(values[-1]) for name, values in history.history.items()}
    worker = config["task"]["index"] if config else ""
    np.savez(folder / f"result{worker}.npz", **everything(model), **last)


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]))
