"""The gradients of a step whose balancers look at the gradient of each task."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from keras_mtl.engine._finite import each_finite, zeros_where_not
from keras_mtl.engine._partition import Partition
from keras_mtl.engine._replicas import sum_over_replicas


class TaskGradients:
    """The gradients of the tasks' losses, taken where the shared part of the graph ends.

    Each task is differentiated once, down to the copies of the features that it reads, its own variables, and shared
    variables of layers that are called in its own part too, as far as they are called there. What remains, from the
    features down to the shared variables, takes a pass for each task or, once the weights are known, one for all.

    Args:
        tape: a persistent tape.
        losses: the replica's share of each task's loss, scaled.
        features: the features.
        copies: the copies of them that the tasks read, where gradients end.
        scale: what the losses are scaled by, for float16.
        tasks: the tasks' names.
        parts: whose the variables are.
    """

    def __init__(
        self,
        tape: tf.GradientTape,
        losses: Sequence[Any],
        features: Sequence[Any],
        copies: Sequence[Any],
        *,
        scale: Any,
        tasks: Sequence[str],
        parts: Partition,
    ) -> None:
        self._tape = tape
        self._features, self._copies = features, copies
        self.scale = scale
        self.parts = parts
        self._reached = [[task in reaching for reaching in parts.tasks] for task in tasks]
        self.of_features: list[list[Any]] = []  # for each task, a gradient for each of the features, or None
        self.of_beyond: list[dict[int, Any]] = []  # for each task, by position among the shared variables
        self.of_own: list[list[Any]] = []  # for each task, a gradient for each of its own variables, or None
        in_trunk = parts.in_trunk
        for loss, task, reached in zip(losses, tasks, self._reached, strict=True):
            beyond = [position for position, is_beyond in enumerate(parts.beyond) if is_beyond and reached[position]]
            own = parts.specific[task]
            sources = [*copies, *(parts.shared[position] for position in beyond), *own]
            found = tape.gradient(loss, sources)
            self.of_features.append(found[: len(copies)])
            of_beyond = zip(beyond, found[len(copies) : len(copies) + len(beyond)], strict=True)
            self.of_beyond.append({position: g for position, g in of_beyond if g is not None})
            below = self._below(self.of_features[-1], [v if id(v) in in_trunk else None for v in own])
            self.of_own.append(
                [_of_calls(each) for each in zip(found[len(copies) + len(beyond) :], below, strict=True)]
            )

    @property
    def num_tasks(self) -> int:
        """The number of tasks."""
        return len(self.of_own)

    def _of_tasks(self) -> list[list[Any]]:
        found = zip(self.of_features, self.of_beyond, self.of_own, strict=True)
        return [[*at_features, *beyond.values(), *own] for at_features, beyond, own in found]

    def are_finite(self) -> Any:
        """Whether the gradients that were taken of each task's loss are finite on this replica, `[num_tasks]`."""
        return each_finite(self._of_tasks())

    def leave_out(self, sound: Any) -> None:
        """Makes the gradients of tasks zero that are not sound, booleans `[num_tasks]`, before any other is taken."""
        for index, kept in enumerate(zeros_where_not(sound, self._of_tasks())):
            beyond = self.of_beyond[index]
            first, last = len(self.of_features[index]), len(self.of_features[index]) + len(beyond)
            self.of_features[index] = kept[:first]
            self.of_beyond[index] = dict(zip(beyond, kept[first:last], strict=True))
            self.of_own[index] = kept[last:]

    def weighted_own(self, weights: Any) -> list[list[Any]]:
        """For each task, the gradients of its own variables, of its loss times its weight."""
        parts = tf.unstack(weights, self.num_tasks)
        return [[_times(g, weight) for g in own] for own, weight in zip(self.of_own, parts, strict=True)]

    def feature_gramian(self, dtype: str) -> Any:
        """The inner products of the tasks' gradients of the features, over all replicas, `[num_tasks, num_tasks]`."""
        matrix = self._at_features(dtype, lambda gradient: tf.reshape(gradient, [-1]))
        gramian = tf.matmul(matrix, matrix, transpose_b=True)
        return sum_over_replicas(gramian) / tf.cast(tf.square(self.scale), dtype)

    def bias_gradients(self, dtype: str) -> Any:
        """The tasks' gradients of a bias added to the features, over all replicas, `[num_tasks, num_channels]`."""
        return sum_over_replicas(self._at_features(dtype, _bias_gradient)) / tf.cast(self.scale, dtype)

    def _at_features(self, dtype: str, flat: Callable[[Any], Any]) -> Any:
        """The tasks' gradients of the features, each made flat, `[num_tasks, size]`: none if all below is frozen."""
        if not self._features:
            return tf.zeros((self.num_tasks, 0), dtype)
        rows = []
        for gradients in self.of_features:
            filled = zip(self._features, gradients, strict=True)
            rows.append(tf.concat([flat(tf.cast(tf.zeros_like(f) if g is None else g, dtype)) for f, g in filled], 0))
        return tf.stack(rows)

    @functools.cached_property
    def shared_rows(self) -> list[tuple[list[int], Any]]:
        """For each shared variable, the tasks that reach it, and the replica's gradients of them `[tasks, size]`."""
        rows: list[list[tuple[int, Any]]] = [[] for _ in self.parts.shared]
        for index in range(self.num_tasks):
            reached = [position for position, is_reached in enumerate(self._reached[index]) if is_reached]
            below = self._backward(self.of_features[index], reached)
            for position, gradient in zip(reached, below, strict=True):
                gradient = add([gradient, self.of_beyond[index].get(position)])
                if gradient is not None:
                    rows[position].append((index, tf.reshape(tf.convert_to_tensor(gradient), [-1])))
        return [([index for index, _ in row], tf.stack([g for _, g in row]) if row else None) for row in rows]

    def combined(self, weights: Any) -> list[Any]:
        """The replica's gradient of each shared variable, each task weighted, by one pass from the features.

        The weights are brought to at most 1 for the pass, and the gradients multiplied afterwards: in float16 a large
        weight would overflow on the way, whatever the scale of the loss.
        """
        largest = tf.reduce_max(tf.abs(weights))
        relative = tf.unstack(tf.where(largest > 0, weights / largest, weights), self.num_tasks)
        at_features = []
        for position in range(len(self._features)):
            terms = [_times(found[position], weight) for found, weight in zip(self.of_features, relative, strict=True)]
            at_features.append(add(terms))
        gradients = [_times(g, largest) for g in self._backward(at_features, range(len(self.parts.shared)))]
        for position, beyond in enumerate(self.parts.beyond):
            if beyond:
                found = [of_task.get(position) for of_task in self.of_beyond]
                parts = tf.unstack(weights, self.num_tasks)
                weighted = [_times(g, weight) for g, weight in zip(found, parts, strict=True)]
                gradients[position] = _of_calls([gradients[position], *weighted])
        return gradients

    def of_others(self, targets: Any, variables: Sequence[Any], weights: Sequence[Any] | None = None) -> list[Any]:
        """The replica's gradients of other targets than the scaled losses: of added losses, or of losses as they are.

        Args:
            targets: one or several scalars, from layers before and beyond the features.
            variables: with respect to which.
            weights: of several targets; None for 1.
        """
        found = self._tape.gradient(targets, [*variables, *self._copies], output_gradients=weights)
        below = self._below(found[len(variables) :], variables)
        return [_of_calls(each) for each in zip(found[: len(variables)], below, strict=True)]

    def _backward(self, at_features: Sequence[Any], positions: Sequence[int]) -> list[Any]:
        """From gradients of the features to those of shared variables."""
        return self._below(at_features, [self.parts.shared[position] for position in positions])

    def _below(self, at_features: Sequence[Any], variables: Sequence[Any]) -> list[Any]:
        """From gradients of the features to those of variables in the shared part; None for None."""
        pairs = [(f, g) for f, g in zip(self._features, at_features, strict=True) if g is not None]
        sources = [variable for variable in variables if variable is not None]
        if not pairs or not sources:
            return [None] * len(variables)
        features, gradients = (list(each) for each in zip(*pairs, strict=True))
        found = iter(self._tape.gradient(features, sources, output_gradients=gradients))
        return [None if variable is None else next(found) for variable in variables]


