"""Aligned principal components of the gradients."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_mtl._checks import check_one_of
from keras_mtl._math import align, preferred_shares
from keras_mtl.balancers._base import Source, registry
from keras_mtl.balancers._gradient import GramianBalancer


@registry.register("aligned_mtl")
class AlignedMTL(GramianBalancer):
    """Makes the gradients orthogonal and equally long, with as little change as can be, before it takes their mean.

    The singular values of the matrix of the gradients are made equal, which takes away both conflict and dominance:
    the matrix is then as well conditioned as a matrix can be. The tasks' `weight`s keep their meaning, and training
    can converge to any trade-off between the tasks that they ask for. Use it where you know what each task should
    count.

    Source: D. Senushkin, N. Patakin, A. Kuznetsov, A. Konushin, "Independent Component Alignment for Multi-Task
    Learning", CVPR 2023, algorithm 1. The tasks' `weight`s are its preferences, in sum 1 over the tasks that have
    labels in the batch. With `scale="min"` all singular values are the smallest one that is not 0, as in the paper;
    the other scales are from the official code.

    Differs from the official code, which takes the sum where the preferences here add up to 1, so that its direction is
    longer by the number of tasks, and in what counts as 0: components are told from rounding by the angles between the
    gradients alone, so that a task with a gradient 1e-6 as long as another's keeps its place. Where many gradients are
    nearly dependent (64 of them in 67 dimensions, each nearly opposite to the rest), the smallest singular value is
    below what a Gramian in float32 can show, and the direction is not to be relied on. The same holds under mixed
    precision for gradients that are parallel but for the rounding of the layers, which is taken for a component.

    Args:
        scale: what becomes of the singular values: all are `"min"`, the smallest; `"median"`, the lower of the two in
            the middle where their number is even; or `"rmse"`, the root of the mean of their squares. Defaults to
            `"min"`.
        **kwargs: `gradients` and `update_every`, as in `GramianBalancer`, and the arguments of `keras.layers.Layer`.

    Raises:
        ValueError: if `scale` is none of these.

    Example:

    >>> from keras_mtl import balancers
    >>> balancers.AlignedMTL().direction([[2.0, 0.0], [0.0, 0.5]]).numpy()
    array([0.25, 0.25], dtype=float32)
    """

    source = Source(
        "Senushkin et al.", "Independent Component Alignment for Multi-Task Learning", "CVPR", 2023, "2305.19000"
    )

    takes_preference = True

    def __init__(self, scale: str = "min", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = check_one_of(scale, "scale", ["min", "median", "rmse"])

    def call(self, gramian: Any, active: Any) -> Any:
        """The weights of the aligned gradients' weighted mean."""
        preference = preferred_shares(self.preference(gramian.shape[0]), active)
        return ops.cast(align(gramian, preference, self.scale), gramian.dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "scale": self.scale}
