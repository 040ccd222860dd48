"""The mean of the gradients."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_mtl.balancers._base import registry
from keras_mtl.balancers._gradient import GramianBalancer


@registry.register("mean")
class Mean(GramianBalancer):
    """The mean of the gradients of the tasks that have a label in the batch.

    Only the shared parameters are moved by the mean; those of one task alone keep its whole gradient.

    Args:
        **kwargs: `gradients` and `update_every`, as in `GramianBalancer`, and the arguments of `keras.layers.Layer`.

    Example:

    >>> from keras_mtl import balancers
    >>> balancers.Mean().direction([[1.0, 0.0], [1.0, 2.0]]).numpy()
    array([1., 1.], dtype=float32)
    """

    compares = False

    def call(self, gramian: Any, active: Any) -> Any:
        """One over the number of active tasks."""
        counted = ops.cast(active, gramian.dtype)
        return counted / ops.maximum(ops.sum(counted), 1.0)
