"""Checks of what a model is made of and compiled with, task by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_mtl import engine
from keras_mtl._checks import check_one_of, check_same_names
from keras_mtl._layers import layers_by_path
from keras_mtl.balancers import Balancer, BilevelBalancer
from keras_mtl.losses import BalancedLoss, ClassWeighted, Masked
from keras_mtl.tasks import Task


def check_outputs(outputs: Any, tasks: Sequence[Task]) -> None:
    """Raises a `ValueError` unless `outputs` has a tensor for each task, of the shape that it predicts."""
    if not isinstance(outputs, Mapping):
        raise ValueError(
            f"Parameter `outputs` should be a dict of tensors by task name. Received: {type(outputs).__name__}"
        )
    check_same_names(
        outputs, [task.name for task in tasks], what="keys of `outputs`", mend="Give one output for each task."
    )
    for task in tasks:
        task.check_output(outputs[task.name].shape)


def check_call(model: keras.Model, kind: type[keras.Model], balancer: Balancer, on_nonfinite: str | None) -> None:
    """Raises a `ValueError` if a step would not run what the model's own `call` says."""
    what = "" if on_nonfinite is None else f"What on_nonfinite={on_nonfinite!r} asks for"
    if getattr(balancer, "gradients", None) is not None:
        what = f"The balancer `{type(balancer).__name__}`"
    if what and type(model).call is not kind.call:
        raise ValueError(
            f"{what} runs the graph of the model in two parts, and not its `call`. Received: a {type(model).__name__} "
            "with a `call` of its own. Put what it does into layers of the graph, or use a balancer of losses alone "
            "and on_nonfinite=None."
        )


def check_strategy(model: Any, arguments: Mapping[str, Any]) -> None:
    """Raises a `ValueError` if `compile` is asked for what TensorFlow cannot do over several replicas."""
    if arguments.get("jit_compile") is True and engine.is_distributed(model):
        raise ValueError(
            "XLA does not compile a step of several replicas, whose variables are on several devices. Received: "
            "jit_compile=True, for a model that was made under a strategy. Leave it out, or train on one device; to "
            "load such a model under a strategy, pass compile=False and compile it again."
        )


def check_replicas(model: Any, balancers: Sequence[Balancer], on_nonfinite: str | None) -> None:
    """Raises a `ValueError` if a step over several replicas would wait for itself.

    Batch normalization that is synchronized exchanges statistics in its backward pass. With gradients by task there are
    several such passes, whose exchanges the replicas do not begin in the same order.
    """
    by_task = on_nonfinite is not None or any(getattr(part, "gradients", None) is not None for part in balancers)
    if not by_task or not engine.is_distributed(model):
        return
    layers = [
        path
        for path, layer in layers_by_path(model).items()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.synchronized and layer.trainable
    ]
    if layers:
        raise ValueError(
            "Gradients by task do not go with synchronized batch normalization over several replicas. Received: the "
            f"layers {layers}. Freeze them, pass synchronized=False, or use a balancer of losses and on_nonfinite=None."
        )


def check_on_nonfinite(on_nonfinite: str | None, balancer: Balancer) -> None:
    """Raises a `ValueError` unless that is what a step can do about a loss or gradient that is not finite."""
    if on_nonfinite is None:
        return
    check_one_of(on_nonfinite, "on_nonfinite", ("skip", "raise"))
    if isinstance(balancer, BilevelBalancer):
        raise ValueError(
            f"The balancer `{type(balancer).__name__}` looks a step ahead, along the gradients of all tasks together, "
            f"and cannot leave one out. Received: on_nonfinite={on_nonfinite!r}. Leave it out, or take another "
            "balancer."
        )


def check_sharing(parts: engine.Partition, balancer: Balancer) -> None:
    """Raises a `ValueError` if a balancer that looks at gradients of shared parameters would see none."""
    name, kind = type(balancer).__name__, getattr(balancer, "gradients", None)
    if kind is None:
        return
    engine.check_shared(parts, name)
    if kind == "features":
        engine.check_features(parts, name, pairs=getattr(balancer, "compares", False))


