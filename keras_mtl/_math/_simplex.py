"""Weights that are not negative and sum to one, over the tasks that are active."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_mtl._math._masked import largest


def project_on_simplex(values: Any, active: Any) -> Any:
    """The nearest point, in Euclidean distance, of the simplex over the active tasks.

    J. Duchi, S. Shalev-Shwartz, Y. Singer, T. Chandra, "Efficient Projections onto the l1-Ball for Learning in High
    Dimensions", ICML 2008: one number is taken off all values, and what falls below zero is zero.

    Args:
        values: `[num_tasks]`, finite where active.
        active: booleans `[num_tasks]`.

    Returns:
        The point, `[num_tasks]`: 0 for a task that is not active, and everywhere if none is.
    """
    size = values.shape[0]
    inside = ops.where(active, values, 0.0)
    top = ops.max(ops.where(active, values, -float("inf")))
    # The same number may be taken off all values beforehand. A value more than 1 below the largest becomes 0 in any
    # case: at 2 below, values of any size lose no digits of the others, and tasks that are not active stay out.
    shifted = ops.where(active, ops.maximum(inside - ops.where(ops.any(active), top, 0.0), -2.0), -2.0)
    descending = -ops.sort(-shifted)
    counts = ops.arange(1, size + 1, dtype=values.dtype)
    # What is to be taken off, were the first 1, 2, ... values to remain: too little, except at the right count.
    threshold = ops.max((ops.cumsum(descending) - 1.0) / counts)
    return ops.where(active, ops.maximum(shifted - threshold, 0.0), 0.0)


def simplex_step(shares: Any, slopes: Any, step_size: Any, active: Any) -> Any:
    """One step of projected gradient descent on the simplex over the active tasks.

    Args:
        shares: where it begins, `[num_tasks]`, a point of the simplex over the active tasks.
        slopes: the gradient there, `[num_tasks]`.
        step_size: of the step, a scalar of at least 0.
        active: booleans `[num_tasks]`.
    """
    slopes = ops.where(active, slopes, 0.0)
    least = ops.min(ops.where(active, slopes, float("inf")))
    # What all slopes have in common is projected away; and what moves a task by 2 has moved it out of the simplex.
    excess = ops.minimum(slopes - ops.where(ops.any(active), least, 0.0), largest(slopes))
    return project_on_simplex(shares - ops.clip(step_size * excess, 0.0, 2.0), active)


def equal_shares(shape: tuple[int, ...], dtype: Any) -> Any:
    """Where the weights begin, an initializer: exact in float64 too, which the constants of Keras are not."""
    return ops.ones(shape, dtype=dtype) / shape[0]


def active_shares(weights: Any, active: Any) -> Any:
    """The active tasks' weights, scaled to a sum of 1; equal ones if their sum is 0.

    Args:
        weights: of all tasks, `[num_tasks]`, none of them negative.
        active: booleans `[num_tasks]`.
    """
    counted = ops.cast(active, weights.dtype)
    total = ops.sum(counted * weights)
    equal = counted / ops.maximum(ops.sum(counted), 1.0)
    return ops.where(total > 0, ops.divide_no_nan(counted * weights, total), equal)


def preferred_shares(preference: Any, active: Any) -> Any:
    """What each active task counts, in sum 1; all 0 if none of them is to count.

    Args:
        preference: what each task counts, `[num_tasks]`, none of it negative.
        active: booleans `[num_tasks]`.
    """
    counted = ops.where(active, preference, 0.0)
    return ops.divide_no_nan(counted, ops.sum(counted))


def with_active_shares(weights: Any, shares: Any, active: Any) -> Any:
    """The weights of all tasks, after the active ones have divided among them anew what they had.

    Args:
        weights: of all tasks, `[num_tasks]`.
        shares: the active tasks' new shares, `[num_tasks]`, of which the sum is 1.
        active: booleans `[num_tasks]`. The weight of a task that is not active stays as it is.
    """
    total = ops.sum(ops.where(active, weights, 0.0))
    return ops.where(active, total * shares, weights)