def add(terms: Sequence[Any]) -> Any:
    """The sum of the gradients that there are, or None."""
    present = [term for term in terms if term is not None]
    if len(present) < 2:
        return present[0] if present else None
    return tf.add_n([tf.convert_to_tensor(term) for term in present])


def _of_calls(terms: Sequence[Any]) -> Any:
    """The sum of gradients that come from several calls of a layer: by rows if all are, as TensorFlow adds them up.

    Those of several passes through one call are not to be joined so: TensorFlow adds them up before there are rows.
    """
    present = [term for term in terms if term is not None]
    if len(present) < 2 or not all(isinstance(term, tf.IndexedSlices) for term in present):
        return add(present)
    rows = [tf.cast(term.indices, present[0].indices.dtype) for term in present]
    values = tf.concat([term.values for term in present], 0)
    return tf.IndexedSlices(values, tf.concat(rows, 0), present[0].dense_shape)


def _bias_gradient(gradient: Any) -> Any:
    """Summed over everything but the channels, which are the last axis."""
    if gradient.shape.rank == 1:
        return tf.reduce_sum(gradient, keepdims=True)
    return tf.reduce_sum(gradient, axis=range(gradient.shape.rank - 1))


def _times(gradient: Any, weight: Any) -> Any:
    if gradient is None:
        return None
    if isinstance(gradient, tf.IndexedSlices):
        values = gradient.values * tf.cast(weight, gradient.dtype)
        return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
    return gradient * tf.cast(weight, gradient.dtype)
