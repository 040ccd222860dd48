"""What every backbone is: a recipe for a fresh Keras model from raw input to features."""

from __future__ import annotations

import abc
from typing import Any

import keras

from keras_mtl._registry import Registry


class Backbone(abc.ABC):
    """A recipe for the part that all tasks share: from raw input to features.

    A backbone holds arguments only. Each `build` makes new layers with new weights, so that one backbone can serve
    many models (a search, a comparison with single-task models) that share nothing.
    """

    @abc.abstractmethod
    def build(self) -> keras.Model:
        """A new Functional model from raw input to features, `(batch, ..., channels)`."""

    @abc.abstractmethod
    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Backbone:
        """A backbone from what `get_config` returned."""
        return cls(**config)


registry: Registry[Backbone] = Registry("backbone", Backbone)
