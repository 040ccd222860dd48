"""Impartial learning of the scales of the losses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_mtl._checks import check_number
from keras_mtl.balancers._base import Source, registry
from keras_mtl.balancers._loss import LossBalancer


@registry.register("imtl_l")
class IMTLL(LossBalancer):
    """Learns a scale for each loss, so that all scaled losses come to the same size.

    The total loss is the sum over the tasks of `exp(s) * loss - s`, which is least where `exp(s) * loss` is 1. `s` is
    trained by the model's optimizer along with everything else. Use it where the losses have different units; unlike
    `uncertainty` it does not ask what kind of loss there is. With a gradient balancer behind it, `["imtl_l",
    "imtl_g"]`, it is the paper's full method. The total can fall below zero.

    Source: L. Liu, Y. Li, Z. Kuang, J.-H. Xue, Y. Chen, W. Yang, Q. Liao, W. Zhang, "Towards Impartial Multi-Task
    Learning", ICLR 2021, section 3.2, with the base e. A task's `weight` multiplies both of its terms; the paper has no
    such weights. A task that has no label in a batch contributes neither term.

    Args:
        epsilon: `exp(s)` is at most 1 / epsilon, the best scale of a loss of epsilon; at least 1e-30. A loss of 0, or a
            negative one, has no best scale, and drives `s` up without an end. Defaults to 1e-8.
        **kwargs: the arguments of `keras.layers.Layer`: `name`, `trainable`, and `dtype`, by default float32.

    Raises:
        ValueError: if an argument is out of its range.

    Example:

    >>> import numpy as np
    >>> from keras_mtl import balancers
    >>> balancers.IMTLL()(np.array([2.0, 0.5]), np.array([True, True])).numpy()
    array([1., 1.], dtype=float32)
    """

    source = Source("Liu et al.", "Towards Impartial Multi-task Learning", "ICLR", 2021)

    def __init__(self, epsilon: float = 1e-8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.epsilon = check_number(epsilon, "epsilon", minimum=1e-30)

    def build(self, input_shape: Sequence[int]) -> None:
        """Creates the logarithms of the scales, zeros `[num_tasks]`."""
        if not self.built:
            self.log_scale = self.add_weight(shape=tuple(input_shape[:1]), initializer="zeros", name="log_scale")
        super().build(input_shape)

    def call(self, losses: Any, active: Any) -> Any:
        """The scales."""
        log_scale = ops.convert_to_tensor(self.log_scale)
        # The value has a limit, and the gradient none, so that a scale finds back once the loss has grown.
        excess = ops.maximum(log_scale + math.log(self.epsilon), 0.0)
        scale = ops.exp(log_scale - ops.stop_gradient(excess))
        return self.preference(losses.shape[0]) * scale * ops.cast(active, self.compute_dtype)

    def regularization(self, active: Any) -> Any:
        """What keeps the scales from vanishing: minus the sum of their logarithms."""
        counted = self.preference(self.log_scale.shape[0]) * ops.cast(active, self.compute_dtype)
        return -ops.sum(counted * self.log_scale)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "epsilon": self.epsilon}
