"""Runs a SavedModel through TensorFlow alone: a script, for a process that has not imported this package.

Arguments: the SavedModel's folder, an `.npz` file of inputs, and the `.npz` file to write predictions to, under
`signature/task`. An input that is alone is under `arr_0`.
"""

from __future__ import annotations

import sys

import numpy as np
import tensorflow as tf


def main(folder: str, inputs_file: str, outputs_file: str) -> None:
    """Writes what each signature predicts for the inputs."""
    with np.load(inputs_file, allow_pickle=False) as file:
        inputs = dict(file)
    predictions = {}
    for name, signature in tf.saved_model.load(folder).signatures.items():
        specs = signature.structured_input_signature[1]
        tensors = {
            key: tf.cast(inputs["arr_0"] if len(specs) == 1 else inputs[key], spec.dtype) for key, spec in specs.items()
        }
        predictions.update({f"{name}/{task}": value.numpy() for task, value in signature(**tensors).items()})
    if "keras_mtl" in sys.modules:
        raise RuntimeError("keras_mtl was imported, so that this is no proof that TensorFlow alone is enough")
    np.savez(outputs_file, **predictions)


if __name__ == "__main__":
    main(*sys.argv[1:])
