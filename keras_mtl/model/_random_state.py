"""The states of a model's random generators, of dropout say, in its files: Keras leaves them out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

_KEY = "random_state_"


def random_states(model: keras.Model) -> list[keras.Variable]:
    """The variables that are no weights: the states of random generators."""
    weights = {id(variable) for variable in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]


def save_random_states(model: keras.Model, store: Any) -> None:
    """Writes them beside what Keras has written."""
    for index, state in enumerate(random_states(model)):
        store[f"{_KEY}{index}"] = state


def load_random_states(model: keras.Model, store: Mapping[str, Any]) -> dict[str, Any]:
    """Sets them to what is in a store, if it is there, and returns the rest, which is for Keras to load."""
    # An HDF5 store has keys, and no iterator.
    values = {key: store[key] for key in store.keys()}  # noqa: SIM118
    for index, state in enumerate(random_states(model)):
        if f"{_KEY}{index}" in values:
            state.assign(values[f"{_KEY}{index}"])
    return {key: value for key, value in values.items() if not key.startswith(_KEY)}
