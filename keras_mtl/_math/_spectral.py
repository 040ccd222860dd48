"""Gramians by their spectrum: cosines, equal cosines, alignment."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

# The distance from 1 to the next number, and the smallest number of full precision.
_PRECISION = {
    "float32": (2.0**-23, 2.0**-126),
    "float64": (2.0**-52, 2.0**-1022),
}
# The arithmetic on the cosines takes digits too: it is done in float64, and loses two of them.
_LEAST_ROUNDING = 2.0**-46
# What is asked of the tasks may lie where the gradients do not reach, but for rounding: less than this part within.
_NEGLIGIBLE = 1e-5

# Vectors with a smaller cosine count as orthogonal. Each sweep of rotations squares what is left.
_ORTHOGONAL = 1e-10
_MAX_SWEEPS = 12


def cosines(gramian: Any) -> tuple[Any, Any, Any, float]:
    """Splits a Gramian into the gradients' cosines, their lengths, and how far both can be trusted.

    Gradients of very different lengths are as easy to tell apart by their cosines as others are; by the Gramian, the
    short ones drown in the rounding of the long ones. All that is returned is in float64, whatever the Gramian is in.

    Args:
        gramian: the inner products of the gradients, finite, `[num_tasks, num_tasks]`.

    Returns:
        The cosines `[num_tasks, num_tasks]`, with 0 in the rows and columns of gradients of length 0; the lengths
        `[num_tasks]`, and 1 in place of 0; whether each length is above 0, booleans `[num_tasks]`; and the error that
        an eigenvalue of the cosines may have for the rounding of the Gramian, a Python float. It grows by the root of
        the number of tasks, as the norm of a matrix of independent errors does.
    """
    rounding, smallest = _PRECISION[keras.backend.standardize_dtype(gramian.dtype)]
    gramian = ops.cast(gramian, "float64")
    squares = ops.diagonal(gramian)
    present = squares >= smallest  # what is smaller has lost its digits
    lengths = ops.sqrt(ops.where(present, squares, 1.0))
    scale = ops.where(present, 1.0 / lengths, 0.0)
    # Row by row first: the product of two lengths may leave the range of the numbers.
    found = ops.clip(gramian * ops.expand_dims(scale, 1) * scale, -1.0, 1.0)
    found = 0.5 * (found + ops.transpose(found))
    return found, lengths, present, 4 * gramian.shape[0] ** 0.5 * max(rounding, _LEAST_ROUNDING)


def solve_cosines(cosines: Any, target: Any, tolerance: float) -> Any:
    """The shortest `u` with `cosines @ u` nearest to `target`: the pseudo-inverse, applied.

    Args:
        cosines: a matrix of cosines, float64, `[num_tasks, num_tasks]`.
        target: what the tasks are to get, float64, `[num_tasks]`.
        tolerance: eigenvalues up to it count as 0, relative to the largest one.

    Returns:
        `u`, float64, `[num_tasks]`; zeros where all of the target is out of reach.
    """
    values, vectors = ops.eigh(cosines)
    kept = values > tolerance * ops.maximum(ops.max(values), 1.0)
    inverse = ops.where(kept, 1.0 / ops.where(kept, values, 1.0), 0.0)

    def apply(vector: Any) -> Any:
        return ops.matmul(vectors, inverse * ops.matmul(vector, vectors))

    # XLA's eigenvectors have half of the digits; each refinement doubles what there is.
    found = apply(target)
    for _ in range(2):
        found = found + apply(target - ops.matmul(cosines, found))
    reached = ops.matmul(cosines, found)
    within = ops.sum(reached * reached) > _NEGLIGIBLE**2 * ops.sum(target * target)
    return ops.where(within, found, 0.0)


def align(gramian: Any, preference: Any, scale: str) -> Any:
    """The weights that align the principal components of the gradients, and give all of them one length.

    With the singular value decomposition `jacobian = U S V`, the weights are `s U (1 / S) U' @ preference`, so that
    the direction is `s U V` weighted by the preference, with one number `s` for all components.

    Args:
        gramian: the inner products of the gradients, finite, `[num_tasks, num_tasks]`.
        preference: what each task counts, `[num_tasks]`.
        scale: which `s`: the singular values' `"min"`, `"median"` or root mean square, `"rmse"`.

    Returns:
        The weights, float64, `[num_tasks]`. Components of length 0 are left out.
    """
    angles, lengths, present, tolerance = cosines(gramian)
    values, vectors = ops.eigh(angles)
    kept = values > tolerance * ops.maximum(ops.max(values), 1.0)
    rank = ops.sum(ops.cast(kept, "int32"))
    # A square matrix with the Gramian of the gradients: its singular values are theirs, and come with far more digits
    # than the square roots of the Gramian's eigenvalues, which for lengths 1e6 apart are 1e12 apart.
    factor = vectors * ops.where(kept, ops.sqrt(ops.where(kept, values, 1.0)), 0.0)
    longest = ops.max(ops.where(present, lengths, 0.0))
    factor = factor * ops.expand_dims(lengths / ops.where(longest > 0, longest, 1.0), 1)
    places = ops.arange(gramian.shape[0], dtype="int32")
    left, singular = _polish(factor, ops.svd(factor)[0], places < rank)
    order = ops.argsort(-singular)  # from the largest to the smallest
    left, singular = ops.take(left, order, axis=1), ops.take(singular, order)
    kept = ops.logical_and(places < rank, singular > 0)
    squares = ops.where(kept, singular * singular, 0.0)
    if scale == "rmse":
        chosen = ops.sqrt(ops.sum(squares) / ops.cast(ops.maximum(rank, 1), "float64"))
    else:
        place = ops.maximum(rank - 1, 0) if scale == "min" else rank // 2
        chosen = ops.sqrt(ops.sum(ops.where(places == place, squares, 0.0)))
    inverse = ops.where(kept, chosen / ops.where(kept, singular, 1.0), 0.0)
    weights = ops.matmul(left, inverse * ops.matmul(ops.cast(preference, "float64"), left))
    return ops.where(present, weights, 0.0)


def _polish(factor: Any, left: Any, kept: Any) -> tuple[Any, Any]:
    """Left singular vectors and singular values, from approximate vectors.

    Vectors that are good to rounding come back as they are. Those that XLA finds are good to 1e-6 of the largest
    singular value, so that of values 1e6 apart the smallest ones would be lost: Jacobi's rotations make the rows of
    `left' factor` orthogonal to the last digits, large and small ones alike (Z. Drmac, K. Veselic, "New fast and
    accurate Jacobi SVD algorithm", SIAM J. Matrix Anal. Appl. 2008).

    Args:
        factor: float64, `[size, size]`.
        left: approximate left singular vectors in columns, `[size, size]`.
        kept: which of them have a singular value that is not 0, booleans `[size]`.
    """
    size = factor.shape[0]
    half = (size + 1) // 2
    rows = ops.where(ops.expand_dims(kept, 1), ops.matmul(ops.transpose(left), factor), 0.0)
    norms = ops.sqrt(ops.sum(rows * rows, axis=1))
    units = rows / ops.expand_dims(ops.where(norms > 0, norms, 1.0), 1)
    off_diagonal = ops.matmul(units, ops.transpose(units)) * (1.0 - ops.eye(size, dtype="float64"))
    # The rows, with the vectors beside them; an even number of rows, so that all have a partner in each round.
    table = ops.pad(ops.concatenate([rows, ops.transpose(left)], axis=1), ((0, 2 * half - size), (0, 0)))
    # Who moves where after a round: the first row stays, the others go round the table.
    seats = [0, half, *range(1, half - 1), *range(half + 1, 2 * half), half - 1] if half > 1 else [0, 1]
    num_rounds = 2 * half - 1

    def meet(table: Any, largest: Any, number: Any, _: Any) -> tuple[Any, Any, Any, Any]:
        first, second = table[:half], table[half:]
        product = ops.sum(first[:, :size] * second[:, :size], axis=1)
        squares = ops.sum(table[:, :size] ** 2, axis=1)
        scale = ops.sqrt(squares[:half]) * ops.sqrt(squares[half:])
        angle = ops.where(scale > 0, ops.abs(product) / ops.where(scale > 0, scale, 1.0), 0.0)
        turns = angle > 0
        ratio = (squares[half:] - squares[:half]) / (2.0 * ops.where(turns, product, 1.0))
        tangent = 1.0 / (ops.abs(ratio) + ops.sqrt(1.0 + ratio * ratio))
        tangent = ops.expand_dims(ops.where(turns, ops.where(ratio < 0, -tangent, tangent), 0.0), 1)
        cosine = ops.rsqrt(1.0 + tangent * tangent)
        first, second = cosine * (first - tangent * second), cosine * (second + tangent * first)
        table = ops.take(ops.concatenate([first, second], axis=0), ops.convert_to_tensor(seats, dtype="int32"), axis=0)
        largest, number = ops.maximum(largest, ops.max(angle)), number + 1
        ends = ops.equal(number % num_rounds, 0)
        goes_on = ops.logical_or(ops.logical_not(ends), largest > _ORTHOGONAL)
        return table, ops.where(ends, 0.0, largest), number, goes_on

    zero = ops.zeros((), dtype="float64")
    begins = ops.max(ops.abs(off_diagonal)) > _ORTHOGONAL
    table, _, _, _ = ops.while_loop(
        lambda table, largest, number, goes_on: goes_on,
        meet,
        (table, zero, ops.zeros((), dtype="int32"), begins),
        maximum_iterations=_MAX_SWEEPS * num_rounds,
    )
    return ops.transpose(table[:size, size:]), ops.sqrt(ops.sum(table[:size, :size] ** 2, axis=1))
