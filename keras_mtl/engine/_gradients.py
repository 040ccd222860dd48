"""The gradients of a step: one backward pass for all tasks, or one for each and a balancer between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from keras_mtl.balancers import GramianBalancer
from keras_mtl.engine._partition import Partition
from keras_mtl.engine._replicas import num_replicas, sum_over_replicas


def balanced_gradients(
    tape: tf.GradientTape,
    losses: Sequence[Any],
    rest: Any,
    *,
    tasks: Sequence[str],
    active: Any,
    scale: Any,
    balancer: GramianBalancer,
    parts: Partition,
    variables: Sequence[Any],
) -> list[Any]:
    """The gradient of each trainable variable, that of the shared ones balanced.

    Each task is differentiated once, for the shared variables that it reaches and for its own. The shared gradients
    are summed over the replicas before the balancer sees them: the sum of the replicas' Gramians would not be the
    Gramian of the summed gradients.

    Args:
        tape: a persistent tape.
        losses: the replica's share of each task's loss-balanced loss, scaled.
        rest: the replica's share of what belongs to no task, scaled.
        tasks: the tasks' names.
        active: whether each task has a label, booleans `[num_tasks]`.
        scale: what the losses are scaled by, for float16.
        balancer: weighs the tasks' gradients.
        parts: whose the variables are.
        variables: the trainable variables, in the order of the result.

    Returns:
        A gradient for each of `variables`, which the optimizer is to sum over the replicas, or None.
    """
    gradients: dict[int, Any] = {}
    rows: list[list[tuple[int, Any]]] = [[] for _ in parts.shared]  # (task index, gradient) for each shared variable
    for index, (task, loss) in enumerate(zip(tasks, losses, strict=True)):
        reached = [position for position, reaching in enumerate(parts.tasks) if task in reaching]
        own = parts.specific[task]
        found = tape.gradient(loss, [parts.shared[position] for position in reached] + own)
        for position, gradient in zip(reached, found[: len(reached)], strict=True):
            if gradient is not None:
                rows[position].append((index, tf.convert_to_tensor(gradient)))
        _add(gradients, own, found[len(reached) :])

    matrices = _matrices(rows)
    gramian = _gramian(matrices, len(losses), balancer.compute_dtype)
    weights = balancer(gramian / tf.cast(tf.square(scale), gramian.dtype), active)
    for variable, (indices, matrix) in zip(parts.shared, matrices, strict=True):
        if indices:
            combined = tf.linalg.matvec(matrix, tf.cast(tf.gather(weights, indices), matrix.dtype), transpose_a=True)
            # It is the same on each replica, and the optimizer sums.
            gradients[id(variable)] = tf.reshape(combined / num_replicas(), variable.shape)

    # The balancer's own parameters, on which no output depends, and what no task's loss holds.
    _add(gradients, parts.other, tape.gradient(list(losses), parts.other))
    _add(gradients, variables, tape.gradient(rest, variables))
    return [gradients.get(id(variable)) for variable in variables]


def _matrices(rows: Sequence[Sequence[tuple[int, Any]]]) -> list[tuple[list[int], Any]]:
    """For each shared variable, the tasks that reach it, and their gradients `[tasks, size]`, summed over replicas."""
    stacked = [
        tf.stack([tf.reshape(gradient, [-1]) for _, gradient in row]) if row else tf.zeros((0, 0)) for row in rows
    ]
    indices = [[index for index, _ in row] for row in rows]
    return list(zip(indices, sum_over_replicas(stacked), strict=True))


def _gramian(matrices: Sequence[tuple[list[int], Any]], num_tasks: int, dtype: str) -> Any:
    """The inner products of the tasks' gradients over all shared variables, `[num_tasks, num_tasks]`."""
    gramian = tf.zeros((num_tasks, num_tasks), dtype)
    for indices, matrix in matrices:
        block = tf.cast(tf.matmul(matrix, matrix, transpose_b=True), dtype)  # [len(indices), len(indices)]
        if len(indices) < num_tasks:
            place = tf.one_hot(indices, num_tasks, dtype=dtype)
            block = tf.matmul(place, tf.matmul(block, place), transpose_a=True)
        gramian += block
    return gramian


def _add(gradients: dict[int, Any], variables: Sequence[Any], found: Sequence[Any]) -> None:
    for variable, gradient in zip(variables, found, strict=True):
        if gradient is not None:
            before = gradients.get(id(variable))
            gradients[id(variable)] = gradient if before is None else before + gradient
