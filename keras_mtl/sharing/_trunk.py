"""A backbone as the sharing architectures see it: levels of features, copies of it, stages between the levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras

from keras_mtl._graph import calls_between, key_of, node_of
from keras_mtl.sharing._copies import copied_name, copy_calls
from keras_mtl.tasks import Task


class Trunk(dict[str, Any]):
    """The features of a backbone by level, from the input on, with what it takes to copy the backbone.

    What the backbone does to its inputs before the first layer with weights, and layers that were adapted to data, such
    as `Normalization`, are its preparation: copies share it.

    Args:
        levels: symbolic tensors `(batch, ..., channels)` of one graph by name, from the input on.

    Example:

    >>> from keras_mtl import backbones, sharing
    >>> trunk = sharing.Trunk(sharing.levels(backbones.MLP(4, units=(8, 6)).build()))
    >>> {name: tensor.shape for name, tensor in trunk.copy_for("age").items()}
    {'dense_0': (None, 8), 'dense_1': (None, 6)}
    """

    def __init__(self, levels: Mapping[str, Any]) -> None:
        super().__init__(levels)
        self._prepared = _prepared(list(levels.values()))

    @property
    def last(self) -> Any:
        """The features of the last level."""
        *_, last = self.values()
        return last

    @property
    def prepared(self) -> list[Any]:
        """Where the preparation of the inputs ends: symbolic tensors, which all copies read."""
        return list(self._prepared)

    def maps(self, rank: int) -> list[Any]:
        """The tensors of so many dimensions behind layers that mix channels, through which all goes, levels or not."""
        return [tensor for tensor in _bottlenecks(self.last) if len(tensor.shape) == rank and _mixes([], tensor)]

    @property
    def layers(self) -> list[str]:
        """The names of the layers with weights of which there is one in each copy, from the input on."""
        found = {call.operation.name: call.operation for call in calls_between(self._prepared, list(self.values()))}
        return [name for name, operation in found.items() if getattr(operation, "weights", ())]

    def copy_for(self, reader: str, weights: str = "copied", inputs: Sequence[Any] | None = None) -> dict[str, Any]:
        """The levels of a copy of the backbone on the same inputs.

        Args:
            reader: who reads it, a task as a rule: ends the names of the copy's layers.
            weights: `"copied"`: those of the backbone, or `"own"`: new ones, drawn as the layers draw them.
            inputs: what stands in place of the prepared inputs. Defaults to those.

        Raises:
            ValueError: if a layer of the backbone cannot be made from its config.
        """
        pairs = list(zip(self._prepared, self._prepared if inputs is None else inputs, strict=True))
        made = copy_calls(pairs, list(self.values()), lambda name: copied_name(name, reader), weights=weights)
        return dict(zip(self, made, strict=True))

    def stages(self, architecture: str) -> list[Stage]:
        """What leads from the prepared inputs to the first level, and from each level to the next.

        Args:
            architecture: the name of who asks, for messages.

        Raises:
            ValueError: if there is a way around a level, a level before all weights, or one level only because the
                sizes of the maps are unknown.
        """
        if len(self) == 1 and len(self.last.shape) > 3 and None in self.last.shape[1:]:
            raise ValueError(
                f"The architecture `{architecture}` works between the levels of a backbone, and those of this one are "
                f"not known, because the sizes of its maps are not. Received: features {tuple(self.last.shape)}. Give "
                "`build_model` an `input_shape`, or the names of layers as `features`."
            )
        found, sources = [], list(self._prepared)
        copies: dict[str, dict[int, keras.layers.Layer]] = {}
        for name, tensor in self.items():
            if key_of(tensor) in {key_of(source) for source in self._prepared}:
                raise ValueError(
                    f"The architecture `{architecture}` works between the levels of a backbone, each of which should "
                    f"stand behind layers with weights. Received: level {name!r}, which stands before all of them. "
                    "Leave it out of `features`."
                )
            if not _goes_through(tensor, self.last):
                behind = [level for level in _bottlenecks(self.last) if _mixes(self._prepared, level)]
                possible = [node_of(level).operation.name for level in behind]
                raise ValueError(
                    f"The architecture `{architecture}` works between the levels of a backbone, so that all that leads "
                    f"on from a level should go through it. Received: level {name!r}, around which there is a way. "
                    f"Choose `features` of {possible}."
                )
            found.append(Stage(name, sources, tensor, copies))
            sources = [tensor]
        return found


@dataclass(frozen=True)
class Stage:
    """A part of a backbone.

    Args:
        name: of the level that it ends in.
        sources: the symbolic tensors that it begins with.
        output: the tensor that it ends in.
        copies: the copies of layers that the stages of a backbone have made, by reader: one that is called in two
            stages has one copy for a reader, so that its weights stay tied.
    """

    name: str
    sources: Sequence[Any]
    output: Any
    copies: dict[str, dict[int, keras.layers.Layer]] = field(default_factory=dict)

    def copy_for(self, reader: str, inputs: Sequence[Any] | None = None, weights: str = "copied") -> Any:
        """The output of a copy of the stage.

        Args:
            reader: ends the names of the copy's layers.
            inputs: what stands in place of the sources. Defaults to the sources.
            weights: as in `Trunk.copy_for`.
        """
        pairs = list(zip(self.sources, self.sources if inputs is None else inputs, strict=True))
        made = self.copies.setdefault(reader, {})
        (output,) = copy_calls(pairs, [self.output], lambda name: copied_name(name, reader), weights=weights, made=made)
        return output


def needs_trunk(features: Mapping[str, Any], architecture: str) -> Trunk:
    """Returns `features` if it is a `Trunk` of a backbone that has weights.

    Raises:
        ValueError: if it is only features, of which no copy can be made, or copies would be all the same.
    """
    if not isinstance(features, Trunk):
        raise ValueError(
            f"The architecture `{architecture}` copies the backbone, so it needs a `sharing.Trunk`. Received: a "
            f"{type(features).__name__} of features. Use `build_model`, or make a `Trunk` of them."
        )
    if not features.layers:
        raise ValueError(
            f"The architecture `{architecture}` copies the layers of the backbone that have weights. Received: a "
            f"backbone without any, with the levels {list(features)}. Use sharing='hard'."
        )
    return features


def needs_several(tasks: Sequence[Task], architecture: str) -> list[str]:
    """Returns the names of the tasks if there are two or more.

    Raises:
        ValueError: if there is one task.
    """
    if len(tasks) < 2:
        raise ValueError(
            f"The architecture `{architecture}` connects the networks of several tasks. Received: "
            f"{[task.name for task in tasks]}. Give two tasks or more, or use sharing='hard'."
        )
    return [task.name for task in tasks]


def levels(model: keras.Model) -> dict[str, Any]:
    """The levels of a backbone, by the names of the layers that give them, the output last.

    Of the tensors through which all goes on its way to the output, these are the last of each size of feature map, and
    of vectors those that go into a layer that mixes their channels.

    Args:
        model: a Functional model of one output.

    Example:

    >>> from keras_mtl import backbones, sharing
    >>> model = backbones.Convolutional((8, 8, 1), filters=(4, 6)).build()
    >>> {name: tensor.shape for name, tensor in sharing.levels(model).items()}
    {'conv_0': (None, 8, 8, 4), 'conv_1': (None, 4, 4, 6)}
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
    calls = _ways([], output)
    place = {id(call): position for position, call in enumerate(calls)}
    last_read = list(range(len(calls)))  # by the call that comes last of those that read what a call gives
    for position, call in enumerate(calls):
        for tensor in call.input_tensors:
            if id(node_of(tensor)) in place:
                last_read[place[id(node_of(tensor))]] = position
    last_input = max(position for position, call in enumerate(calls) if not call.input_tensors)
    found, furthest = [], 0  # among the calls before
    for position, call in enumerate(calls):
        if len(call.outputs) == 1 and furthest <= position and last_input <= position:
            found.append(call.outputs[0])
        furthest = max(furthest, last_read[position])
    return found


def _ways(sources: Sequence[Any], output: Any) -> list[Any]:
    """The calls that lead to `output`, as in `calls_between`, without those of masks alone.

    Masks, which are boolean, go beside the features of a sequence from its beginning to its end.
    """
    masks = [tensor for call in calls_between([], [output]) for tensor in call.outputs if tensor.dtype == "bool"]
    return calls_between([*sources, *masks], [output])


def _goes_through(tensor: Any, output: Any) -> bool:
    return all(call.input_tensors for call in _ways([tensor], output))


def _mixes(sources: Sequence[Any], output: Any) -> bool:
    """Whether a layer between mixes channels: has a matrix among its weights, and not only scales and offsets."""
    weights = [weight for call in _ways(sources, output) for weight in getattr(call.operation, "weights", ())]
    return any(len(weight.shape) > 1 for weight in weights)


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