def losses_by_task(given: Mapping[str, Any] | None, tasks: Sequence[Task]) -> dict[str, keras.losses.Loss]:
    """The loss of each task: its own, or what `compile` was given in its place."""
    found = {task.name: task.plain_loss for task in tasks}
    for task, identifier in _by_task(given, tasks, "loss").items():
        loss = keras.losses.get(identifier)
        if not isinstance(loss, keras.losses.Loss):
            raise ValueError(
                f"The loss of task {task!r} should be a `keras.losses.Loss`, the name of its class "
                f"('MeanSquaredError', not 'mse') or its config. Received: {identifier!r}"
            )
        found[task] = loss
    _check_losses(found)
    losses = {task.name: task.adapted(found[task.name]) if task.name in (given or {}) else task.loss for task in tasks}
    _check_losses(losses)  # a task may have a `loss` of its own
    return losses


def _check_losses(losses: Mapping[str, keras.losses.Loss]) -> None:
    """Raises a `ValueError` if a loss cannot be made a sum over the labels that there are."""
    innermost = {task: ClassWeighted.innermost(loss) for task, loss in losses.items()}
    balanced = [task for task, loss in innermost.items() if isinstance(loss, BalancedLoss)]
    if balanced:
        raise ValueError(
            "What `losses.balanced` makes is for plain Keras models; a `MultiTaskModel` balances plain losses itself. "
            f"Received: balanced losses of the tasks {balanced}. Give it plain ones, and `compile` the balancer."
        )
    for task, loss in innermost.items():
        if isinstance(loss, Masked):
            raise ValueError(
                f"The loss of task {task!r} should be a plain one: `losses.Masked` is for plain Keras models, and in a "
                f"`MultiTaskModel` labels may be missing anyway. Received: {loss!r}. Give it the loss within."
            )
        if type(loss).__call__ is not keras.losses.Loss.__call__:
            raise ValueError(
                f"The loss of task {task!r} should have a method `call` that gives the loss of each label: those are "
                f"summed here, and divided by the number of labels that there are. Received: a {type(loss).__name__}, "
                "with a `__call__` of its own. Do in `call` what that does."
            )
        if _mixes_examples(loss):
            raise ValueError(
                f"The loss of task {task!r} should have a value for each example, that depends on no other one: so "
                f"missing labels are left out. Received: {loss!r}. Where it has an argument `axis`, name the axes of "
                "one label there, without 0, that of the batch; in place of a loss of pairs take one of each example."
            )


def _mixes_examples(loss: keras.losses.Loss) -> bool:
    """Whether it is one of Keras' losses that have one value for the batch, or values of pairs of examples."""
    if isinstance(loss, (keras.losses.Dice, keras.losses.Tversky)):
        axes = loss.axis if isinstance(loss.axis, (list, tuple)) else (loss.axis,)
        return None in axes or 0 in axes
    return isinstance(loss, keras.losses.Circle)


def metrics_by_task(given: Mapping[str, Any] | None, tasks: Sequence[Task], parameter: str) -> dict[str, list[Any]]:
    """The metrics of each task that `compile` was given."""
    kinds = {task.name: task for task in tasks}
    return {
        name: [kinds[name].metric(one) for one in (found if isinstance(found, (list, tuple)) else [found])]
        for name, found in _by_task(given, tasks, parameter).items()
    }


def _by_task(values: Mapping[str, Any] | None, tasks: Sequence[Task], parameter: str) -> dict[str, Any]:
    names = [task.name for task in tasks]
    if values is not None and (not isinstance(values, Mapping) or not set(values) <= set(names)):
        received = sorted(values) if isinstance(values, Mapping) else values
        raise ValueError(f"Parameter `{parameter}` should be a dict by task, of {names}. Received: {received!r}")
    return dict(values or {})
