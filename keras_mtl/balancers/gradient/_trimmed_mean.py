"""The mean without the extremes, number by number."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_mtl._checks import check_integer
from keras_mtl.balancers._base import Source, registry
from keras_mtl.balancers._gradient import GradientBalancer


@registry.register("trimmed_mean")
class TrimmedMean(GradientBalancer):
    """The mean of the tasks' gradients, number by number, without the largest and the smallest of the numbers.

    It comes from distributed training, where some workers send wrong gradients of one and the same loss. Use it where
    there are many tasks, and some have gradients that may be worthless or far too large.

    Source: D. Yin, Y. Chen, K. Ramchandran, P. Bartlett, "Byzantine-Robust Distributed Learning: Towards Optimal
    Statistical Rates", ICML 2018, definition 2. The paper gives the fraction of workers that is trimmed on either side;
    here it is their number. Tasks that are not active, or do not reach a parameter, are left out before the trimming.
    Where no more than `2 * trim` tasks are left, as many are trimmed on either side as leave one or two: the result is
    the median.

    Args:
        trim: how many of the largest and how many of the smallest numbers are left out, at least 0. There have to be
            `2 * trim + 1` tasks. Defaults to 1.
        **kwargs: the arguments of `keras.layers.Layer`: `name`, `trainable`, and `dtype`, by default float32.

    Raises:
        ValueError: if `trim` is not an integer of at least 0, or, in `compile`, there are too few tasks.

    Example:

    >>> from keras_mtl import balancers
    >>> balancers.TrimmedMean().direction([[1.0, 2.0], [3.0, -50.0], [2.0, 4.0], [90.0, 5.0]]).numpy()
    array([2.5, 3. ], dtype=float32)
    """

    source = Source(
        "Yin et al.",
        "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates",
        "ICML",
        2018,
        "1803.01498",
    )
    min_tasks = 3
    by_number = True

    def __init__(self, trim: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.trim = check_integer(trim, "trim", minimum=0)
        # It depends on the argument here, and `bind` reads it off the instance.
        self.min_tasks = 2 * self.trim + 1  # type: ignore[misc]

    def call(self, jacobian: Any, active: Any) -> Any:
        """The mean of what is left."""
        num_active = ops.sum(ops.cast(active, "int32"))
        trim = ops.minimum(self.trim, ops.maximum(num_active - 1, 0) // 2)
        # Tasks that are not active come last.
        ascending = ops.sort(ops.where(ops.expand_dims(active, 1), jacobian, float("inf")), axis=0)
        places = ops.arange(jacobian.shape[0], dtype="int32")
        is_kept = ops.logical_and(places >= trim, places < num_active - trim)
        total = ops.sum(ops.where(ops.expand_dims(is_kept, 1), ascending, 0.0), axis=0)
        return total / ops.cast(ops.maximum(num_active - 2 * trim, 1), jacobian.dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "trim": self.trim}
