"""Hands gradients to the optimizer so that several replicas do with them what one device would."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from keras_mtl.engine._finite import are_finite
from keras_mtl.engine._replicas import num_replicas, sum_over_replicas
from keras_mtl.engine._step_kind import StepKind, kind_of

if TYPE_CHECKING:
    from keras_mtl.engine._protocol import TrainableModel

# What a Keras optimizer does to the gradients of a replica before it sums them over all: here it is done to the sums.
_CLIPS = ("clipnorm", "clipvalue", "global_clipnorm")


def innermost(optimizer: Any) -> Any:
    """The optimizer that updates: one that scales losses for float16, or learning rates by layer, holds it."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer


def _scales_losses(optimizer: Any) -> bool:
    return isinstance(optimizer, keras.optimizers.LossScaleOptimizer)


def check_averages(optimizer: Any) -> None:
    """Raises a `ValueError` if an optimizer is to do under a strategy what Keras cannot."""
    inner = innermost(optimizer)
    frequency = inner.ema_overwrite_frequency if inner.use_ema else None
    one_device = isinstance(tf.distribute.get_strategy(), tf.distribute.OneDeviceStrategy)
    alone = one_device or not tf.distribute.has_strategy()
    if frequency and not inner.gradient_accumulation_steps and not alone:
        raise ValueError(
            "Under a strategy, Keras cannot set the weights to their averages within a training. Received: "
            f"ema_overwrite_frequency={frequency}. Leave it out: the averages are then taken at the end of `fit`; or "
            "give the optimizer `gradient_accumulation_steps` as well, with which it can be done."
        )


def updates_now(optimizer: Any) -> Any:
    """Whether an optimizer that sums up the gradients of several steps is to update in this one, a boolean tensor."""
    inner = innermost(optimizer)
    # Private: `iterations` is that divided by the steps. tests/integration/test_replica_options.py would notice.
    return tf.equal((tf.convert_to_tensor(inner._iterations) + 1) % inner.gradient_accumulation_steps, 0)


def apply(
    model: TrainableModel,
    gradients: Sequence[Any],
    accumulators: Mapping[int, Any],
    variables: Sequence[Any] | None = None,
) -> None:
    """Updates the trainable variables of a model by the gradients of a replica, which are summed over all.

    Keras clips the gradients of each replica by itself, takes the word of the first whether all of them are finite, and
    cannot add up those of several steps where there are several replicas.

    Args:
        model: a compiled model.
        gradients: scaled as the losses are: one for each trainable variable, or None.
        accumulators: by the id of a variable, the sum of its gradients so far, if the optimizer has such.
        variables: those that the gradients are of. Defaults to all that are trainable.

    Raises:
        ValueError: in a step over several replicas that is not run by `fit` or `train_on_batch`, if gradients are to be
            clipped or added up.
    """
    optimizer, kind = model.optimizer, kind_of(model)
    variables = model.trainable_variables if variables is None else variables
    inner = innermost(optimizer)
    steps = inner.gradient_accumulation_steps
    left = {name: getattr(inner, name) for name in ("gradient_accumulation_steps", *_CLIPS) if getattr(inner, name)}
    if num_replicas() > 1 and left and kind.updates is None and not kind.clips:
        raise ValueError(
            "Over several replicas, gradients are clipped and added up by `fit` and `train_on_batch` alone. Received: "
            f"{left}, in a step of a loop of your own. Leave it out."
        )
    if num_replicas() == 1 and kind.updates is None and not kind.clips:
        optimizer.apply(gradients, variables)
        return
    if kind.updates is None and not kind.clips:
        optimizer.apply(_all_or_none(gradients) if _scales_losses(optimizer) else gradients, variables)
        return
    pairs = [(g, variable) for g, variable in zip(gradients, variables, strict=True) if g is not None]
    if variables and not pairs:
        raise ValueError("A loss should depend on the trainable variables. Received: no gradient of any of them.")
    variables = [variable for _, variable in pairs]
    scale = optimizer.scale_loss(1.0)
    found = [g / tf.cast(scale, g.dtype) for g in sum_over_replicas([tf.convert_to_tensor(g) for g, _ in pairs])]
    finite = are_finite(found) if _scales_losses(optimizer) else tf.constant(True)
    if kind.updates is not None:
        sums = [accumulators[id(variable)] for variable in variables]
        found = [g + tf.convert_to_tensor(total) for g, total in zip(found, sums, strict=True)]
        for total, value in zip(sums, found, strict=True):
            kept = tf.zeros_like(value) if kind.updates else value
            total.assign(tf.where(finite, kept, tf.convert_to_tensor(total)))
        found = [g / tf.cast(steps, g.dtype) for g in found]
    share = tf.cast(scale, "float32") / num_replicas()  # the optimizer sums, and takes the scale out again
    found = [g * tf.cast(share, g.dtype) for g in _clipped(found, kind.clips)]
    # An infinite number that was clipped is a finite one, by which the optimizer would not know that it overflowed.
    optimizer.apply(_marked(found, ~finite) if _scales_losses(optimizer) else found, variables)


