"""The multiple-gradient descent algorithm: the shortest direction between the gradients."""

from __future__ import annotations

from typing import Any

from keras_mtl._math import min_norm_weights
from keras_mtl.balancers._base import Source, registry
from keras_mtl.balancers._gradient import GramianBalancer


@registry.register("mgda")
class MGDA(GramianBalancer):
    """Takes the shortest of the gradients' weighted means.

    No task's loss rises along it, and it is zero just where no direction lowers all losses. It leans towards the tasks
    whose gradients are small: use it where losses have like scales, or after a balancer of losses that sees to that.

    Source: O. Sener, V. Koltun, "Multi-Task Learning as Multi-Objective Optimization", NeurIPS 2018, after J.-A.
    Desideri, "Multiple-gradient descent algorithm (MGDA) for multiobjective optimization", Comptes Rendus Mathematique
    2012. The paper's bound by the gradients of the features (MGDA-UB) is `gradients="features"`. The paper has no
    weights of tasks: here a task's `weight` multiplies its loss beforehand.

    Differs from the paper and the official code, which approach the mean by Frank-Wolfe steps and stop early: here the
    quadratic program is solved by exchanging active sets, to the precision of the Gramian. The official code's division
    of the gradients by their norms or losses is not offered. It multiplies the losses by the weights, and with them the
    gradients of the parameters of one task alone, which here keep that of their own loss. A task whose gradient happens
    to be zero makes the direction zero, as in the paper; one that reaches no shared weight that is trained, or whose
    `weight` is 0, is left out.

    Args:
        **kwargs: `gradients` and `update_every`, as in `GramianBalancer`, and the arguments of `keras.layers.Layer`.

    Example:

    >>> from keras_mtl import balancers
    >>> balancers.MGDA().direction([[2.0, 0.0], [0.0, 1.0]]).numpy().round(6)
    array([0.4, 0.8], dtype=float32)
    """

    source = Source(
        "Sener and Koltun", "Multi-Task Learning as Multi-Objective Optimization", "NeurIPS", 2018, "1810.04650"
    )

    def call(self, gramian: Any, active: Any) -> Any:
        """The weights of the shortest mean, in sum 1."""
        return min_norm_weights(gramian, active)
