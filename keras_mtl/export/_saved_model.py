"""A SavedModel for serving: one signature for all tasks, and one for each."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import keras

from keras_mtl._files import check_absent, replacing
from keras_mtl.model import MultiTaskModel

#: The signature that computes all tasks, under the name that TensorFlow Serving takes by default.
ALL_TASKS = "serving_default"


def saved_model(model: MultiTaskModel, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Writes a SavedModel that TensorFlow alone can load and serve.

    It has the signature `serving_default`, which computes all tasks, and one of each task's name, which computes that
    task and nothing else. All take the raw inputs of the model by name, and give predictions by task name. The folder
    is written under a temporary name and renamed, so that it is there whole or not at all.

    Args:
        model: the model, trained or not.
        path: the folder to write.
        overwrite: whether a folder that is there is replaced. Defaults to False.

    Raises:
        FileExistsError: if something is there and `overwrite` is false.
        ValueError: if a task has a name that a SavedModel keeps for itself.

    Example:

    >>> import tempfile
    >>> import keras_mtl as mtl
    >>> model = mtl.build_model("mlp", [mtl.tasks.Regression("a"), mtl.tasks.Regression("b")], input_shape=(3,))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     mtl.export.saved_model(model, f"{folder}/serving/1")
    """
    check_absent(path, overwrite=overwrite)
    archive = keras.export.ExportArchive()
    archive.track(model)
    signature = keras.tree.map_structure(
        lambda tensor: keras.InputSpec(shape=(None, *tensor.shape[1:]), dtype=tensor.dtype, name=tensor.name),
        model.input,
    )
    archive.add_endpoint(ALL_TASKS, _predict(model), [signature])
    for task in model.tasks:
        alone = keras.Model(model.input, {task.name: model.output[task.name]})
        try:
            if task.name == "signatures":  # TensorFlow says so only when it writes
                raise ValueError(task.name)
            archive.add_endpoint(task.name, _predict(alone), [signature])
        except (AttributeError, ValueError) as error:
            raise ValueError(
                f"A SavedModel keeps the name {task.name!r} for itself. Give the task another `name`, and the present "
                f"one as its `label`."
            ) from error
    with replacing(path, overwrite=overwrite) as new:
        archive.write_out(new, verbose=False)


def _predict(model: keras.Model) -> Callable[[Any], dict[str, Any]]:
    def predict(inputs: Any) -> dict[str, Any]:
        return model(inputs, training=False)

    return predict
