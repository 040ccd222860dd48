"""From what `compile` is given as `balancer` to one loss balancer and, where asked for, one gradient balancer."""

from __future__ import annotations

from typing import Any

from keras_mtl.balancers._base import GramianBalancer, LossBalancer, registry
from keras_mtl.balancers.loss import Equal


def get_pair(identifier: Any) -> tuple[LossBalancer, GramianBalancer | None]:
    """The loss balancer and the gradient balancer that a balancer, or a list of one of each, stands for.

    Args:
        identifier: a name, config or instance, or a list of a loss balancer followed by a gradient balancer.

    Returns:
        The loss balancer, `Equal` where only a gradient balancer was given, and the gradient balancer or None.

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
        case [GramianBalancer() as gradient_balancer]:
            return Equal(), gradient_balancer
        case [LossBalancer() as loss_balancer, GramianBalancer() as gradient_balancer]:
            return loss_balancer, gradient_balancer
    raise ValueError(
        "Parameter `balancer` should be one balancer, or a list of a loss balancer followed by a gradient balancer. "
        f"Received: balancer={identifier!r}"
    )
