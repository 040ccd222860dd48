"""Places that a prediction's mask leaves out: there, a label does not count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from keras_mtl.engine._batch import Batch
from keras_mtl.engine._replicas import sum_over_replicas
from keras_mtl.tasks import Task

if TYPE_CHECKING:
    from keras_mtl.engine._protocol import TrainableModel


def masked(model: TrainableModel, batch: Batch, predictions: Mapping[str, Any]) -> tuple[Batch, dict[str, Any]]:
    """A batch in which labels count only at places that the predictions do not mask, and predictions without masks.

    Keras' losses and metrics leave out what the mask of a prediction does, of padding that `Embedding(mask_zero=True)`
    has found, say. Here such a label is a missing one, when labels are counted too.

    Args:
        model: the model.
        batch: a batch of one replica.
        predictions: by task.

    Returns:
        The same batch if no prediction has a mask, which is known when a step is traced.
    """
    # Private: Keras has no public way to a tensor's mask. tests/unit/engine/test_masks.py would notice.
    masks = {name: getattr(prediction, "_keras_mask", None) for name, prediction in predictions.items()}
    bare = {name: each if masks[name] is None else tf.identity(each) for name, each in predictions.items()}
    present, weights = dict(batch.present), dict(batch.weights)
    for task in model.tasks:
        name = task.name
        mask = None if masks[name] is None else _of_labels(task, masks[name], bare[name], present[name])
        if mask is None:
            continue
        has_weights = weights[name] is not present[name]
        present[name] = _zeros_unless(mask, present[name])
        weights[name] = _zeros_unless(mask, weights[name]) if has_weights else present[name]
    if all(present[name] is each for name, each in batch.present.items()):
        return batch, bare
    counts = tf.stack([tf.reduce_sum(present[task.name]) for task in model.tasks])
    found = replace(batch, present=present, weights=weights, counts=counts, total_counts=sum_over_replicas(counts))
    return found, bare


def _of_labels(task: Task, mask: Any, prediction: Any, present: Any) -> Any:
    """A mask as booleans over the axes of the labels, or None if it has other axes than the prediction has places.

    Such a one is of places that are gone: a layer that takes the mean over a sequence has handed its mask on.

    Raises:
        ValueError: if it has another number of places, as far as that is known when a step is traced.
    """
    places = prediction.shape[1 : 1 + task.num_place_axes]
    num_axes = 1 + task.num_place_axes
    mask = tf.cast(mask, "bool")
    if mask.shape.rank == num_axes + 1 and mask.shape[-1] == 1:
        mask = tf.squeeze(mask, -1)
    if mask.shape.rank > num_axes:
        return None
    received, expected = tuple(mask.shape[1:]), tuple(places[: mask.shape.rank - 1])
    if any(None not in pair and pair[0] not in (1, pair[1]) for pair in zip(received, expected, strict=True)):
        raise ValueError(
            f"The mask of the prediction of task {task.name!r} should be one of its places, "
            f"{' x '.join(map(str, expected))}. Received: a mask of {' x '.join(map(str, received))} places. A layer "
            "that changes the number of places should change the mask by its `compute_mask`, or hand none on."
        )
    for _ in range(present.shape.rank - mask.shape.rank):
        mask = tf.expand_dims(mask, -1)
    return mask


def _zeros_unless(mask: Any, values: Any) -> Any:
    return tf.where(mask, values, tf.zeros((), values.dtype))
