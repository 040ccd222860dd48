"""A backbone as the sharing architectures see it: levels of features, copies of it, stages between the levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from keras_mtl._checks import check_one_of
from keras_mtl._graph import call_again, calls_between, key_of, node_of

COPIES = ("copied", "own")


class Trunk(dict[str, Any]):
    """The features of a backbone by level, from the input on, with what it takes to copy the backbone.

    What the backbone does to its inputs before the first layer with weights, and layers that were adapted to data, such
    as `Normalization`, are its preparation: copies share it.

    Args:
        levels: symbolic tensors `(batch, ..., channels)` of one graph by name, from the input on.
    """

    def __init__(self, levels: Mapping[str, Any]) -> None:
        super().__init__(levels)
        self._prepared = _prepared(list(levels.values()))

    @property
    def last(self) -> Any:
        """The features of the last level."""
        *_, last = self.values()
        return last

    def copy_for(self, task: str, weights: str = "copied") -> dict[str, Any]:
        """The levels of a copy of the backbone on the same inputs.

        Args:
            task: ends the names of the copy's layers.
            weights: `"copied"`: those of the backbone, or `"own"`: new ones, drawn as the layers draw them.
        """
        pairs = [(tensor, tensor) for tensor in self._prepared]
        return dict(zip(self, _copy(pairs, list(self.values()), task, weights), strict=True))

    def stages(self, architecture: str) -> list[Stage]:
        """What leads from the prepared inputs to the first level, and from each level to the next.

        Args:
            architecture: the name of who asks, for messages.

        Raises:
            ValueError: if there is a way around a level, or one level only because the sizes of the maps are unknown.
        """
        if len(self) == 1 and None in self.last.shape[1:]:
            raise ValueError(
                f"The architecture `{architecture}` works between the levels of a backbone, and those of this one are "
                f"not known, because the sizes of its maps are not. Received: features {tuple(self.last.shape)}. Give "
                "`build_model` an `input_shape`, or the names of layers as `features`."
            )
        found, sources = [], list(self._prepared)
        for name, tensor in self.items():
            if not _goes_through(tensor, self.last):
                possible = [node_of(level).operation.name for level in _bottlenecks(self.last)]
                raise ValueError(
                    f"The architecture `{architecture}` works between the levels of a backbone, so that all that leads "
                    f"on from a level should go through it. Received: level {name!r}, around which there is a way. "
                    f"Choose `features` of {possible}."
                )
            found.append(Stage(name, sources, tensor))
            sources = [tensor]
        return found


@dataclass(frozen=True)
class Stage:
    """A part of a backbone.

    Args:
        name: of the level that it ends in.
        sources: the symbolic tensors that it begins with.
        output: the tensor that it ends in.
    """

    name: str
    sources: Sequence[Any]
    output: Any

    def copy_for(self, task: str, inputs: Sequence[Any] | None = None, weights: str = "copied") -> Any:
        """The output of a copy of the stage.

        Args:
            task: ends the names of the copy's layers.
            inputs: what stands in place of the sources. Defaults to the sources.
            weights: as in `Trunk.copy_for`.
        """
        pairs = zip(self.sources, self.sources if inputs is None else inputs, strict=True)
        return _copy(list(pairs), [self.output], task, weights)[0]


def needs_trunk(features: Mapping[str, Any], architecture: str) -> Trunk:
    """Returns `features` if it is a `Trunk`.

    Raises:
        ValueError: if it is only features, of which no copy can be made.
    """
    if not isinstance(features, Trunk):
        raise ValueError(
            f"The architecture `{architecture}` copies the backbone, so it needs a `sharing.Trunk`. Received: a "
            f"{type(features).__name__} of features. Use `build_model`, or make a `Trunk` of them."
        )
    return features


def levels(model: keras.Model) -> dict[str, Any]:
    """The levels of a backbone, by the names of the layers that give them, the output last.

    Of the tensors through which all goes on its way to the output, these are the last of each size of feature map, and
    of vectors those that go into a layer that mixes their channels.

    Args:
        model: a Functional model of one output.
    """
    (output,) = model.outputs
    found: list[Any] = []
    for tensor in _bottlenecks(output):
        if not found:
            found = [tensor] if _mixes([], tensor) else []
            continue
        mixes, alike = _mixes([found[-1]], tensor), tensor.shape[1:-1] == found[-1].shape[1:-1]
        if alike and (not mixes or len(tensor.shape) > 2):
            found[-1] = tensor
        elif mixes:
            found.append(tensor)
    if not found or _mixes([found[-1]], output):
        found.append(output)
    found[-1] = output
    return {node_of(tensor).operation.name: tensor for tensor in found}


def _bottlenecks(output: Any) -> list[Any]:
    """The tensors through which every way to `output` goes, itself included, in their order."""
    calls = calls_between([], [output])
    return [call.outputs[0] for call in calls if len(call.outputs) == 1 and _goes_through(call.outputs[0], output)]


def _goes_through(tensor: Any, output: Any) -> bool:
    return all(call.input_tensors for call in calls_between([tensor], [output]))


def _mixes(sources: Sequence[Any], output: Any) -> bool:
    """Whether a layer between mixes channels: has a matrix among its weights, and not only scales and offsets."""
    weights = [weight for call in calls_between(sources, [output]) for weight in getattr(call.operation, "weights", ())]
    return any(len(weight.shape) > 1 for weight in weights)


def _copy(pairs: Sequence[tuple[Any, Any]], outputs: Sequence[Any], task: str, weights: str) -> list[Any]:
    """The same calls on other tensors, by copies of their layers."""
    check_one_of(weights, "weights", COPIES)
    copies: list[tuple[Any, Any]] = []

    def copy_of(operation: Any) -> Any:
        if not isinstance(operation, keras.layers.Layer):
            return operation
        try:
            copy = type(operation).from_config({**operation.get_config(), "name": f"{operation.name}_{task}"})
        except (NotImplementedError, TypeError) as error:
            raise ValueError(
                f"The layer {operation.name!r} of the backbone cannot be copied for task {task!r}. Received: a "
                f"{type(operation).__name__} whose `from_config` says: {error}. Give it a `get_config`."
            ) from error
        copies.append((operation, copy))
        return copy

    made = call_again(pairs, outputs, copy_of)
    for layer, copy in copies:
        if weights == "copied" or hasattr(layer, "adapt"):
            copy.set_weights(layer.get_weights())
    return made


def _prepared(outputs: Sequence[Any]) -> list[Any]:
    """Where the preparation of the inputs ends: the tensors that the calls beyond it read, or outputs within it."""
    within: dict[tuple[int, int, int], Any] = {}
    found: dict[tuple[int, int, int], Any] = {}
    for call in calls_between([], outputs):
        before = {key_of(tensor): tensor for tensor in call.input_tensors}
        if before.keys() <= within.keys() and _prepares(call.operation):
            within.update({key_of(tensor): tensor for tensor in call.outputs})
        else:
            found.update({key: tensor for key, tensor in before.items() if key in within})
    found.update({key_of(tensor): tensor for tensor in outputs if key_of(tensor) in within})
    return list(found.values())


def _prepares(operation: Any) -> bool:
    return not getattr(operation, "weights", ()) or hasattr(operation, "adapt")
