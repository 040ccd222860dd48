"""From the gradients of the tasks to one balanced gradient of the shared variables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from keras_mtl.engine._gradients import TaskGradients
from keras_mtl.engine._replicas import num_replicas, sum_over_replicas

# For each shared variable, the tasks that reach it, and their gradients `[tasks, size]`; None where no task does.
Rows = Sequence[tuple[list[int], Any]]


def shared_gradients(
    gradients: TaskGradients, loss_weights: Any, balancer: Any, active: Any, *, due: bool | None = None
) -> list[Any]:
    """The balanced gradient of each shared variable, which the optimizer is to sum over the replicas.

    Args:
        gradients: the gradients of the tasks' losses.
        loss_weights: what each loss is multiplied by, `[num_tasks]`.
        balancer: a `DirectionBalancer`, or None for the sum.
        active: whether each task counts, booleans `[num_tasks]`: see `counted`.
        due: with weights that serve for several steps, whether they are to be worked out in this one; None if that is
            to be found out here.
    """
    if balancer is None:
        return gradients.combined(loss_weights)
    found = _balanced(gradients, tf.cast(loss_weights, balancer.compute_dtype), balancer, active, due)
    # Those of embeddings too: an optimizer that gets them by rows does not add up the rows of one word before it
    # squares them, and what it does would depend on how the direction was found, from step to step.
    return [None if gradient is None else tf.convert_to_tensor(gradient) for gradient in found]


def _balanced(gradients: TaskGradients, loss_weights: Any, balancer: Any, active: Any, due: bool | None) -> list[Any]:
    """The balanced gradients, by rows or not."""
    if balancer.gradients == "features":
        return gradients.combined(loss_weights * _feature_weights(gradients, loss_weights, balancer, active))
    if getattr(balancer, "by_number", False):
        return _by_number(gradients, loss_weights, balancer, active)
    if balancer.needs_jacobian:
        return _by_jacobian(gradients, loss_weights, balancer, active)
    if not balancer.needs_gramian:
        nothing = tf.zeros((gradients.num_tasks, gradients.num_tasks), balancer.compute_dtype)
        return gradients.combined(loss_weights * balancer.weigh_when_due(nothing, active))
    if balancer.update_every == 1:
        return _by_gramian(gradients, loss_weights, balancer, active)
    if due is None:
        found = _weighted_when_due(gradients, loss_weights, balancer, active)
    elif due:
        found = _by_gramian(gradients, loss_weights, balancer, active)
    else:
        found = gradients.combined(loss_weights * balancer.last_weights(active))
    balancer.advance(active)
    return found


def weighs_now_and_then(balancer: Any) -> bool:
    """Whether steps are of two kinds, with all gradients or with one pass, and each is better chosen as a whole.

    A condition around a backward pass alone keeps TensorFlow from pairing its operations with those of the forward
    pass: on CPUs, the pooling layers of a convolutional network took more time than the rest.
    """
    exact = balancer is not None and balancer.gradients == "shared" and not balancer.needs_jacobian
    return exact and balancer.needs_gramian and balancer.update_every > 1


def shared_jacobian(gradients: TaskGradients, dtype: str) -> Any:
    """The tasks' gradients of all shared variables, over all replicas, `[num_tasks, num_parameters]`."""
    blocks = [tf.zeros((gradients.num_tasks, 0), dtype)]
    for variable, (tasks, matrix) in zip(gradients.parts.shared, over_replicas(gradients.shared_rows), strict=True):
        if matrix is None:
            blocks.append(tf.zeros((gradients.num_tasks, _size(variable)), dtype))
            continue
        block = tf.cast(matrix, dtype)
        if len(tasks) < gradients.num_tasks:
            block = tf.scatter_nd([[task] for task in tasks], block, [gradients.num_tasks, _size(variable)])
        blocks.append(block)
    return tf.concat(blocks, axis=1) / tf.cast(gradients.scale, dtype)


def over_replicas(rows: Rows) -> Rows:
    """Gradients summed over the replicas: the sum of the replicas' Gramians would not be the Gramian of the sums."""
    summed = iter(sum_over_replicas([matrix for _, matrix in rows if matrix is not None]))
    return [(tasks, None if matrix is None else next(summed)) for tasks, matrix in rows]


def _feature_weights(gradients: TaskGradients, loss_weights: Any, balancer: Any, active: Any) -> Any:
    """The weights by the gradients of the features."""
    dtype = balancer.compute_dtype
    if not balancer.needs_jacobian:
        return balancer.weigh_when_due(gradients.feature_gramian(dtype) * _outer(loss_weights), active)
    jacobian = gradients.bias_gradients(dtype) * tf.expand_dims(loss_weights, 1)
    finite = balancer.has_place(jacobian)
    tracked = balancer.track(tf.where(finite, jacobian, 0.0), tf.logical_and(active, finite))
    return balancer.weigh(tf.where(finite, tf.matmul(tracked, tracked, transpose_b=True), float("nan")), active)


