"""What every sharing architecture is: a rule for how features flow from the backbone to the tasks."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any

from keras_mtl._registry import Registry
from keras_mtl.tasks import Task


class Sharing(abc.ABC):
    """How features flow from the backbone to the tasks.

    A sharing holds arguments only; a call makes Keras layers, so that `summary`, `plot_model` and export see an
    ordinary Functional model.
    """

    @abc.abstractmethod
    def __call__(self, features: Mapping[str, Any], tasks: Sequence[Task]) -> dict[str, Any]:
        """The features of each task.

        Args:
            features: the backbone's feature tensors `(batch, ..., channels)` by level.
            tasks: the tasks.

        Returns:
            A tensor `(batch, ..., channels)` by task name.
        """

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Sharing:
        """A sharing from what `get_config` returned."""
        return cls(**config)


registry: Registry[Sharing] = Registry("sharing", Sharing)
