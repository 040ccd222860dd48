"""The weights of another balancer, averaged over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_mtl._checks import check_number
from keras_mtl.balancers._base import Source, registry
from keras_mtl.balancers._gradient import GramianBalancer


@registry.register("smoothed")
class Smoothed(GramianBalancer):
    """Averages the weights that another balancer finds over the steps, and weighs the gradients by the averages.

    In each step a task's weight is `momentum` times what it was, plus `1 - momentum` times what the other balancer
    finds. Weights that depend on the gradients of one batch are correlated with these, which may keep MGDA, PCGrad and
    others from converging; averaged ones are nearly free of it. Use it where batches are small, or weights jump.

    Source: S. Zhou, W. Zhang, J. Jiang, W. Zhong, J. Gu, W. Zhu, "On the Convergence of Stochastic Multi-Objective
    Gradient Manipulation and Beyond", NeurIPS 2022: CR-MOGM. Here the momentum is the same in each step. A task's
    average begins with the first weight found for it, so that the sum of the weights is from the start what the other
    balancer's is. A task that is not active keeps its average.

    Args:
        balancer: the other balancer: a name, a config or an instance of one that weighs gradients by their Gramian,
            without averages of gradients or an `update_every` of its own. Defaults to `"mgda"`.
        momentum: what the earlier average counts, at least 0 and below 1. Defaults to 0.9.
        gradients: `"shared"` or `"features"`, as in `GramianBalancer`. Defaults to what `balancer` says.
        **kwargs: `update_every`, as in `GramianBalancer`, and the arguments of `keras.layers.Layer`.

    Raises:
        ValueError: if `balancer` is of another kind, or says other `gradients` or another `dtype`, or `momentum` is out
            of its range.

    Example:

    >>> from keras_mtl import balancers
    >>> balancer = balancers.Smoothed("pcgrad", momentum=0.5)
    >>> balancer.direction([[1.0, 0.0], [-1.0, 1.0]]).numpy()
    array([0.5, 1.5], dtype=float32)
    >>> balancer.direction([[1.0, 0.0], [0.0, 1.0]]).numpy()
    array([1.5 , 1.25], dtype=float32)
    """

    source = Source(
        "Zhou et al.",
        "On the Convergence of Stochastic Multi-Objective Gradient Manipulation and Beyond",
        "NeurIPS",
        2022,
    )

    def __init__(
        self, balancer: Any = "mgda", momentum: float = 0.9, *, gradients: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(balancer, str):
            known = registry.classes().get(balancer)
            given = known is not None and issubclass(known, GramianBalancer)
            arguments = {"dtype": self.dtype_policy.name} | ({"gradients": gradients} if gradients else {})
            balancer = registry.get(balancer, **(arguments if given else {}))
        else:
            balancer = registry.get(balancer)
        _check_inner(balancer)
        if gradients not in (None, balancer.gradients):
            raise ValueError(
                f"Parameter `gradients` should be what the balancer within says, {balancer.gradients!r}. Received: "
                f"gradients={gradients!r}"
            )
        if balancer.compute_dtype != self.compute_dtype:
            raise ValueError(
                f"Parameter `dtype` should be what the balancer within says, {balancer.compute_dtype!r}. Received: "
                f"dtype={self.compute_dtype!r}"
            )
        self.balancer = balancer
        self.momentum = check_number(momentum, "momentum", below=1.0)
        self.gradients = balancer.gradients
        # They depend on the argument here, and are read off the instance.
        self.default_losses = balancer.default_losses  # type: ignore[misc]
        self.min_tasks = balancer.min_tasks  # type: ignore[misc]
        self.takes_preference = balancer.takes_preference  # type: ignore[misc]

    def bind(
        self,
        names: Sequence[str],
        weights: Sequence[float],
        losses: Sequence[keras.losses.Loss | None],
        num_gradients: int = 0,
    ) -> None:
        """Tells the balancer within, too."""
        self.balancer.bind(names, weights, losses, num_gradients)
        super().bind(names, weights, losses, num_gradients)

    def claim(self, model: keras.Model) -> None:
        """Makes the balancer within that model's own, too."""
        self.balancer.claim(model)
        super().claim(model)

    def preference(self, num_tasks: int) -> Any:
        """That of the balancer within."""
        return self.balancer.preference(num_tasks)

    def build(self, input_shape: Sequence[int]) -> None:
        """Creates the averages `[num_tasks]`, and the state of the balancer within."""
        if not self.built:
            size = input_shape[0]
            self.averages = self.add_weight(shape=(size,), initializer="zeros", trainable=False, name="averages")
            self.has_average = self.add_weight(
                shape=(size,), dtype="bool", initializer="zeros", trainable=False, name="has_average"
            )
            if not self.balancer.built:
                self.balancer.build(input_shape)
        super().build(input_shape)

    def call(self, gramian: Any, active: Any) -> Any:
        """The averages, after the weights found now have been taken in."""
        found = self.balancer.weigh(gramian, active)
        before, has_average = ops.convert_to_tensor(self.averages), ops.convert_to_tensor(self.has_average)
        averaged = ops.where(has_average, self.momentum * before + (1.0 - self.momentum) * found, found)
        averages = ops.where(active, averaged, before)
        self.averages.assign(averages)
        self.has_average.assign(ops.logical_or(has_average, active))
        return averages

    def _own_variables(self) -> list[keras.Variable]:
        """Without those of the balancer within."""
        inner = {id(variable) for variable in self.balancer.variables}
        return [variable for variable in self.variables if id(variable) not in inner]

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        balancer = keras.saving.serialize_keras_object(self.balancer)
        balancer.pop("build_config", None)  # the number of tasks, which is no argument
        return {
            **super().get_config(),
            "balancer": balancer,
            "momentum": self.momentum,
        }


def _check_inner(balancer: Any) -> None:
    """Refuses balancers whose weights cannot be averaged."""
    name = type(balancer).__name__
    if not isinstance(balancer, GramianBalancer):
        reason = f"`{name}`, which does not weigh gradients by their Gramian"
    elif balancer.needs_jacobian or balancer.keeps_gradients:
        reason = f"`{name}`, which averages the gradients themselves"
    elif balancer.update_every > 1:
        reason = f"`{name}` with update_every={balancer.update_every}. Give `update_every` to `Smoothed`"
    else:
        return
    raise ValueError(
        "Parameter `balancer` should be a balancer by Gramians, without averages of gradients or an `update_every` of "
        f"its own. Received: {reason}"
    )
