"""What every sharing architecture is: a rule for how features flow from the backbone to the tasks."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from keras_mtl._registry import Registry
from keras_mtl._source import Source
from keras_mtl.tasks import Task


class Sharing(abc.ABC):
    """How features flow from the backbone to the tasks.

    A sharing holds arguments only; a call makes Keras layers, so that `summary`, `plot_model` and export see an
    ordinary Functional model. A subclass gives the class attribute `source`, the features of each task, and, where
    tasks read each other's predictions, `outputs`.
    """

    #: Where the architecture was published.
    source: ClassVar[Source]

    @abc.abstractmethod
    def __call__(self, features: Mapping[str, Any], tasks: Sequence[Task]) -> dict[str, Any]:
        """The features of each task.

        Args:
            features: the backbone's feature tensors `(batch, ..., channels)` by level, from the input on. An
                architecture that copies the backbone needs a `Trunk` of them.
            tasks: the tasks.

        Returns:
            A tensor `(batch, ..., channels)` by task name; for a task that `reads_levels`, a list of maps, the finest
            first.
        """

    def outputs(self, features: Mapping[str, Any], tasks: Sequence[Task]) -> dict[str, Any]:
        """The prediction of each task, by its name, from its features: by its head alone, unless overridden."""
        return {task.name: task.head(features[task.name]) for task in tasks}

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Sharing:
        """A sharing from what `get_config` returned."""
        return cls(**config)


registry: Registry[Sharing] = Registry("sharing", Sharing)
