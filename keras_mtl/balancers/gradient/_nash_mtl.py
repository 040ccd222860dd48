"""Nash bargaining: the direction on which the tasks agree."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_mtl._math import bargain, preferred_shares
from keras_mtl.balancers._base import Source, registry
from keras_mtl.balancers._gradient import GramianBalancer


@registry.register("nash_mtl")
class NashMTL(GramianBalancer):
    """Takes the direction on which the tasks would agree, if they bargained over it.

    Of all directions of one length, it is the one with the largest product of the tasks' gains, the inner products
    with their gradients: no task's relative gain can be raised without a greater loss of the others'. It is the same
    whatever the lengths of the gradients are, and it conflicts with none of them. Use it where the losses have
    different units, or where a task with large gradients drowns the others.

    Source: A. Navon, A. Shamsian, I. Achituve, H. Maron, K. Kawaguchi, G. Chechik, E. Fetaya, "Multi-Task Learning as
    a Bargaining Game", ICML 2022, theorem 3.2: the weights solve `G a = 1 / a`, with the Gramian `G`. The tasks'
    `weight`s are bargaining powers `p`, in sum 1 over the `m` tasks that have labels in the batch: `G a = m p / a`,
    the paper's equation where they are equal. The direction has the length `sqrt(m)`, as in the paper.

    Differs from the official code, which solves a sequence of convex programs from the last weights, on the Gramian
    divided by its norm, and clips the direction to the length 1: here the equation is solved as it stands, to the
    precision of the Gramian, by Newton's method. The official code multiplies the losses by the weights, and with them
    the gradients of the parameters of one task alone, which here keep that of their own loss. Where gradients cancel,
    so that the equation has no solution, the direction is 0. For weights that are updated every few steps only, as in
    the paper's experiments, there is `update_every`.

    Args:
        **kwargs: `gradients` and `update_every`, as in `GramianBalancer`, and the arguments of `keras.layers.Layer`.

    Example:

    >>> from keras_mtl import balancers
    >>> balancers.NashMTL().direction([[2.0, 0.0], [0.0, 0.5]]).numpy()
    array([1., 1.], dtype=float32)
    """

    source = Source("Navon et al.", "Multi-Task Learning as a Bargaining Game", "ICML", 2022, "2202.01017")

    takes_preference = True

    def call(self, gramian: Any, active: Any) -> Any:
        """The solution of the bargaining problem."""
        powers = preferred_shares(self.preference(gramian.shape[0]), active)
        shares = ops.sum(ops.cast(active, powers.dtype)) * powers
        return ops.cast(bargain(gramian, shares, 1.0), gramian.dtype)
