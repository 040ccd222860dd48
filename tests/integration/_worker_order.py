"""A worker that trains on arrays, each example of which moves a weight of its own.

python -m tests.integration._worker_order MODE RESULT.npz
"""

import json
import os
import shutil
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import keras_mtl as mtl


def run(mode, folder):
    """The weight of each of 16 examples, all alike if each was trained on as often, and the last epochs."""
    is_first = json.loads(os.environ["TF_CONFIG"])["task"]["index"] == 0
    with mtl.distribution.scope(timeout=60):
        inputs = keras.Input((16,))
        layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros", name="a")
        other = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros", name="b")
        kinds = [mtl.tasks.Regression("a"), mtl.tasks.Regression("b")]
        model = mtl.MultiTaskModel(inputs, {"a": layer(inputs), "b": other(inputs)}, kinds)
        model.compile(keras.optimizers.SGD(0.1))
    callbacks, more = [], {}
    if mode == "saved":
        callbacks = [keras.callbacks.BackupAndRestore(folder / "backup")]
    elif mode == "saved by the first":
        callbacks = [keras.callbacks.ModelCheckpoint(folder / "found.weights.h5", save_weights_only=True)] * is_first
    elif mode == "split":
        more = {"validation_split": 0.25}
    x, y = np.eye(16, dtype="float32"), np.ones(16, "float32")
    if mode == "validated by the first":
        more = {"validation_data": (x, {"a": y, "b": y})} if is_first else {}
    elif mode in ("backup of the first", "notes of the first"):
        own = folder / f"backup of {is_first}"
        callbacks = [keras.callbacks.BackupAndRestore(own, delete_checkpoint=False)]
        model.fit(x, {"a": y, "b": y}, batch_size=4, verbose=0, callbacks=callbacks)
        if not is_first and mode == "backup of the first":
            shutil.rmtree(own)
        elif not is_first:
            (own / "training_metadata.json").write_text("{")
        more = {"epochs": 2}
    history = model.fit(x, {"a": y, "b": y}, batch_size=4, verbose=0, callbacks=callbacks, **more)
    return {"weights": layer.kernel.numpy()[:, 0], "epochs": history.epoch}


if __name__ == "__main__":
    np.savez(sys.argv[2], **run(sys.argv[1], Path(sys.argv[2]).parent))
