"""Fast adaptive multitask optimization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_mtl._checks import check_number, check_one_of
from keras_mtl._math import adam_step, masked_softmax
from keras_mtl.balancers._base import Source, registry
from keras_mtl.balancers._loss import LossBalancer


@registry.register("famo")
class FAMO(LossBalancer):
    """Learns weights with which all losses fall at the same rate, from the losses before and after each step.

    The weights are `c * z_i / loss_i` with `z` a softmax of logits and `c` such that they add up to 1. After each step,
    the logits of tasks whose logarithms fell by less than the others' are raised. Use it for what gradient balancers
    do, at the cost of one more pass forward: no task's gradient is needed.

    Source: B. Liu, Y. Feng, P. Stone, Q. Liu, "FAMO: Fast Adaptive Multitask Optimization", NeurIPS 2023. Algorithm 1
    of the paper updates the logits by plain gradient descent; its appendix and the official code by Adam, which is the
    default here. `weight_decay` is the paper's gamma: it pulls the logits back to 0, and is part of the gradient under
    Adam too. The least that a loss can be, which the paper subtracts from it if it is known, counts as 0. Instead of
    adding 1e-8 to a loss, as the official code does, losses are kept at that or above; and what is but rounding in the
    differences between the tasks' falls counts as 0, of which Adam would make full steps. The official code also clips
    the norm of the gradient of the shared parameters at 1: `global_clipnorm=1.0` of the model's optimizer comes nearest
    to that, and takes the other parameters in too. Softmax and sums are over the tasks in the batch, and a task that is
    not in it keeps its logit. A task's `weight` multiplies its weight here; the paper has none.

    Args:
        learning_rate: of the logits, at least 0. Defaults to 0.025.
        weight_decay: of the logits, at least 0. The more, the nearer to equal the rates' weights stay. Defaults to
            0.001.
        optimizer: of the logits, `"adam"` or `"sgd"`. Defaults to `"adam"`.
        epsilon: a loss below it, also a negative one, counts as it: the method is meant for positive losses. At least
            1e-30. Defaults to 1e-8.
        **kwargs: the arguments of `keras.layers.Layer`: `name`, `trainable`, and `dtype`, by default float32.

    Raises:
        ValueError: if an argument is out of its range.

    Example:

    >>> import numpy as np
    >>> from keras_mtl import balancers
    >>> balancer, active = balancers.FAMO(), np.array([True, True])
    >>> balancer(np.array([3.0, 1.0]), active).numpy().round(3)
    array([0.25, 0.75], dtype=float32)
    >>> balancer.after_step(np.array([1.5, 0.9]), active)  # the second fell by less
    >>> balancer(np.array([3.0, 1.0]), active).numpy().round(3)
    array([0.241, 0.759], dtype=float32)
    """

    source = Source("Liu et al.", "FAMO: Fast Adaptive Multitask Optimization", "NeurIPS", 2023, "2306.03792")
    cost = "one more pass forward"
    needs_after_step = True

    def __init__(
        self,
        learning_rate: float = 0.025,
        weight_decay: float = 0.001,
        optimizer: str = "adam",
        epsilon: float = 1e-8,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.learning_rate = check_number(learning_rate, "learning_rate")
        self.weight_decay = check_number(weight_decay, "weight_decay")
        self.optimizer = check_one_of(optimizer, "optimizer", ["adam", "sgd"])
        self.epsilon = check_number(epsilon, "epsilon", minimum=1e-30)

    def build(self, input_shape: Sequence[int]) -> None:
        """Creates the logits, the losses before a step, and the state of Adam, all `[num_tasks]`."""
        if not self.built:
            for name in ("logits", "step_losses", "first_moments", "second_moments"):
                weight = self.add_weight(shape=tuple(input_shape[:1]), initializer="zeros", trainable=False, name=name)
                setattr(self, name, weight)
            self.num_updates = self.add_weight(
                shape=tuple(input_shape[:1]), dtype="int32", initializer="zeros", trainable=False, name="num_updates"
            )
        super().build(input_shape)

    def call(self, losses: Any, active: Any) -> Any:
        """The rates' weights divided by the losses; remembers the losses."""
        self.step_losses.assign(ops.where(active, losses, self.step_losses))
        logarithms = ops.log(ops.maximum(losses, self.epsilon))
        # In logarithms: softmax(logits) / losses, divided by its sum over the tasks, is another softmax.
        shares = masked_softmax(self.logits - logarithms, active)
        return self.preference(losses.shape[0]) * shares

    def after_step(self, losses: Any, active: Any) -> None:
        """Moves the logits by how much the logarithm of each loss fell."""
        losses = ops.convert_to_tensor(losses, dtype=self.compute_dtype)
        before, logits = ops.stop_gradient(self.step_losses), ops.stop_gradient(self.logits)
        finite = ops.logical_and(ops.isfinite(losses), ops.isfinite(before))
        counted = ops.logical_and(ops.convert_to_tensor(active, dtype="bool"), finite)
        ratios = ops.maximum(before, self.epsilon) / ops.maximum(losses, self.epsilon)
        falls = ops.where(counted, ops.log(ops.clip(ratios, 1e-30, 1e30)), 0.0)
        rates = masked_softmax(logits, counted)
        lags = falls - ops.sum(rates * falls)
        # Adam would make full steps of what is but rounding, where all losses fall alike.
        rounding = 8 * np.finfo(self.compute_dtype).eps
        gradients = rates * ops.where(ops.abs(lags) > rounding, lags, 0.0) + self.weight_decay * logits
        if self.optimizer == "sgd":
            self.logits.assign(ops.where(counted, logits - self.learning_rate * gradients, logits))
            return
        state = [self.first_moments, self.second_moments, self.num_updates]
        logits, stepped = adam_step(logits, gradients, state, counted, learning_rate=self.learning_rate)
        for variable, value in zip([self.logits, *state], [logits, *stepped], strict=True):
            variable.assign(value)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {
            **super().get_config(),
            "learning_rate": self.learning_rate,
            "weight_decay": self.weight_decay,
            "optimizer": self.optimizer,
            "epsilon": self.epsilon,
        }
