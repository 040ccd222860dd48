"""Copies of parts of a graph: the same calls, by layers of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_mtl._checks import check_one_of
from keras_mtl._graph import call_again

WEIGHTS = ("copied", "own")


def check_weights(value: Any) -> str:
    """Returns `value` if it says which weights copies begin with."""
    return check_one_of(value, "weights", WEIGHTS)


def copied_name(layer: str, reader: str) -> str:
    """The name of the copy of a layer for a task, or for a node of a tree."""
    return f"{layer}_{reader}"


def copy_calls(
    replaced: Sequence[tuple[Any, Any]],
    outputs: Sequence[Any],
    name: Callable[[str], str],
    *,
    weights: str = "copied",
    made: dict[int, keras.layers.Layer] | None = None,
    in_place: Callable[[Any], Callable[..., Any] | None] = lambda layer: None,
) -> list[Any]:
    """The same calls on other tensors, by copies of their layers.

    Args:
        replaced: pairs of a symbolic tensor and what is to stand in its place.
        outputs: symbolic tensors.
        name: from the name of a layer to that of its copy.
        weights: `"copied"`: those of the layers, or `"own"`: new ones, drawn as the layers draw them: with a seed that
            an initializer was given, the same again. What layers such
            as `Normalization` have adapted to data is copied in either case.
        made: copies of layers, by the layers' ids, to be used again; those that are made are added.
        in_place: from a layer to a function that is called in place of a copy of it, or None for a copy.

    Returns:
        A tensor for each of `outputs`.

    Raises:
        ValueError: if a layer cannot be made from its config.
    """
    check_weights(weights)
    made = {} if made is None else made
    new: list[tuple[keras.layers.Layer, keras.layers.Layer]] = []

    def operation_for(operation: Any) -> Any:
        if not isinstance(operation, keras.layers.Layer):
            return operation
        other = in_place(operation)
        if other is not None:
            return other
        if id(operation) not in made:
            made[id(operation)] = _copy(operation, name(operation.name))
            new.append((operation, made[id(operation)]))
        return made[id(operation)]

    found = call_again(replaced, outputs, operation_for)
    for layer, copy in new:
        _hand_on(layer, copy, weights)
    return found


def _copy(layer: keras.layers.Layer, name: str) -> keras.layers.Layer:
    try:
        return type(layer).from_config({**layer.get_config(), "name": name})
    except (NotImplementedError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"The layer {layer.name!r} of the backbone should have a copy, {name!r}, and cannot be made from its "
            f"config. Received: a {type(layer).__name__}; Keras says: {reason} Give the class a `get_config` that "
            "matches its `__init__`, and have that take `**kwargs` for the name."
        ) from error


def _hand_on(layer: keras.layers.Layer, copy: keras.layers.Layer, weights: str) -> None:
    """Gives a copy the weights of the layer, or only what the layer, or one within it, has adapted to data."""
    if weights == "copied" or hasattr(layer, "adapt"):
        copy.set_weights(layer.get_weights())
    else:
        for inner, inner_copy in zip(_within(layer), _within(copy), strict=True):
            _hand_on(inner, inner_copy, weights)
    _take_up(copy)


def _take_up(layer: keras.layers.Layer) -> None:
    """Has each `Normalization` compute with the statistics that it was given: it keeps what it made of the old ones."""
    if isinstance(layer, keras.layers.Normalization):
        layer.finalize_state()
    for inner in _within(layer):
        _take_up(inner)


def _within(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    if isinstance(layer, keras.layers.Wrapper):
        return [layer.layer]
    return layer.layers if isinstance(layer, keras.Model) else []
