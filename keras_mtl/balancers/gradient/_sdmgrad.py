"""The point of least norm, near a direction that is given."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_mtl._checks import check_number
from keras_mtl._math import min_norm_weights, preferred_shares
from keras_mtl.balancers._base import Source, registry
from keras_mtl.balancers._gradient import GramianBalancer


@registry.register("sdmgrad")
class SDMGrad(GramianBalancer):
    """The direction that helps the worst-off task most, held near the mean gradient.

    With weights `w` of sum 1, tasks' gradients `J` and their mean `g0`, the direction is
    `w J + direction_strength * g0`, and `w` is that for which its norm is least: it maximizes the least decrease of a
    task plus `direction_strength` times that along `g0`, less half the squared norm. `direction_strength` goes from
    MGDA (0) towards plain weighting (large). Use it where MGDA moves too little, or follows the smallest gradient.

    Source: P. Xiao, H. Ban, K. Ji, "Direction-oriented Multi-objective Learning: Simple and Provable Stochastic
    Algorithms", NeurIPS 2023. `g0` is weighted by the tasks' `weight`s, in sum 1 over the tasks that have labels in the
    batch. Differs from algorithm 1 of the paper, in which `w` takes projected gradient steps on two independent
    batches, and from the official code, which takes 20 steps with momentum on one batch, from the `w` of the last, and
    divides the direction by `1 + direction_strength`, multiplies it by the number of tasks, and clips its length: here
    the `w` of the batch is found to the precision of the Gramian, and the direction is as the paper has it. The
    parameters of one task alone get the gradient of their own loss on the batch; in the official code for vision, the
    sum of those on its three batches.

    Args:
        direction_strength: of the mean gradient in the direction, at least 0. Defaults to 0.3.
        **kwargs: `gradients` and `update_every`, as in `GramianBalancer`, and the arguments of `keras.layers.Layer`.

    Raises:
        ValueError: if `direction_strength` is negative or not finite.

    Example:

    >>> from keras_mtl import balancers
    >>> balancers.SDMGrad().direction([[1.0, 0.0], [0.0, 2.0]]).numpy().round(2)
    array([1.04, 0.52], dtype=float32)
    """

    source = Source(
        "Xiao et al.",
        "Direction-oriented Multi-objective Learning: Simple and Provable Stochastic Algorithms",
        "NeurIPS",
        2023,
        "2305.18409",
    )
    takes_preference = True

    def __init__(self, direction_strength: float = 0.3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.direction_strength = check_number(direction_strength, "direction_strength")

    def call(self, gramian: Any, active: Any) -> Any:
        """The weights of the least norm, and the preference on top of them."""
        preferred = self.direction_strength * preferred_shares(self.preference(gramian.shape[0]), active)
        # With w of sum 1 it is the shortest mean of the gradients with `direction_strength * g0` added to each.
        exact = ops.cast(gramian, "float64") / (1.0 + self.direction_strength) ** 2
        products = ops.matmul(exact, ops.cast(preferred, "float64"))
        moved = exact + products + ops.expand_dims(products, 1) + ops.sum(products * ops.cast(preferred, "float64"))
        pairs = ops.logical_and(active, ops.expand_dims(active, 1))
        return preferred + min_norm_weights(ops.cast(ops.where(pairs, moved, 0.0), gramian.dtype), active)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "direction_strength": self.direction_strength}
