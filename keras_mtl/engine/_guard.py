"""A step that leaves tasks out whose loss or gradient is not finite, and costs little more than one that does not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from keras_mtl.engine._batch import Batch
from keras_mtl.engine._faults import all_sound
from keras_mtl.engine._own_state import OwnState
from keras_mtl.engine._seldom import seldom
from keras_mtl.engine._step import Step, step_of

if TYPE_CHECKING:
    from keras_mtl.engine._protocol import TrainableModel


def guarded_step(model: TrainableModel, batch: Batch, own_state: OwnState, due: bool | None) -> Step:
    """Takes the gradients of a batch without those of tasks that are faulty.

    As a rule nothing is. So a step is taken as without a guard, and only if what it found is not finite, all that it
    changed is put back, and it is taken again, task by task. Under a strategy, where nothing may be set or summed
    within a condition, each step is taken task by task.

    Args:
        model: the model, with an `on_nonfinite`.
        batch: a batch of one replica.
        own_state: what the step may change, as it was before.
        due: see `shared_gradients`.
    """
    if tf.distribute.has_strategy():
        return step_of(model, batch, due, guarded=True)
    usual = step_of(model, batch, due)
    stops = None if model.on_nonfinite == "skip" else tf.constant(False)
    usual = replace(usual, stops=stops, guarded=True)

    def again() -> Any:
        own_state.undo()
        return _tensors(step_of(model, batch, due, guarded=True), usual)

    return _with_tensors(usual, seldom(_is_sound(model, usual), lambda: _tensors(usual, usual), again))


def _is_sound(model: TrainableModel, step: Step) -> Any:
    """Whether a step may be as it is: all is finite, and no fault before it has stopped the training."""
    losses = tf.concat([step.found.losses, [tf.cast(step.found.rest, step.found.losses.dtype)]], 0)
    sound = tf.reduce_all(tf.math.is_finite(losses)) & all_sound(model, step.gradients)
    if step.by_task is not None:
        sound &= tf.reduce_all(step.by_task.are_finite())
    if step.stops is not None:
        sound &= tf.reduce_all(tf.equal(tf.convert_to_tensor(model.fault_counter.total), 0))
    return sound


def _tensors(step: Step, like: Step) -> dict[str, Any]:
    """The tensors of a step that are used after it, of the make of another one's.

    Args:
        step: a step.
        like: the other: of which variables there is a gradient, which are by rows, and whether there is a `stops`.
    """
    batch, found = step.batch, step.found
    return {
        "numbers": [batch.size, batch.counts, batch.total_size, batch.total_counts],
        "labels": batch.labels,
        "weights": batch.weights,
        "present": {task: batch.present[task] for task in _weighted(like.batch)},
        "predictions": found.predictions,
        "shares": tf.stack(found.shares),
        "rest": found.rest,
        "gradients": [_of_make(g, other) for g, other in zip(step.gradients, like.gradients, strict=True)],
        "balance": [step.weights, step.regularization, step.kept],
        "stops": [] if like.stops is None else [step.stops],
    }


def _with_tensors(step: Step, tensors: dict[str, Any]) -> Step:
    size, counts, total_size, total_counts = tensors["numbers"]
    weights, regularization, kept = tensors["balance"]
    made = zip(step.gradients, tensors["gradients"], strict=True)
    return replace(
        step,
        batch=replace(
            step.batch,
            labels=tensors["labels"],
            weights=tensors["weights"],
            present={**tensors["weights"], **tensors["present"]},
            size=size,
            counts=counts,
            total_size=total_size,
            total_counts=total_counts,
        ),
        found=replace(
            step.found,
            predictions=tensors["predictions"],
            shares=tf.unstack(tensors["shares"], len(step.found.shares)),
            rest=tensors["rest"],
            active=kept,
        ),
        gradients=[_remade(gradient, parts) for gradient, parts in made],
        weights=weights,
        regularization=regularization,
        kept=kept,
        stops=tensors["stops"][0] if tensors["stops"] else None,
    )


def _weighted(batch: Batch) -> list[str]:
    """The tasks whose labels have weights other than 0 and 1."""
    return [task for task, weights in batch.weights.items() if weights is not batch.present[task]]


def _of_make(gradient: Any, like: Any) -> list[Any]:
    """The tensors of a gradient: none where the other one has none, values and rows where it is by rows."""
    if like is None:
        if gradient is not None:
            raise RuntimeError("A variable that had no gradient has one where the step is taken task by task.")
        return []
    if gradient is None:
        gradient = tf.zeros(like.dense_shape if isinstance(like, tf.IndexedSlices) else like.shape, like.dtype)
    if not isinstance(like, tf.IndexedSlices):
        return [tf.convert_to_tensor(gradient)]
    if not isinstance(gradient, tf.IndexedSlices):
        rows = tf.range(tf.shape(gradient, like.indices.dtype)[0], dtype=like.indices.dtype)
        return [gradient, rows]
    return [gradient.values, tf.cast(gradient.indices, like.indices.dtype)]


def _remade(gradient: Any, parts: list[Any]) -> Any:
    if gradient is None:
        return None
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(*parts, gradient.dense_shape)
    return parts[0]
