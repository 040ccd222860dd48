"""What layers between copies of a backbone have in common: they read all of a level, and weigh what they read."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mtl.sharing._hand_over import handed_over
from keras_mtl.sharing._trunk import Trunk
from keras_mtl.tasks import Task


class Mixing(keras.layers.Layer):
    """Weighs the features that stand side by side at a level, once for each of its readers.

    It takes a list of tensors of one shape, and gives a list of them, or, to an only reader, a tensor. Each reader of
    the last level is a task that no other reads on from, and has a layer of its own there, so that the weights in it
    count as that task's own.

    Args:
        tasks: the names of the model's tasks.
        level: the name of the level.
        readers: the names of what reads the outputs, in their order. Defaults to `tasks`.
        **kwargs: the arguments of `keras.layers.Layer`.
    """

    def __init__(self, tasks: Sequence[str], level: str, readers: Sequence[str] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tasks = list(tasks)
        self.level = level
        self.readers = self.tasks if readers is None else list(readers)
        self.supports_masking = True

    def learnt(self) -> dict[str, np.ndarray]:
        """What the layer has learnt, by name: the last two axes are the readers and what they read."""
        raise NotImplementedError

    def outputs(self, mixtures: Sequence[Any]) -> Any:
        """What the layer gives for one tensor a reader."""
        return mixtures[0] if len(self.readers) == 1 else list(mixtures)

    def compute_output_shape(self, input_shape: Sequence[Any]) -> Any:
        """The shape of one of the inputs, for each reader."""
        return self.outputs([tuple(input_shape[0])] * len(self.readers))

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The mask of one of the inputs, for each reader: copies of a backbone mask alike."""
        first = next((each for each in mask or () if each is not None), None)
        return self.outputs([first] * len(self.readers))

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "tasks": list(self.tasks), "level": self.level, "readers": list(self.readers)}


def num_channels(shape: Sequence[int | None], layer: keras.layers.Layer) -> int:
    """The size of the last axis.

    Raises:
        ValueError: if it is not fixed.
    """
    channels = shape[-1]
    if len(shape) < 2 or channels is None:
        raise ValueError(
            f"The layer {layer.name!r} has weights for each channel, so it needs features (batch, ..., channels) of a "
            f"fixed number of channels. Received: features of shape {tuple(shape)}. Give other `features`."
        )
    return channels


def own_and_others(tasks: Sequence[str], readers: Sequence[str], own: float) -> np.ndarray:
    """`own` for the task itself, and the others an equal share of the rest, `[num_readers, num_tasks]`."""
    rest = (1.0 - own) / max(len(tasks) - 1, 1)
    return np.asarray([[own if task == reader else rest for task in tasks] for reader in readers])


def weighted_sum(tensors: Sequence[Any], weights: Sequence[Any]) -> Any:
    """The sum of tensors of one shape, each times its weight: a number, or a vector of one for each channel."""
    return functools.reduce(ops.add, [tensor * weight for tensor, weight in zip(tensors, weights, strict=True)])


def mix_levels(
    trunk: Trunk,
    tasks: Sequence[Task],
    architecture: str,
    weights: str,
    mix: Callable[[list[Any], str, list[str]], list[Any]],
) -> dict[str, Any]:
    """A network for each task, all of which are mixed at the end of each stage.

    Args:
        trunk: the backbone.
        tasks: the tasks.
        architecture: the name of who asks, for messages.
        weights: as in `Trunk.copy_for`.
        mix: from the tasks' features, the level's name and the names of its readers to the features of each reader. At
            the last level it is asked for each task alone.

    Returns:
        The mixed features of the last level, or of the levels that the task reads, by task.
    """
    *inner, last = trunk.stages(architecture)
    names = [task.name for task in tasks]
    mixed: dict[str, list[Any]] = {name: [] for name in names}  # at each level
    for stage in inner:
        found = [stage.copy_for(name, mixed[name][-1:] or None, weights) for name in names]
        for name, tensor in zip(names, mix(found, stage.name, names), strict=True):
            mixed[name].append(tensor)
    found = [last.copy_for(name, mixed[name][-1:] or None, weights) for name in names]
    return {task.name: handed_over(task, [*mixed[task.name], *mix(found, last.name, [task.name])]) for task in tasks}
