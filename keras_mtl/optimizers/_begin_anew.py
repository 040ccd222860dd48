"""An optimizer's state as it was before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras


def begin_anew(optimizer: keras.optimizers.Optimizer, variables: Sequence[Any]) -> None:
    """Sets moments, sums of gradients and the count of steps to what they are in a new optimizer.

    The learning rate, a number, stays, and so does the scale of the losses in float16.

    Args:
        optimizer: one that was built over `variables`, whatever is around it.
        variables: those, with the values that they have by now.

    Example:

    >>> import keras
    >>> from keras_mtl import optimizers
    >>> weight = keras.Variable([1.0])
    >>> adam = keras.optimizers.Adam(0.1)
    >>> adam.apply([keras.ops.ones((1,))], [weight])
    >>> optimizers.begin_anew(adam, [weight])
    >>> int(adam.iterations), float(adam.variables[2][0])
    (0, 0.0)
    """
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    fresh = type(optimizer).from_config(optimizer.get_config())
    fresh.build(variables)
    # Attributes too: Nadam has a variable that Keras does not list.
    for old, new in zip(_state(optimizer), _state(fresh), strict=True):
        old.assign(new)


def _state(optimizer: keras.optimizers.Optimizer) -> list[Any]:
    rate = optimizer.learning_rate
    found = [*optimizer.variables, *(each for each in vars(optimizer).values() if isinstance(each, keras.Variable))]
    return list({id(each): each for each in found if each is not rate}.values())