@contextlib.contextmanager
def done_already(optimizer: Any, kind: StepKind) -> Iterator[None]:
    """An optimizer without what `apply` does: it clips nothing, and updates if it is to, without asking.

    It is for all replicas at once, outside of their steps, which are made in threads that take turns.
    """
    inner = innermost(optimizer)

    def update(gradients: Any, variables: Any) -> None:
        # Private, as are the two below it: what Keras does on both sides of its own condition.
        # tests/integration/test_replica_options.py would notice a change.
        if kind.updates:
            inner._apply_weight_decay(variables)
            inner._backend_update_step(gradients, variables, inner.learning_rate)
        if inner.use_ema:
            inner._update_model_variables_moving_average(inner._trainable_variables)
            if inner.ema_overwrite_frequency:
                overwrites = tf.equal((tf.convert_to_tensor(inner.iterations) + 1) % inner.ema_overwrite_frequency, 0)
                averages = inner._model_variables_moving_average
                for variable, average in zip(inner._trainable_variables, averages, strict=True):
                    variable.assign(tf.where(overwrites, tf.convert_to_tensor(average), tf.convert_to_tensor(variable)))

    for name in kind.clips:
        setattr(inner, name, None)
    if kind.updates is not None:
        inner._backend_apply_gradients = update
    try:
        yield
    finally:
        for name, value in kind.clips.items():
            setattr(inner, name, value)
        if kind.updates is not None:
            del inner._backend_apply_gradients


def clips_of(optimizer: Any) -> dict[str, float]:
    """How an optimizer clips, by the name of the argument."""
    inner = innermost(optimizer)
    return {name: getattr(inner, name) for name in _CLIPS if getattr(inner, name)}


def _all_or_none(gradients: Sequence[Any]) -> list[Any]:
    """The gradients, one of them not finite if any is that on any replica."""
    present = [g for g in gradients if g is not None]
    faulty = sum_over_replicas(tf.cast(tf.logical_not(are_finite(present)), "float32"))
    return _marked(gradients, faulty > 0)


def _marked(gradients: Sequence[Any], faulty: Any) -> list[Any]:
    """Gradients of which one is NaN where `faulty`."""
    first = next((index for index, g in enumerate(gradients) if g is not None), None)
    mark = tf.where(faulty, float("nan"), 0.0)
    return [
        tf.convert_to_tensor(g) + tf.cast(mark, g.dtype) if index == first else g for index, g in enumerate(gradients)
    ]


def _clipped(gradients: Sequence[Any], clips: Mapping[str, float]) -> Sequence[Any]:
    """As the optimizer would: it allows one of the three."""
    if "clipnorm" in clips:
        return [tf.clip_by_norm(g, clips["clipnorm"]) for g in gradients]
    if "global_clipnorm" in clips:
        return tf.clip_by_global_norm(gradients, clips["global_clipnorm"])[0]
    if "clipvalue" in clips:
        return [tf.clip_by_value(g, -clips["clipvalue"], clips["clipvalue"]) for g in gradients]
    return gradients
