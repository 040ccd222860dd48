"""Which variables a function makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf


def with_creations(make: Callable[[], Any]) -> tuple[Any, Callable[[keras.Variable], bool]]:
    """What a function returns, and whether a variable was made while it ran."""
    created: list[Any] = []

    def create(creator: Callable[..., Any], **arguments: Any) -> Any:
        created.append(creator(**arguments))
        return created[-1]

    with tf.variable_creator_scope(create):
        found = make()

    def is_new(variable: keras.Variable) -> bool:
        value = variable.value
        strategy = getattr(value, "distribute_strategy", None)  # of a value that has a part on each replica
        parts = [value] if strategy is None else strategy.experimental_local_results(value)
        # What was made is kept alive: an identity may be another's once its owner is gone. Within a strategy's scope it
        # is the whole that was seen to be made, in one that the function enters the parts.
        return any(value is each for each in created) or all(any(part is each for each in created) for part in parts)

    return found, is_new
