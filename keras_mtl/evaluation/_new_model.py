"""A model for some of the tasks, that goes on from no other one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_mtl import engine
from keras_mtl._layers import inner_layers
from keras_mtl.model import MultiTaskModel
from keras_mtl.tasks import Task


def new_model(build: Callable[[Sequence[Task]], Any], tasks: Sequence[Task], seed: int) -> MultiTaskModel:
    """What a user's function builds from a seed.

    Raises:
        ValueError: if it is no `MultiTaskModel` of these tasks, or trains weights that were there before the call: a
            training would go on from another one's.
    """
    keras.utils.set_random_seed(seed)
    model, is_new = engine.with_creations(lambda: build(tasks))
    names = [task.name for task in tasks]
    found = [task.name for task in model.tasks] if isinstance(model, MultiTaskModel) else repr(model)
    if sorted(found) != sorted(names):
        raise ValueError(
            "Parameter `build` should return a `MultiTaskModel` of the tasks that it is given. Received: "
            f"{found}, for the tasks {names}"
        )
    normalizations = [each for each in inner_layers(model) if isinstance(each, keras.layers.BatchNormalization)]
    statistics = [variable for each in normalizations if each.trainable for variable in each.non_trainable_variables]
    changing = [*model.trainable_variables, *statistics]
    others = [variable.path for variable in changing if not is_new(variable)]
    if others:
        raise ValueError(
            "Parameter `build` should make a new model at each call, for trainings not to go on from each other's "
            f"weights. Received: {len(others)} trained weights that were made before the call, such as {others[0]!r}. "
            "Make or load the backbone within `build`, or freeze it, statistics included."
        )
    return model
