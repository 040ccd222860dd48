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
    # Kept alive by what is returned: an identity may be another's once its owner is gone.
    return found, lambda variable: any(variable.value is each for each in created)
