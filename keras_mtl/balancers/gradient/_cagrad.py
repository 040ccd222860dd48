"""Conflict-averse gradient descent: near the mean, the best for the task that gains least."""

from __future__ import annotations

from typing import Any

from keras_mtl._checks import check_number
from keras_mtl._math import conflict_averse_weights, preferred_shares
from keras_mtl.balancers._base import Source, registry
from keras_mtl.balancers._gradient import GramianBalancer


@registry.register("cagrad")
class CAGrad(GramianBalancer):
    """Takes, of the directions near the mean gradient, the one along which the slowest loss falls fastest.

    Near means: within `c` times the length of the mean. With `c = 0` it is the mean, and the larger `c`, the more it
    resembles `MGDA`. Use it where the mean is nearly right, and one task lags.

    Source: B. Liu, X. Liu, X. Jin, P. Stone, Q. Liu, "Conflict-Averse Gradient Descent for Multi-task Learning",
    NeurIPS 2021, section 3. The tasks' `weight`s are the weights of the mean, in sum 1 over the tasks that have labels
    in the batch: where they are equal it is the paper's. As in the paper, the direction is at most `1 + c` times as
    long as the mean, and just that where all gradients agree, so for one task too.

    Differs from the official code, which solves the dual problem by SLSQP or by some steps of gradient descent: here it
    is solved to the precision of the Gramian. That code, though not the paper, divides the direction by `1 + c ** 2`
    and multiplies it by the number of tasks: beside the gradients of the parameters of one task alone, the direction
    here is shorter than there by the quotient of the two. Where some gradients cancel, and directions in reach leave
    the slowest losses as they are at best, there are several of those, and the dual problem does not say which one is
    meant: here it is the one nearest to the mean. A task with a gradient of zero counts in the mean, and nowhere else.
    Where the gradients cancel in the mean, up to the rounding of the Gramian, the direction is the mean as it is.

    Args:
        c: how far from the mean the direction may be, a float of at least 0, in units of the length of the mean. The
            paper takes values below 1. Defaults to 0.5.
        **kwargs: `gradients` and `update_every`, as in `GramianBalancer`, and the arguments of `keras.layers.Layer`.

    Raises:
        ValueError: if `c` is negative or not finite.

    Example:

    >>> from keras_mtl import balancers
    >>> balancers.CAGrad(c=0.5).direction([[4.0, 0.0], [0.0, 3.0]]).numpy().round(3)
    array([2.061, 2.748], dtype=float32)
    """

    source = Source(
        "Liu et al.", "Conflict-Averse Gradient Descent for Multi-task Learning", "NeurIPS", 2021, "2110.14048"
    )

    takes_preference = True

    def __init__(self, c: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.c = check_number(c, "c")

    def call(self, gramian: Any, active: Any) -> Any:
        """The weights of the mean and what is added to it."""
        shares = preferred_shares(self.preference(gramian.shape[0]), active)
        return conflict_averse_weights(gramian, shares, self.c)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "c": self.c}
