"""From a backbone, tasks and a sharing architecture to a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_mtl import backbones
from keras_mtl import sharing as sharings
from keras_mtl import tasks as task_kinds
from keras_mtl._registry import unknown_name
from keras_mtl.model._model import MultiTaskModel


def build_model(
    backbone: Any,
    tasks: Sequence[Any],
    sharing: Any = "hard",
    *,
    input_shape: Sequence[int] | None = None,
    weights: str | None = None,
    features: str | Sequence[str] | None = None,
    name: str | None = None,
) -> MultiTaskModel:
    """Builds a multi-task model: a backbone, a rule for sharing it, and a head for each task.

    Args:
        backbone: the name of an architecture of `keras.applications` (raw images with values of 0 to 255 go in: the
            architecture's own preprocessing is inside), `"convolutional"` or `"mlp"`, a `backbones.Backbone`
            (`backbones.Text` for raw texts, `Tabular` for columns, `Audio` for waveforms, `Fusion` for several named
            inputs, `KerasHub` for presets of KerasHub: each an instance, with its arguments), or any `keras.Model`. A
            Functional or Sequential model is taken in layer by layer, a subclassed one as one layer; its weights are
            the new model's too.
        tasks: the tasks: instances, or configs.
        sharing: a name of `sharing.names()`, an instance or a config. Defaults to `"hard"`.
        input_shape: the shape of one input, with a name: `(height, width, 3)` for an architecture, by default
            `(None, None, 3)`, `(height, width, channels)` for `"convolutional"`, `(number,)` for `"mlp"`. A subclassed
            model needs it too.
        weights: with an architecture: `"imagenet"`, None (random), or the path of a weights file. Defaults to None.
        features: the name of the backbone's layer whose output the tasks read, or, for architectures that work on
            several levels, the names of layers from the input on. Defaults to the backbone's output and, before it, the
            last map of each size, or the vectors that go into a dense layer.
        name: the name of the model.

    Returns:
        A `MultiTaskModel`, to be compiled.

    Raises:
        ValueError: if the backbone, sharing or a task is unknown (the message lists the known ones), names of tasks
            are repeated, or the backbone refuses `input_shape` or `weights`.

    Example:

    >>> import keras_mtl as mtl
    >>> tasks = [mtl.tasks.Classification("digit", 10), mtl.tasks.BinaryClassification("is_even")]
    >>> model = mtl.build_model("convolutional", tasks, input_shape=(8, 8, 1))
    >>> {name: tuple(output.shape) for name, output in model.output.items()}
    {'digit': (None, 10), 'is_even': (None, 1)}
    """
    found = task_kinds.get_all(tasks)
    rule = sharings.get(sharing)
    model = _to_model(backbone, input_shape, weights)
    taken = sorted({layer.name for layer in model.layers} & {task.name for task in found})
    if taken:
        raise ValueError(
            f"A task should not bear the name of a layer of the backbone. Received: tasks {taken}. Give the task "
            "another `name`, and the present one as its `label`."
        )
    inputs, trunk = _ends(model, features)
    return MultiTaskModel(inputs, rule.outputs(rule(trunk, found), found), found, name=name)


def _to_model(backbone: Any, input_shape: Sequence[int] | None, weights: str | None) -> keras.Model:
    """The backbone as a Functional or Sequential model."""
    arguments = {"input_shape": input_shape, "weights": weights}
    given = {parameter: value for parameter, value in arguments.items() if value is not None}
    if isinstance(backbone, keras.Model) and not _has_graph(backbone):
        return _as_layer(backbone, input_shape, weights)
    if given and not isinstance(backbone, str):
        raise ValueError(
            f"Parameters `input_shape` and `weights` go with the name of a backbone, and a {type(backbone).__name__} "
            f"has its own. Received: {given}. Leave them out."
        )
    if isinstance(backbone, keras.Model):
        return backbone
    return backbones.get(backbone, **given).build()


def _has_graph(model: keras.Model) -> bool:
    return hasattr(model, "operations") or (isinstance(model, keras.Sequential) and model.built)


def _as_layer(model: keras.Model, input_shape: Sequence[int] | None, weights: str | None) -> keras.Model:
    if input_shape is None or weights is not None:
        raise ValueError(
            f"The backbone {model.name!r} is a {type(model).__name__} without a graph to read its input off: it needs "
            f"`input_shape`, the shape of one input, and has its own weights. Received: input_shape={input_shape}, "
            f"weights={weights!r}"
        )
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, model(inputs))


def _ends(model: keras.Model, features: str | Sequence[str] | None) -> tuple[Any, sharings.Trunk]:
    """The inputs of a backbone and the levels that the tasks read."""
    # A Sequential model that was never called has `inputs`, and no `input`.
    inputs = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    if features is not None:
        names = [features] if isinstance(features, str) else list(features)
        layers = {layer.name: layer for layer in model.layers}
        unknown = [name for name in names if name not in layers]
        if unknown:
            raise unknown_name(f"layer of the backbone {model.name!r}", unknown[0], layers)
        if not names:
            raise ValueError(f"Parameter `features` should name a layer or several. Received: features={features!r}")
        return inputs, sharings.Trunk({name: layers[name].output for name in names})
    if len(model.outputs) != 1:
        raise ValueError(
            f"The backbone {model.name!r} should have one output. Received: {len(model.outputs)} outputs. "
            "Name the layer to read as `features`."
        )
    return inputs, sharings.Trunk(sharings.levels(model))
