"""Which optimizers a multiplier of the learning rate can go around, and how it tells their variables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import keras

_NOT_LINEAR = {
    keras.optimizers.Adafactor: "limits the learning rate within its step, after the multiplier",
    keras.optimizers.Ftrl: "has a step that is no multiple of its learning rate",
}


def check_inner(inner: keras.optimizers.Optimizer) -> None:
    """Raises a `ValueError` if an optimizer's steps are not multiplied with its learning rate, variable by variable."""
    name = type(inner).__name__
    if type(inner).apply is not keras.optimizers.Optimizer.apply:
        raise ValueError(
            "Parameter `inner_optimizer` should be an optimizer that updates each variable by its `update_step`. "
            f"Received: a {name}. Wrap what is inside it, and put it around the wrapper."
        )
    for kind, why in _NOT_LINEAR.items():
        if isinstance(inner, kind):
            raise ValueError(
                "Parameter `inner_optimizer` should be an optimizer whose step is a multiple of its learning rate. "
                f"Received: {name}, which {why}. Take another one, such as 'adamw'."
            )
    if inner.built or "update_step" in vars(inner):
        state = "has state for the variables of a model" if inner.built else "is within another wrapper"
        raise ValueError(
            f"Parameter `inner_optimizer` should be new. Received: {name}, which {state} already. Make another one, "
            "by its name or `from_config(optimizer.get_config())`."
        )


def path_in_model(layer_path: str, layer: keras.layers.Layer, variable: Any) -> str:
    """The path of a variable through the models that contain its layer, which its own path may lack."""
    names, parts = variable.path.split("/"), layer_path.split("/")
    for run in (parts, [layer.name]):
        for start in range(len(names) - len(run)):
            if names[start : start + len(run)] == run:
                return "/".join([layer_path, *names[start + len(run) :]])
    return f"{layer_path}/{variable.path}"


def signatures(variables: Sequence[Any]) -> tuple[str, ...]:
    """What is the same of variables in a model that is loaded: shapes and names, without the numbers Keras gives."""
    found = []
    for variable in variables:
        names = [re.sub(r"_\d+$", "", name) for name in variable.path.split("/")[-2:]]
        found.append(f"{'/'.join(names)} {tuple(variable.shape)}")
    return tuple(found)


class Scaled:
    """An optimizer as it would be with a smaller learning rate."""

    def __init__(self, optimizer: Any, multiplier: float) -> None:
        self._optimizer = optimizer
        self.learning_rate = optimizer.learning_rate * multiplier

    def __getattr__(self, name: str) -> Any:
        return getattr(self._optimizer, name)
