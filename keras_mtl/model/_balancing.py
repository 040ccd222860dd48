"""From what `compile` was given as `balancer` to one loss balancer and, where asked for, one gradient balancer."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from keras_mtl import balancers
from keras_mtl.tasks import Task


def resolve_balancers(
    identifier: Any, tasks: Sequence[Task]
) -> tuple[balancers.LossBalancer, balancers.GramianBalancer | None]:
    """The loss balancer and the gradient balancer, or None, that a name, config, instance or list of these stands for.

    Raises:
        ValueError: if a list is not a loss balancer followed by a gradient balancer.
    """
    parts = [balancers.get(part) for part in (identifier if isinstance(identifier, (list, tuple)) else [identifier])]
    if len(parts) == 1:
        if isinstance(parts[0], balancers.LossBalancer):
            parts.append(None)
        else:
            parts.insert(0, balancers.Equal())
    loss_balancer, gradient_balancer = (*parts, None, None)[:2]
    if (
        len(parts) != 2
        or not isinstance(loss_balancer, balancers.LossBalancer)
        or not isinstance(gradient_balancer, balancers.GramianBalancer | None)
    ):
        raise ValueError(
            f"Parameter `balancer` should be one balancer, or a list of a loss balancer followed by a gradient balancer. "
            f"Received: balancer={identifier!r}"
        )
    for part in (loss_balancer, gradient_balancer):
        if part is not None and len(tasks) == 1 and not part.useful_for_one_task:
            warnings.warn(
                f"The balancer `{type(part).__name__}` settles a conflict between tasks, and this model has one task, "
                f"{tasks[0].name!r}: it costs time and brings nothing. Use balancer='equal'.",
                stacklevel=3,
            )
    return loss_balancer, gradient_balancer
