"""Proof that a SavedModel predicts what the model predicts."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_mtl.export import _run_saved_model
from keras_mtl.model import MultiTaskModel


def verify_saved_model(model: MultiTaskModel, path: str | os.PathLike[str], x: Any) -> dict[str, float]:
    """Loads a SavedModel in a fresh process, through TensorFlow alone, and compares its predictions with the model's.

    Args:
        model: the model that was exported.
        path: the folder of the SavedModel.
        x: inputs, an array or a dict of arrays by input name.

    Returns:
        The largest absolute difference of predictions by `signature/task`.

    Raises:
        RuntimeError: if the SavedModel does not load or run there.
    """
    expected = model.predict(x, verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = Path(folder) / "inputs.npz", Path(folder) / "outputs.npz"
        np.savez(inputs, **(x if isinstance(x, dict) else {"arr_0": np.asarray(x)}))
        process = subprocess.run(
            [sys.executable, _run_saved_model.__file__, os.fspath(path), str(inputs), str(outputs)],
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode:
            raise RuntimeError(f"The SavedModel at `{path}` does not run in a fresh process:\n{process.stderr}")
        with np.load(outputs, allow_pickle=False) as file:
            predictions = dict(file)
    return {
        key: float(np.max(np.abs(value - keras.ops.convert_to_numpy(expected[key.split("/")[1]]))))
        for key, value in predictions.items()
    }
