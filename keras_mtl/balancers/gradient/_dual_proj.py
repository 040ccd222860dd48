"""Projection of the mean gradient on the dual cone."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_mtl._math import preferred_shares, project_on_dual_cone
from keras_mtl.balancers._base import Source, registry
from keras_mtl.balancers._gradient import GramianBalancer


@registry.register("dual_proj")
class DualProj(GramianBalancer):
    """Projects the mean of the gradients to where it conflicts with no task's.

    It takes the direction nearest to the mean that has no negative inner product with any of the gradients: the mean
    itself, if that has none. Use it where the mean is what is wanted, and no task's loss may rise along the step; it
    costs less than `UPGrad`, and follows long gradients more than that does.

    Source: D. Lopez-Paz, M. Ranzato, "Gradient Episodic Memory for Continual Learning", NeurIPS 2017, section 3. There
    the gradient of the new task is projected, and the others are those of past tasks; for tasks side by side it is
    their mean. The tasks' `weight`s are the weights of the mean, in sum 1 over the tasks that have labels in the batch.

    Differs from the official code, which adds a margin to the dual variables and a constant to the Gramian: here the
    projection is exact to the precision of the Gramian. Where there are more tasks than dimensions among their
    gradients, and hardly a direction that conflicts with none, that is little in float32: the direction may be off by
    up to a fifth.

    Args:
        **kwargs: `gradients` and `update_every`, as in `GramianBalancer`, and the arguments of `keras.layers.Layer`.

    Example:

    >>> from keras_mtl import balancers
    >>> balancers.DualProj().direction([[1.0, 0.0], [-3.0, 2.0]]).numpy().round(6)
    array([0., 1.], dtype=float32)
    """

    source = Source(
        "Lopez-Paz and Ranzato", "Gradient Episodic Memory for Continual Learning", "NeurIPS", 2017, "1706.08840"
    )

    takes_preference = True

    def call(self, gramian: Any, active: Any) -> Any:
        """The weights of the projected mean."""
        shares = preferred_shares(self.preference(gramian.shape[0]), active)
        return project_on_dual_cone(gramian, ops.expand_dims(shares, 0))[0]
