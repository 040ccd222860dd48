"""Losses that are called by their `call` alone."""

from __future__ import annotations

import keras


def has_own_call(loss: keras.losses.Loss) -> bool:
    """Whether a loss is called in a way of its own, as masked and balanced ones are, and not by its `call` alone."""
    return type(loss).__call__ is not keras.losses.Loss.__call__


def check_within(loss: keras.losses.Loss, kind: str) -> None:
    """Raises a `ValueError` if a loss within one of a kind that knows its `call` alone would be bypassed."""
    if has_own_call(loss):
        raise ValueError(
            f"Parameter `loss` should be called by its `call` alone: `losses.{kind}` would go past what else it does. "
            f"A masked loss is the outermost one, `losses.Masked(losses.{kind}(...))`, and a balanced one is made of "
            f"such a loss by `losses.balanced`. Received: loss={loss!r}"
        )