def _by_number(gradients: TaskGradients, loss_weights: Any, balancer: Any, active: Any) -> list[Any]:
    """The direction of one variable after the other, without a copy of all gradients side by side."""
    dtype, scale = balancer.compute_dtype, tf.cast(gradients.scale, balancer.compute_dtype)
    found: list[Any] = []
    for variable, (tasks, matrix) in zip(gradients.parts.shared, over_replicas(gradients.shared_rows), strict=True):
        if matrix is None:
            found.append(None)
            continue
        rows = _times_rows(tf.cast(matrix, dtype), tf.gather(loss_weights, tasks) / scale)
        # It is the same on each replica, and the optimizer sums.
        direction = balancer.direction(rows, tf.gather(active, tasks)) * scale / num_replicas()
        found.append(tf.cast(tf.reshape(direction, variable.shape), variable.dtype))
    return found


def _times_rows(rows: Any, factors: Any) -> Any:
    """Each row times its factor; where all are 1, as they are by default, the rows themselves, without a copy."""
    return tf.cond(tf.reduce_all(factors == 1), lambda: rows, lambda: rows * tf.expand_dims(factors, 1))


def _by_jacobian(gradients: TaskGradients, loss_weights: Any, balancer: Any, active: Any) -> list[Any]:
    jacobian = shared_jacobian(gradients, balancer.compute_dtype) * tf.expand_dims(loss_weights, 1)
    direction = balancer.direction(jacobian, active)
    # It is the same on each replica, and the optimizer sums.
    direction *= tf.cast(gradients.scale, direction.dtype) / num_replicas()
    variables = gradients.parts.shared
    pieces = tf.split(direction, [_size(variable) for variable in variables]) if variables else []
    return [
        tf.cast(tf.reshape(piece, variable.shape), variable.dtype)
        for piece, variable in zip(pieces, variables, strict=True)
    ]


def _by_gramian(gradients: TaskGradients, loss_weights: Any, balancer: Any, active: Any) -> list[Any]:
    rows = over_replicas(gradients.shared_rows)
    weights = balancer.weigh(_gramian(rows, gradients, loss_weights), active)
    return _weighted(rows, loss_weights * weights, gradients)


def _weighted_when_due(gradients: TaskGradients, loss_weights: Any, balancer: Any, active: Any) -> list[Any]:
    """The same result without saving work between the steps.

    For a loop of the user's own over several replicas, and where tasks were left out since the kind of step was chosen.
    """
    due = balancer.is_due(active)
    rows = over_replicas(gradients.shared_rows)
    weights = balancer.weigh(_gramian(rows, gradients, loss_weights), tf.logical_and(active, due))
    return _weighted(rows, loss_weights * tf.where(due, weights, balancer.last_weights(active)), gradients)


def _gramian(rows: Rows, gradients: TaskGradients, loss_weights: Any) -> Any:
    """The inner products of the gradients of the weighted losses, `[num_tasks, num_tasks]`."""
    dtype, num_tasks = loss_weights.dtype, gradients.num_tasks
    gramian = tf.zeros((num_tasks, num_tasks), dtype)
    for tasks, matrix in rows:
        if matrix is None:
            continue
        # Parameters in half precision, or a balancer in double: products too are taken in the wider type.
        wide = tf.cast(matrix, dtype) if matrix.dtype.size < dtype.size else matrix
        block = tf.cast(tf.matmul(wide, wide, transpose_b=True), dtype)  # [len(tasks), len(tasks)]
        if len(tasks) < num_tasks:
            place = tf.one_hot(tasks, num_tasks, dtype=dtype)
            block = tf.matmul(place, tf.matmul(block, place), transpose_a=True)
        gramian += block
    return gramian / tf.cast(tf.square(gradients.scale), dtype) * _outer(loss_weights)


def _outer(weights: Any) -> Any:
    return tf.expand_dims(weights, 0) * tf.expand_dims(weights, 1)


def _weighted(rows: Rows, weights: Any, gradients: TaskGradients) -> list[Any]:
    """The weighted sum of each variable's rows, divided by the replicas, over which the optimizer sums."""
    combined: list[Any] = []
    for variable, (tasks, matrix) in zip(gradients.parts.shared, rows, strict=True):
        if matrix is None:
            combined.append(None)
            continue
        chosen = weights if len(tasks) == gradients.num_tasks else tf.gather(weights, tasks)
        gradient = tf.linalg.matvec(matrix, tf.cast(chosen, matrix.dtype), transpose_a=True)
        combined.append(tf.reshape(gradient / num_replicas(), variable.shape))
    return combined


def _size(variable: Any) -> int:
    return int(variable.value.shape.num_elements())
