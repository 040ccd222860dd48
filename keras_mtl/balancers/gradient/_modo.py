"""Weights that follow the point of least norm, a step in each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_mtl._checks import check_number
from keras_mtl._math import active_shares, equal_shares, simplex_step, with_active_shares
from keras_mtl.balancers._base import Source, registry
from keras_mtl.balancers._gradient import GramianBalancer


@registry.register("modo")
class MoDo(GramianBalancer):
    """Moves the tasks' weights, whose sum is 1, one small step towards those of MGDA in each step of training.

    The weights `w` go a step of projected gradient descent on `|w J|^2 / 2 + regularization |w|^2 / 2`, where `J` has
    the tasks' gradients. A small step size stays near equal weights, which generalize better; a large one avoids
    conflicts better. Use it to choose between the two, or where MGDA's weights jump from batch to batch.

    Source: L. Chen, H. Fernando, Y. Ying, T. Chen, "Three-Way Trade-Off in Multi-Objective Learning: Optimization,
    Generalization and Conflict-Avoidance", NeurIPS 2023, algorithm 1. Differs from the paper: there the two gradients
    whose product drives the weights are of two independent batches, and the step is made along the gradients of a
    third, so that the step of the weights is unbiased. Here there is one batch, and thus one Gramian, for all of them:
    the name's double sampling is not done, and the product of a batch's gradients with themselves has a bias that falls
    with the size of the batch. The parameters of one task alone get the gradient of their own loss on it; in the
    official code, the sum of those on two batches. A task that is not active keeps its weight, and the others divide
    what they have among them. LibMTL's version has a step size of 0.001 and a regularization of 0.1.

    Args:
        step_size: of the step of the weights, at least 0; it goes with the square of the gradients' size. Defaults
            to 0.1.
        regularization: pulls the weights together, at least 0. Defaults to 0.
        **kwargs: `gradients` and `update_every`, as in `GramianBalancer`, and the arguments of `keras.layers.Layer`.

    Raises:
        ValueError: if a number is below 0.

    Example:

    >>> from keras_mtl import balancers
    >>> balancer = balancers.MoDo()
    >>> balancer.direction([[1.0, 0.0], [0.0, 2.0]]).numpy().round(4)
    array([0.575, 0.85 ], dtype=float32)
    >>> balancer.direction([[1.0, 0.0], [0.0, 2.0]]).numpy().round(4)
    array([0.6312, 0.7375], dtype=float32)
    """

    source = Source(
        "Chen et al.",
        "Three-Way Trade-Off in Multi-Objective Learning: Optimization, Generalization and Conflict-Avoidance",
        "NeurIPS",
        2023,
        "2305.20057",
    )

    def __init__(self, step_size: float = 0.1, regularization: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step_size = check_number(step_size, "step_size")
        self.regularization = check_number(regularization, "regularization")

    def build(self, input_shape: Sequence[int]) -> None:
        """Creates the weights, equal ones `[num_tasks]`."""
        if not self.built:
            self.task_weights = self.add_weight(
                shape=(input_shape[0],),
                initializer=equal_shares,
                trainable=False,
                name="task_weights",
            )
        super().build(input_shape)

    def call(self, gramian: Any, active: Any) -> Any:
        """The weights after their step."""
        weights = ops.convert_to_tensor(self.task_weights)
        shares = active_shares(weights, active)
        slopes = ops.matmul(gramian, shares) + self.regularization * shares
        shares = simplex_step(shares, slopes, self.step_size, active)
        self.task_weights.assign(with_active_shares(weights, shares, active))
        return shares

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "step_size": self.step_size, "regularization": self.regularization}
