"""The sum of the gradients."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_mtl.balancers._base import registry
from keras_mtl.balancers._gradient import GramianBalancer


@registry.register("sum")
class Sum(GramianBalancer):
    """The sum of the gradients: `equal`, by way of one backward pass a task.

    It gives what `equal` gives, at a higher cost: the baseline that other gradient balancers are compared with.

    Args:
        **kwargs: `gradients` and `update_every`, as in `GramianBalancer`, and the arguments of `keras.layers.Layer`.

    Example:

    >>> from keras_mtl import balancers
    >>> balancers.Sum().direction([[1.0, 0.0], [1.0, 2.0]]).numpy()
    array([2., 2.], dtype=float32)
    """

    compares = False

    def call(self, gramian: Any, active: Any) -> Any:
        """Ones."""
        return ops.cast(active, gramian.dtype)
