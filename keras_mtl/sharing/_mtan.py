"""Multi-task attention: each task masks the features of a shared backbone, level by level."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from keras_mtl._checks import check_integer
from keras_mtl._graph import calls_between, key_of
from keras_mtl._source import Source
from keras_mtl.sharing._base import Sharing, registry
from keras_mtl.sharing._hand_over import handed_over
from keras_mtl.sharing._resizing import AverageTo
from keras_mtl.tasks import Task

_LAYERS = {
    3: (keras.layers.Conv1D, keras.layers.MaxPooling1D),
    4: (keras.layers.Conv2D, keras.layers.MaxPooling2D),
    5: (keras.layers.Conv3D, keras.layers.MaxPooling3D),
}


@registry.register("mtan")
class MTAN(Sharing):
    """Multi-task attention network: of each level of a shared backbone, each task takes what its own mask lets through.

    At each level a task has an attention module: a 1x1 convolution with batch normalization and ReLU, then one with
    batch normalization and a sigmoid, whose output, from 0 to 1, multiplies the features of the level. At the first
    level the module reads those features; at a later one also what the task took of the level before, by a 3x3
    convolution with batch normalization and ReLU, pooled to the size of the level. The task's features are those that
    it takes of the last level, a map. Use it with a deep convolutional backbone, where tasks want other channels and
    places of the same features, at a small cost in parameters.

    Source: S. Liu, E. Johns, A. J. Davison, "End-to-End Multi-Task Learning with Attention", CVPR 2019, section 3.1.
    As there, the 3x3 convolutions are the same for all tasks. The paper's module reads the features after the first
    convolution of a block and masks those after its last one; here a level is one tensor, which is read and masked.
    Only the encoder is here: a task's decoder is its head. Maps are pooled by their maximum, in windows that fit the
    next level whatever its size; where that is unknown, or larger, they are averaged.

    The backbone and the 3x3 convolutions are shared; the attention modules are each task's own.

    Args:
        units: channels between the two 1x1 convolutions of a module, at least 1. Defaults to None: as many as the
            level has.

    Raises:
        ValueError: if `units` is out of range; in a model, if levels of the backbone are not maps of the same number
            of dimensions, or there is one only because the sizes of its maps are unknown.

    Example:

    >>> import keras_mtl as mtl
    >>> tasks = [mtl.tasks.Classification("digit", 10), mtl.tasks.BinaryClassification("is_even")]
    >>> backbone = mtl.backbones.Convolutional((8, 8, 1), filters=(4, 8))
    >>> model = mtl.build_model(backbone, tasks, "mtan")
    >>> model.get_layer("conv_1_is_even_attended").output.shape
    (None, 4, 4, 8)
    """

    source = Source("Liu et al.", "End-to-End Multi-Task Learning with Attention", "CVPR", 2019, "1803.10704")

    def __init__(self, units: int | None = None) -> None:
        self.units = None if units is None else check_integer(units, "units")

    def __call__(self, features: Mapping[str, Any], tasks: Sequence[Task]) -> dict[str, Any]:
        """What each task takes of the last level, a map `(batch, ..., channels)`."""
        _check_maps(features)
        attended: dict[str, Any] = {}
        taken: dict[str, list[Any]] = {task.name: [] for task in tasks}  # of each level
        for before, after in itertools.pairwise(features):
            later = key_of(features[after])
            calls = calls_between([features[after]], [features[before]])
            if any(later == key_of(tensor) for call in calls for tensor in call.input_tensors):
                raise ValueError(
                    f"MTAN reads levels from the input on. Received: features {list(features)}, where {before!r} is "
                    f"made of {after!r}. Change their order."
                )
        for level, shared in features.items():
            read = {task.name: [shared] for task in tasks}
            if attended:
                carry = _carrier(shared, level)
                read = {task: [shared, carry(tensor, task)] for task, tensor in attended.items()}
            attended = {task: self._attend(inputs, shared, f"{level}_{task}") for task, inputs in read.items()}
            for task, tensor in attended.items():
                taken[task].append(tensor)
        return {task.name: handed_over(task, taken[task.name]) for task in tasks}

    def _attend(self, inputs: Sequence[Any], shared: Any, name: str) -> Any:
        """The features of a level times a task's mask, which is formed from `inputs`."""
        convolution, _ = _LAYERS[len(shared.shape)]
        channels = shared.shape[-1]
        x = keras.layers.Concatenate(name=f"{name}_inputs")(inputs) if len(inputs) > 1 else inputs[0]
        for part, units, activation in (("hidden", self.units or channels, "relu"), ("mask", channels, "sigmoid")):
            x = convolution(units, 1, use_bias=False, name=f"{name}_{part}_conv")(x)
            x = keras.layers.BatchNormalization(name=f"{name}_{part}_normalization")(x)
            x = keras.layers.Activation(activation, name=f"{name}_{part}")(x)
        return keras.layers.Multiply(name=f"{name}_attended")([x, shared])

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "units": self.units}


def _carrier(level: Any, name: str) -> Callable[[Any, str], Any]:
    """A function that brings a task's map to the size and channels of the next level, by layers of all tasks.

    Args:
        level: the features of the next level.
        name: of that level: begins the names of the layers.
    """
    convolution, _ = _LAYERS[len(level.shape)]
    convolved = convolution(level.shape[-1], 3, padding="same", use_bias=False, name=f"{name}_carry_conv")
    normalized = keras.layers.BatchNormalization(name=f"{name}_carry_normalization")
    rectified = keras.layers.Activation("relu", name=f"{name}_carry")

    def carry(tensor: Any, task: str) -> Any:
        return _resized(rectified(normalized(convolved(tensor))), level, f"{name}_{task}_carried")

    return carry


def _resized(tensor: Any, level: Any, name: str) -> Any:
    """A map at the size of a level."""
    sizes, wanted = tensor.shape[1:-1], level.shape[1:-1]
    if None in (*sizes, *wanted) or any(size < want for size, want in zip(sizes, wanted, strict=True)):
        return AverageTo(name=name)([tensor, level])
    if sizes == wanted:
        return tensor
    # With these strides, windows of this size end where the map does.
    strides = tuple(size // want for size, want in zip(sizes, wanted, strict=True))
    windows = tuple(size - (want - 1) * step for size, want, step in zip(sizes, wanted, strides, strict=True))
    _, pooling = _LAYERS[len(tensor.shape)]
    return pooling(windows, strides, name=name)(tensor)


def _check_maps(features: Mapping[str, Any]) -> None:
    """Raises a `ValueError` unless the levels are maps that can be masked one after the other."""
    shapes = {name: tuple(tensor.shape) for name, tensor in features.items()}
    ranks = {len(shape) for shape in shapes.values()}
    if len(ranks) > 1 or not ranks <= _LAYERS.keys() or any(shape[-1] is None for shape in shapes.values()):
        raise ValueError(
            "The architecture `mtan` masks feature maps (batch, ..., channels), of 3 to 5 dimensions and of the same "
            f"number at all levels. Received: levels of shapes {shapes}. Give a backbone whose output is a map, or the "
            "names of layers whose output is one as `features`."
        )
    (*_, last) = shapes.values()
    if len(shapes) == 1 and None in last[1:]:
        raise ValueError(
            "The architecture `mtan` works on the levels of a backbone, and those of this one are not known, because "
            f"the sizes of its maps are not. Received: features {last}. Give `build_model` an `input_shape`, or the "
            "names of several layers as `features`."
        )
