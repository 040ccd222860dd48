"""What the members of an ensemble or an average have in common, and checks that they have it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_mtl._checks import check_same_names
from keras_mtl.model import MultiTaskModel


def check_members(models: Any, parameter: str = "models") -> list[MultiTaskModel]:
    """Returns the models as a list if they take the same inputs and predict the same tasks.

    Raises:
        ValueError: if there is none, one is no `MultiTaskModel` or there twice, or inputs or tasks differ.
    """
    if not isinstance(models, Sequence) or not models:
        raise ValueError(f"Parameter `{parameter}` should be a list of at least one model. Received: {models!r}")
    for index, model in enumerate(models):
        if not isinstance(model, MultiTaskModel):
            raise ValueError(
                f"Parameter `{parameter}[{index}]` should be a `MultiTaskModel`. Received: a {type(model).__name__}"
            )
        if any(model is other for other in models[:index]):
            raise ValueError(
                f"The members of `{parameter}` should be different models. Received: the model {model.name!r} twice."
            )
    for index, model in enumerate(models[1:], start=1):
        _check_tasks(models[0], model, f"{parameter}[{index}]")
        _check_inputs(models[0], model, f"{parameter}[{index}]")
    return list(models)


def _check_tasks(first: MultiTaskModel, other: MultiTaskModel, parameter: str) -> None:
    expected, received = ({task.name: task for task in model.tasks} for model in (first, other))
    check_same_names(
        received, expected, what=f"tasks of `{parameter}`", mend="Give models of the same tasks as the first one's."
    )
    for name, task in expected.items():
        kinds = [(type(found).__name__, tuple(found.output_shape)) for found in (task, received[name])]
        if kinds[0] != kinds[1]:
            raise ValueError(
                f"The task {name!r} of `{parameter}` should be of the same kind and size as the first model's, "
                f"{kinds[0]}. Received: {kinds[1]}"
            )


def _check_inputs(first: MultiTaskModel, other: MultiTaskModel, parameter: str) -> None:
    expected, received = (keras.tree.map_structure(_as_text, model.input) for model in (first, other))
    if expected != received:
        raise ValueError(
            f"The inputs of `{parameter}` should be those of the first model, {expected}. Received: {received}"
        )


def _as_text(tensor: Any) -> str:
    shape = ", ".join("batch" if size is None and not index else str(size) for index, size in enumerate(tensor.shape))
    return f"{tensor.dtype} ({shape})"
