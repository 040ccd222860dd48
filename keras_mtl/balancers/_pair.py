"""From what `compile` is given as `balancer` to one loss balancer and, where asked for, one gradient balancer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_mtl.balancers._base import registry
from keras_mtl.balancers._gradient import DirectionBalancer
from keras_mtl.balancers._loss import BilevelBalancer, LossBalancer


def get_pair(identifier: Any) -> tuple[LossBalancer, DirectionBalancer | None]:
    """The loss balancer and the gradient balancer that a balancer, or a list of one of each, stands for.

    Args:
        identifier: a name, config or instance, or a list of a loss balancer followed by a gradient balancer.

    Returns:
        The loss balancer, the gradient balancer's `default_losses` (`equal`, as a rule) where only a gradient balancer
        was given, and the gradient balancer or None.

    Raises:
        ValueError: if a name is unknown, or a list is not of that kind.

    Example:

    >>> from keras_mtl import balancers
    >>> [type(balancer).__name__ for balancer in balancers.get_pair(["uncertainty", "pcgrad"])]
    ['Uncertainty', 'PCGrad']
    >>> [type(balancer).__name__ for balancer in balancers.get_pair("pcgrad")]
    ['Equal', 'PCGrad']
    """
    parts = [registry.get(part) for part in (identifier if isinstance(identifier, (list, tuple)) else [identifier])]
    match parts:
        case [LossBalancer() as loss_balancer]:
            return loss_balancer, None
        case [DirectionBalancer() as gradient_balancer]:
            return registry.get(gradient_balancer.default_losses), gradient_balancer
        case [LossBalancer() as loss_balancer, DirectionBalancer() as gradient_balancer]:
            return loss_balancer, gradient_balancer
    raise ValueError(
        "Parameter `balancer` should be one balancer, or a list of a loss balancer followed by a gradient balancer. "
        f"Received: balancer={identifier!r}"
    )


def bind_pair(
    loss_balancer: LossBalancer,
    gradient_balancer: DirectionBalancer | None,
    names: Sequence[str],
    weights: Sequence[float],
    losses: Sequence[keras.losses.Loss | None],
    num_gradients: Callable[[str], int],
) -> None:
    """Tells a pair of balancers the tasks. The tasks' `weight`s count in one of the two.

    They are the preference vector of a gradient balancer that admits one, and multiply the losses otherwise. On a
    second stream of data, they multiply the losses in either case.

    Args:
        loss_balancer: the first of the pair.
        gradient_balancer: the second, or None.
        names: the names of the tasks.
        weights: the `weight` of each task.
        losses: the loss of each task.
        num_gradients: the length of a task's gradient by kind, `"shared"` or `"features"`.
    """

    def size(balancer: Any) -> int:
        return num_gradients(balancer.gradients) if balancer.keeps_gradients else 0

    ones = [1.0] * len(names)
    prefers = gradient_balancer is not None and gradient_balancer.takes_preference
    inside = prefers and not loss_balancer.replaces_weights
    loss_balancer.bind(names, ones if inside else weights, losses, size(loss_balancer))
    if isinstance(loss_balancer, BilevelBalancer):
        loss_balancer.bind_second_stream(weights)
    if gradient_balancer is not None:
        gradient_balancer.bind(names, weights if inside else ones, losses, size(gradient_balancer))
