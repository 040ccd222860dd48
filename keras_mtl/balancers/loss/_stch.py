"""The largest of the losses, smoothed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mtl._checks import check_integer, check_number, check_same_names
from keras_mtl._math import masked_mean, masked_softmax
from keras_mtl.balancers._base import Source, registry
from keras_mtl.balancers._loss import LossBalancer


@registry.register("stch")
class STCH(LossBalancer):
    """Minimizes a smooth maximum over the tasks, so that the task that is worst off has the most weight.

    The objective is `mu * log(sum_i exp(lambda_i * f_i / mu))`, where `f_i` says how far task i has to go: by default
    the logarithm of its loss, divided by its mean loss at the end of a warm-up. If `mu` is small enough, its minima
    over all `lambda` are the Pareto set, also where no sum of weighted losses can reach it, for want of convexity. Use
    it to choose a trade-off by the tasks' `weight`s, which are `lambda`: the task with the larger one is held to the
    smaller loss.

    Source: X. Lin, X. Zhang, Z. Yang, F. Liu, Z. Wang, Q. Zhang, "Smooth Tchebycheff Scalarization for Multi-Objective
    Optimization", ICML 2024. As in the official code for multi-task learning, the objective is multiplied by the number
    of tasks, and during the warm-up the weights are those of the sum of the logarithms, `lambda_i / loss_i`. It differs
    in this:
    - `lambda` has the mean 1 over the tasks in the batch. In the paper it adds up to 1; the official code has ones.
      The mean of the tasks' weights multiplies the objective, as it does for other balancers of losses.
    - The warm-up is counted for each task by the epochs in which it was seen, and a task that is still in it has
      `f = 0`. It takes 1 epoch by default; in the official code it takes 5.
    - The ideal point is subtracted from the losses before the logarithm. The official code has none.
    As in the formula, a task of weight 0 has its term in the sum, a 1, by which the weights of the others are lower.

    Args:
        mu: how smooth the maximum is, at least 1e-6. The nearer to 0, the more of the weight the worst task has.
            Defaults to 1.
        log_losses: whether `f` is the logarithm of the loss relative to that of the warm-up, which makes it free of
            units. If not, `f` is the loss less the ideal point, as in the paper's formula. Defaults to True.
        warmup_epochs: the number of epochs before the task's loss is compared with its mean in the last of them. 0
            compares with 1. Without effect if `log_losses` is False. Defaults to 1.
        ideal_point: the losses that no model can fall below, a dict of numbers by task name. Defaults to zeros.
        epsilon: with `log_losses`, what is left of a loss above the ideal point counts as epsilon if it is less; at
            least 1e-30. A loss of 0, or a negative one, then has little weight in the maximum. Defaults to 1e-8.
        **kwargs: the arguments of `keras.layers.Layer`: `name`, `trainable`, and `dtype`, by default float32.

    Raises:
        ValueError: if an argument is out of its range, or, in `compile`, if the names are not those of the tasks.

    Example:

    >>> import numpy as np
    >>> from keras_mtl import balancers
    >>> balancer, active = balancers.STCH(), np.array([True, True])
    >>> balancer(np.array([4.0, 0.5]), active).numpy()
    array([0.25, 2.  ], dtype=float32)
    >>> balancer.on_epoch_end(np.array([4.0, 0.5]), active)
    >>> balancer(np.array([4.0, 0.25]), active).numpy().round(3)
    array([0.333, 2.667], dtype=float32)
    """

    source = Source(
        "Lin et al.", "Smooth Tchebycheff Scalarization for Multi-Objective Optimization", "ICML", 2024, "2402.19078"
    )
    needs_epoch_end = True

    _ideal: np.ndarray | None = None

    def __init__(
        self,
        mu: float = 1.0,
        log_losses: bool = True,
        warmup_epochs: int = 1,
        ideal_point: Mapping[str, float] | None = None,
        epsilon: float = 1e-8,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.mu = check_number(mu, "mu", minimum=1e-6)
        if not isinstance(log_losses, bool):
            raise ValueError(f"Parameter `log_losses` should be True or False. Received: log_losses={log_losses!r}")
        self.log_losses = log_losses
        self.warmup_epochs = check_integer(warmup_epochs, "warmup_epochs", minimum=0)
        if ideal_point is not None and not isinstance(ideal_point, Mapping):
            raise ValueError(
                f"Parameter `ideal_point` should be a dict of numbers by task name. Received: {ideal_point=!r}"
            )
        self.ideal_point = (
            None
            if ideal_point is None
            else {task: check_number(v, f"ideal_point[{task!r}]", minimum=-1e30) for task, v in ideal_point.items()}
        )
        self.epsilon = check_number(epsilon, "epsilon", minimum=1e-30)

    def bind(
        self,
        names: Sequence[str],
        weights: Sequence[float],
        losses: Sequence[keras.losses.Loss | None],
        num_gradients: int = 0,
    ) -> None:
        """Brings the ideal point into the order of the tasks."""
        if self.ideal_point is not None:
            check_same_names(
                self.ideal_point,
                names,
                what="tasks of the ideal point of the balancer `STCH`",
                mend="Give one number for each task of the model.",
            )
            self._ideal = np.asarray([self.ideal_point[task] for task in names], "float64")
        super().bind(names, weights, losses, num_gradients)

    def build(self, input_shape: Sequence[int]) -> None:
        """Creates the losses of the warm-up, and how much of it each task has seen, both `[num_tasks]`."""
        if not self.built:
            shape = tuple(input_shape[:1])
            self.nadir = self.add_weight(shape=shape, initializer="ones", trainable=False, name="nadir")
            self.num_epochs = self.add_weight(
                shape=shape, dtype="int32", initializer="zeros", trainable=False, name="num_epochs"
            )
        super().build(input_shape)

    def call(self, losses: Any, active: Any) -> Any:
        """The derivatives of the smooth maximum."""
        preference = ops.where(active, self.preference(losses.shape[0]), 0.0)
        relative = ops.divide_no_nan(preference, masked_mean(preference, active))
        distance, slope = self._distance(losses), 1.0
        if self.log_losses:
            is_warm = self.num_epochs >= self.warmup_epochs
            slope = 1.0 / distance
            distance = ops.where(is_warm, ops.log(distance) - ops.log(self.nadir), 0.0)
        num_active = ops.sum(ops.cast(active, preference.dtype))
        return num_active * preference * masked_softmax(relative * distance / self.mu, active) * slope

    def on_epoch_end(self, losses: Any, active: Any) -> None:
        """Remembers the mean losses of a warm-up epoch."""
        losses = ops.convert_to_tensor(losses, dtype=self.compute_dtype)
        active = ops.logical_and(ops.convert_to_tensor(active, dtype="bool"), ops.isfinite(losses))
        in_warmup = ops.logical_and(active, self.num_epochs < self.warmup_epochs)
        self.nadir.assign(ops.where(in_warmup, self._distance(losses), self.nadir))
        self.num_epochs.assign(ops.where(in_warmup, self.num_epochs + 1, self.num_epochs))

    def _distance(self, losses: Any) -> Any:
        """What is left of the losses above the ideal point."""
        if self.ideal_point is not None:
            if self._ideal is None:
                raise ValueError(
                    "The balancer `STCH` has an ideal point by task name, and does not know the order of the tasks "
                    "yet. Call `bind` first, as `compile` does."
                )
            losses = losses - ops.convert_to_tensor(self._ideal, dtype=self.compute_dtype)
        return ops.maximum(losses, self.epsilon) if self.log_losses else losses

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {
            **super().get_config(),
            "mu": self.mu,
            "log_losses": self.log_losses,
            "warmup_epochs": self.warmup_epochs,
            "ideal_point": None if self.ideal_point is None else dict(self.ideal_point),
            "epsilon": self.epsilon,
        }
