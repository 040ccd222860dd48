"""Fair shares of the descent, from the sum of the gains to the smallest gain."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_mtl._checks import check_number
from keras_mtl._math import bargain
from keras_mtl.balancers._base import Source, registry
from keras_mtl.balancers._gradient import GramianBalancer


@registry.register("fairgrad")
class FairGrad(GramianBalancer):
    """Shares the descent out among the tasks by a measure of fairness that can be chosen.

    Each task's gain is the inner product of the direction with its gradient, and the direction has the largest sum of
    the gains' alpha-fair utilities, `gain ** (1 - alpha) / (1 - alpha)`. Near 0, alpha looks at the sum of the gains;
    1 at their product, which is `NashMTL`; 2 at their harmonic mean; and the larger it is, the more at the smallest
    gain. The direction conflicts with no task. Use it where some tasks make too little progress, and raise alpha
    for those with small gradients.

    Source: H. Ban, K. Ji, "Fair Resource Allocation in Multi-Task Learning", ICML 2024, section 4: the weights solve
    `G a = a ** (-1 / alpha)`, with the Gramian `G`. The paper has no weights of tasks: here a task's `weight`
    multiplies its loss beforehand, which has no effect with `alpha=1`, where the direction does not depend on the scale
    of a loss.

    Differs from the official code, which looks for the solution by least squares from equal weights, multiplies the
    direction by the number of tasks and clips it to the length 1: here the equation is solved to the precision of the
    Gramian, by Newton's method, and the direction is as the paper has it. Where gradients cancel, so that the equation
    has no solution, the direction is 0. Where lengths are 1e6 apart and `alpha` is large, float32 gives the direction
    to about 1e-5, and the gains of the tasks with long gradients, what the rest leaves of them, to 1e-3 or, near to a
    conflict, 1e-2. The length of the direction does not follow that of the gradients: where all are multiplied by `s`,
    it is by `s ** ((1 - alpha) / (1 + alpha))`.

    Args:
        alpha: a number above 0, the fairness. Defaults to 2, as in the authors' scripts for QM9 and CelebA.
        **kwargs: `gradients` and `update_every`, as in `GramianBalancer`, and the arguments of `keras.layers.Layer`.

    Raises:
        ValueError: if `alpha` is not a finite number above 0.

    Example:

    >>> from keras_mtl import balancers
    >>> balancers.FairGrad(alpha=1.0).direction([[2.0, 0.0], [0.0, 0.5]]).numpy()
    array([1., 1.], dtype=float32)
    """

    source = Source("Ban and Ji", "Fair Resource Allocation in Multi-Task Learning", "ICML", 2024, "2402.15638")

    def __init__(self, alpha: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.alpha = check_number(alpha, "alpha")
        if self.alpha == 0:
            raise ValueError(f"Parameter `alpha` should be a finite number above 0. Received: alpha={alpha!r}")

    def call(self, gramian: Any, active: Any) -> Any:
        """The solution of the equation of fair gains."""
        return ops.cast(bargain(gramian, ops.cast(active, gramian.dtype), self.alpha), gramian.dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "alpha": self.alpha}
