"""Weights learnt from the tasks' homoscedastic uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mtl.balancers._base import Source, registry
from keras_mtl.balancers._loss import LossBalancer

# Below it, the precision times a loss could leave the range of float32.
_LEAST_LOG_VARIANCE = -60.0


@registry.register("uncertainty")
class Uncertainty(LossBalancer):
    """Learns a noise variance for each task, and divides the task's loss by it.

    With `s = log(variance)` the total loss is the sum over the tasks of `c * exp(-s) * loss + s / 2`, where `c` is 1/2
    for the mean squared error (a Gaussian likelihood) and 1 for every other loss (a scaled softmax likelihood, in the
    paper's approximation). `s` is trained by the model's optimizer along with everything else. Use it where the losses
    have different units. The total can fall below zero: it is a negative log-likelihood. But no loss should:
    the variance of one that stays at 0 or below, as that of `CosineSimilarity` does, falls without an end. As a divisor
    no variance counts as less than `exp(-60)`, so that nothing overflows.

    Source: A. Kendall, Y. Gal, R. Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry
    and Semantics", CVPR 2018, equations 7 to 10. A task's `weight` multiplies both of its terms; the paper has no such
    weights. A task that has no label in a batch contributes neither term. Which loss is the mean squared error is seen
    by its class, `keras.losses.MeanSquaredError`: a loss of another class that computes the same, such as a wrapper,
    has `c = 1`.

    Args:
        **kwargs: the arguments of `keras.layers.Layer`: `name`, `trainable`, and `dtype`, by default float32.

    Example:

    >>> import numpy as np
    >>> from keras_mtl import balancers
    >>> balancers.Uncertainty()(np.array([2.0, 0.5]), np.array([True, True])).numpy()
    array([1., 1.], dtype=float32)
    """

    source = Source(
        "Kendall et al.",
        "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and Semantics",
        "CVPR",
        2018,
        "1705.07115",
    )

    _likelihood_factor: np.ndarray | None = None

    def bind(
        self,
        names: Sequence[str],
        weights: Sequence[float],
        losses: Sequence[keras.losses.Loss | None],
        num_gradients: int = 0,
    ) -> None:
        """Reads off the losses which tasks have a Gaussian likelihood."""
        self._likelihood_factor = np.asarray(
            [0.5 if isinstance(loss, keras.losses.MeanSquaredError) else 1.0 for loss in losses]
        )
        super().bind(names, weights, losses, num_gradients)

    def build(self, input_shape: Sequence[int]) -> None:
        """Creates the log variances, zeros `[num_tasks]`."""
        if not self.built:
            self.log_variance = self.add_weight(shape=input_shape[:1], initializer="zeros", name="log_variance")
        super().build(input_shape)

    def call(self, losses: Any, active: Any) -> Any:
        """The tasks' precisions."""
        num_tasks = losses.shape[0]
        factor = np.ones(num_tasks) if self._likelihood_factor is None else self._likelihood_factor
        log_variance = ops.convert_to_tensor(self.log_variance)
        # The value has a limit, and the gradient none, so that a variance finds back once the loss has grown.
        lacking = ops.maximum(_LEAST_LOG_VARIANCE - log_variance, 0.0)
        precision = ops.convert_to_tensor(factor, dtype=self.compute_dtype) * ops.exp(
            -(log_variance + ops.stop_gradient(lacking))
        )
        return self.preference(num_tasks) * precision * ops.cast(active, self.compute_dtype)

    def regularization(self, active: Any) -> Any:
        """The likelihood's normalizing term, half the sum of the log variances."""
        counted = self.preference(self.log_variance.shape[0]) * ops.cast(active, self.compute_dtype)
        return 0.5 * ops.sum(counted * self.log_variance)
