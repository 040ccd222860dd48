"""A condition with a side that is hardly ever taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def seldom(usual: Any, then: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
    """As `tf.cond`, where the second side is hardly ever taken and has many operations.

    TensorFlow puts both sides of a condition into the graph, and walks over the operations of the one that is not
    taken: of a few thousand, that takes a tenth of a small step. In a function of their own, which is not put in, they
    are one.

    Args:
        usual: a boolean tensor.
        then: makes what is returned if it is true.
        otherwise: makes what is returned if it is not, of the same make.
    """
    if not tf.executing_eagerly():
        otherwise = tf.function(otherwise, autograph=False, experimental_attributes={"_noinline": True})
    return tf.cond(usual, then, otherwise)
