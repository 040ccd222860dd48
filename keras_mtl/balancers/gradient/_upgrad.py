"""Unconflicting projection of gradients: each is projected off all conflicts."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_mtl._math import preferred_shares, project_on_dual_cone
from keras_mtl.balancers._base import Source, registry
from keras_mtl.balancers._gradient import GramianBalancer


@registry.register("upgrad")
class UPGrad(GramianBalancer):
    """Projects each task's gradient to where it conflicts with no task's, and takes the mean.

    A gradient goes to the nearest direction that has no negative inner product with any of the gradients; the mean of
    such directions is one too, so no task's loss rises along the step. A task's part in it is proportional to the
    length of its gradient. Use it where gradients conflict and the result should stay near to their mean.

    Source: P. Quinton, V. Rey, "Jacobian Descent for Multi-Objective Optimization", arXiv 2024, section 3. The tasks'
    `weight`s are the weights of the mean, in sum 1 over the tasks that have labels in the batch: where they are equal
    it is the paper's.

    Differs from the official code, which adds a regularization to the normalized Gramian: here the projections are
    exact to the precision of the Gramian, also where gradients differ in length by orders of magnitude. Where there are
    more tasks than dimensions among their gradients, and hardly a direction that conflicts with none, that is little in
    float32: the direction may be off by up to a fifth.

    Args:
        **kwargs: `gradients` and `update_every`, as in `GramianBalancer`, and the arguments of `keras.layers.Layer`.

    Example:

    >>> from keras_mtl import balancers
    >>> balancers.UPGrad().direction([[1.0, 0.0], [-1.0, 1.0]]).numpy().round(6)
    array([0.25, 0.75], dtype=float32)
    """

    source = Source("Quinton and Rey", "Jacobian Descent for Multi-Objective Optimization", "arXiv", 2024, "2406.16232")

    takes_preference = True

    def call(self, gramian: Any, active: Any) -> Any:
        """The sum of the projected gradients' weights."""
        shares = preferred_shares(self.preference(gramian.shape[0]), active)
        return ops.sum(project_on_dual_cone(gramian, ops.diag(shares)), axis=0)
