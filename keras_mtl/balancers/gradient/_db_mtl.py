"""Dual balancing: logarithms of the losses, and gradients of one length."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_mtl._checks import check_number
from keras_mtl.balancers._base import Source, registry
from keras_mtl.balancers.gradient._tracked import TrackedBalancer


@registry.register("db_mtl")
class DBMTL(TrackedBalancer):
    """Takes the logarithm of each loss, and scales the tasks' averaged gradients to the length of the longest.

    Each task's gradient is averaged over the steps, and weighted by the largest norm of an average over that of its
    own; the result is the sum. The logarithm is the loss balancer `scale_invariant`, which is put before it where
    `compile` is given `"db_mtl"` alone. Use it where the tasks' losses or gradients differ in scale.

    Source: B. Lin, W. Jiang, F. Ye, Y. Zhang, P. Chen, Y.-C. Chen, S. Liu, I. W. Tsang, J. T. Kwok, "Dual-Balancing for
    Multi-Task Learning", Neural Networks 2025. In step `t` the earlier average counts `beta / t ** decay`, and the
    present gradient the rest; averages begin at zero, as in the official code. That code uses the gradients of the
    shared parameters, `gradients="shared"` here, whose averages take as much memory as those parameters times the
    number of tasks. The default here is `gradients="features"`, which costs next to nothing: gradients of a bias added
    to the features are averaged, and the weights found for their averages are applied to the present gradients, which
    are not averaged. A task that is not active keeps its average. A task whose average is zero has weight 0. The paper
    has no weights of tasks: here a task's `weight` multiplies its gradient after all have been brought to one length.

    Args:
        beta: what the earlier average counts in the first step, at least 0 and below 1. Defaults to 0.9.
        decay: the power of the step by which that falls, at least 0. Defaults to 0.5.
        gradients: `"features"` or `"shared"`, as in `GramianBalancer`. Defaults to `"features"`.
        **kwargs: the arguments of `keras.layers.Layer`. There is no `update_every`.

    Raises:
        ValueError: if a number is out of its range.

    Example:

    >>> from keras_mtl import balancers
    >>> balancers.DBMTL(beta=0.0).direction([[1.0, 0.0], [0.0, 4.0]]).numpy()
    array([4., 4.], dtype=float32)
    """

    source = Source("Lin et al.", "Dual-Balancing for Multi-Task Learning", "Neural Networks", 2025, "2308.12029")
    cost = "little"
    compares = False
    takes_preference = True
    default_losses = "scale_invariant"

    def __init__(self, beta: float = 0.9, decay: float = 0.5, *, gradients: str = "features", **kwargs: Any) -> None:
        super().__init__(gradients=gradients, **kwargs)
        self.beta = check_number(beta, "beta", below=1.0)
        self.decay = check_number(decay, "decay")

    def new_share(self) -> Any:
        """One less what the earlier average counts in this step."""
        return 1.0 - self.beta * ops.power(self.steps(), -self.decay)

    def call(self, gramian: Any, active: Any) -> Any:
        """The largest norm over each norm, times the preference."""
        del active  # its gradient is zero
        norms = ops.sqrt(ops.maximum(ops.diagonal(gramian), 0.0))
        return self.preference(gramian.shape[0]) * ops.divide_no_nan(ops.max(norms), norms)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "beta": self.beta, "decay": self.decay}
