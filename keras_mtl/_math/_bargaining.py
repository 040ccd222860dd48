"""The weights on which tasks agree that bargain over a direction."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from keras_mtl._math._spectral import cosines

# Step lengths that are tried at once.
_STEPS = (1.0, 0.5, 0.2, 0.04, 0.008)
# A step that changes no weight by more is the last one: Newton's steps square what is left.
_LAST_STEP = 1e-7
# What is lost in sums of float64, relative to the sizes of their terms.
_ROUNDING = 2.0**-50
# Random gradients, with and without much in common, 1 or 1e6 apart in length, take 3 to 16 steps for any alpha up to
# 30. More are taken where gradients cancel but for rounding.
_MAX_STEPS = 60
# The range of the logarithms of the weights.
_LEAST, _LARGEST = -460.0, 230.0
# A logarithm of which the exponential is 0, whatever is taken from it.
_NOTHING = -1e9


def bargain(gramian: Any, shares: Any, alpha: float) -> Any:
    """Solves `gramian @ weights = shares * weights ** (-1 / alpha)` for positive weights.

    They minimise the convex function `weights' G weights / 2 - sum(shares * weights ** (1 - 1 / alpha)) / (1 - 1 /
    alpha)`, for alpha = 1 with logarithms. Gradients are taken at length 1 and their lengths put into the shares, so
    that it does not matter how far apart they are. Each iteration is a step of Newton's method, the length of which is
    chosen among several.

    At a solution, weight and gain of a task lie on the curve `gain = share * weight ** (-1 / alpha)`, which for a large
    alpha is nearly a right angle: some tasks have a gain that hardly depends on their weight, and others, that gain
    from what the rest does, a weight of next to nothing. So a step moves along the curve by the weight where that
    changes by more than the gain does, and by the gain elsewhere. A weight that Newton's step makes negative goes round
    the corner, as it does in pivoting for a program over non-negative vectors, the limit of a large alpha.

    Args:
        gramian: the inner products of the gradients, finite, `[num_tasks, num_tasks]`.
        shares: what each task counts, at least 0, `[num_tasks]`. A task that counts 0 gets the weight 0.
        alpha: above 0; the larger, the more evenly the gains `gramian @ weights` are spread.

    Returns:
        The weights, float64, `[num_tasks]`: 0 for a gradient of length 0, and 0 for all where there is no solution,
        since the gradients cancel, up to the rounding of the Gramian.
    """
    num_tasks, power = gramian.shape[0], 1.0 / alpha
    remainder = 1.0 - power
    angles, lengths, present, tolerance = cosines(gramian)
    shares = ops.cast(shares, "float64")
    present = ops.logical_and(present, shares > 0)
    both = ops.logical_and(present, ops.expand_dims(present, 1))
    angles = ops.where(both, angles, 0.0)
    identity = ops.eye(num_tasks, dtype="float64")
    absent = identity * ops.cast(ops.logical_not(present), "float64")
    # A Gramian that was rounded may have eigenvalues below 0, for which there is no minimum.
    shift = ops.maximum(tolerance - ops.min(ops.eigh(angles + absent)[0]), 0.0)
    angles = angles + shift * (identity - absent)
    # What is lost in the gains, for weights of 1.
    noise = _ROUNDING * ops.abs(angles)
    solvable = angles + absent

    longest = ops.max(ops.where(present, lengths, 0.0))
    longest = ops.where(longest > 0, longest, 1.0)
    relative_lengths = ops.where(present, lengths / longest, 1.0)
    # In logarithms, which have room for any lengths.
    log_shares = ops.log(ops.where(present, shares, 1.0)) - remainder * ops.log(relative_lengths)
    # Where the exponentials below are numbers still.
    log_shares = ops.clip(log_shares, -300.0 * (1.0 + power), 300.0 * (1.0 + power))
    start = ops.where(present, ops.exp(log_shares / (1.0 + power)), 1.0)
    # Who is absent is to gain 0, for any weight.
    log_shares = ops.where(present, log_shares, _NOTHING)
    steps = ops.reshape(ops.convert_to_tensor(_STEPS, dtype="float64"), (-1, 1))

    def growths(changes: Any, slopes: Any, is_flat: Any, log_weights: Any) -> Any:
        """By how much the logarithms of the weights grow with Newton's steps, `[num_steps, num_tasks]`.

        Args:
            changes: the full step, relative to the weights, `[1, num_tasks]`.
            slopes: what a task is to gain, relative to its weight, `[1, num_tasks]`.
            is_flat: whether the weight of a task changes by more than its gain does, booleans `[1, num_tasks]`.
            log_weights: the logarithms of the weights, which stay within their range, `[1, num_tasks]`.
        """
        by_weight = steps * changes
        by_gain = -power * by_weight
        # Round the corner, it is the sum of both that a step changes as far as it was to.
        risen = by_weight + ops.where(is_flat, 0.0, slopes) * ops.maximum(-1.0 - by_gain, 0.0)
        fallen = by_gain + ops.where(is_flat, ops.divide_no_nan(1.0, slopes), 0.0) * ops.maximum(-1.0 - by_weight, 0.0)
        moves_weight = ops.where(is_flat, by_weight > -0.9, by_gain <= -0.9)
        logarithms = ops.log1p(ops.where(moves_weight, risen, fallen))
        logarithms = ops.where(moves_weight, logarithms, -alpha * logarithms)
        return ops.minimum(ops.maximum(logarithms, _LEAST - log_weights), _LARGEST - log_weights)

    def gains(log_weights: Any) -> Any:
        """What each task is to gain, for its weight."""
        return ops.exp(log_shares - power * log_weights)

    def iterate(weights: Any, _: Any) -> tuple[Any, Any]:
        log_weights = ops.log(weights)
        wanted, received = gains(log_weights), ops.matmul(weights, angles)
        # The best common factor comes in closed form.
        square = ops.sum(weights * received)
        ratio = ops.where(square > 0, ops.sum(weights * wanted) / square, 1.0)
        factor = ratio ** (1.0 / (1.0 + power))
        weights, wanted, received = factor * weights, wanted * factor**-power, factor * received
        slopes = wanted / weights
        is_flat = power * slopes <= 1.0
        # On both sides by the root of the diagonal, which may be 1e200: XLA's solver squares what it is given.
        scale = ops.rsqrt(1.0 + power * slopes)
        matrix = solvable * scale * ops.transpose(scale) + identity * (power * slopes * scale * scale)
        changes = ops.solve(matrix, ops.reshape(scale * (wanted - received), (num_tasks, 1)))
        changes = scale * ops.reshape(changes, (1, num_tasks)) / weights
        logarithms = growths(changes, slopes, is_flat, log_weights + ops.log(factor))
        # How the function to be minimised changes.
        relative = ops.expm1(logarithms)
        differences = weights * relative
        growth = ops.matmul(differences, angles)
        rise = ops.expm1(remainder * logarithms) / remainder if remainder else logarithms
        cost, gain = differences * (received + 0.5 * growth), weights * wanted * rise
        values = ops.sum(cost - gain, axis=1)
        rounding = _ROUNDING * ops.sum(ops.abs(cost) + ops.abs(gain), axis=1)
        # Where nothing but rounding is left of that: what is left of the equation.
        left = ops.sum(ops.square(received + growth - wanted * ops.exp(-power * logarithms)), axis=1)
        values = ops.where(ops.any(values < -rounding), values, left)
        best = ops.top_k(ops.where(ops.isfinite(values), -values, -np.inf), 1)[1]
        # What a full step changes, by the weight or by the gain. No gain is known better than its terms, which may
        # cancel.
        full = ops.abs(ops.where(is_flat, relative[:1], power * relative[:1]))
        least = ops.clip(ops.divide_no_nan(ops.matmul(weights, noise), wanted), _LAST_STEP, 0.1)
        return weights * ops.exp(ops.take(logarithms, best, axis=0)), ops.any(full > least)

    # From where no gradients have anything in common, the solution.
    weights, _ = ops.while_loop(
        lambda weights, goes_on: goes_on,
        iterate,
        (ops.expand_dims(start, 0), ops.any(present)),
        maximum_iterations=_MAX_STEPS,
    )
    weights = ops.squeeze(weights, 0)
    # Where the shift pays for more than half of a task's gain, there would be next to none without it. And whatever
    # came of the steps, no task is to lose.
    scaled = angles * weights * ops.expand_dims(weights, 1)
    own = shift * weights <= 0.5 * gains(ops.log(weights))
    keeps = ops.sum(scaled, axis=1) >= -4 * _ROUNDING * ops.sum(ops.abs(scaled), axis=1)
    solved = ops.all(ops.logical_or(ops.logical_and(own, keeps), ops.logical_not(present)))
    weights = weights / relative_lengths * longest ** (-2.0 / (1.0 + power))
    return ops.where(ops.logical_and(present, solved), weights, 0.0)
