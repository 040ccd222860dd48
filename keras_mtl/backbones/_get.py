"""Backbones by name."""

from __future__ import annotations

from typing import Any

from keras_mtl._registry import unknown_name
from keras_mtl.backbones._base import Backbone, registry
from keras_mtl.backbones._image import Image, architectures


def names() -> list[str]:
    """The names of the package's own backbones; `architectures` has those of `keras.applications`."""
    return registry.names()


def get(identifier: Any, **arguments: Any) -> Backbone:
    """A backbone from a name and its arguments, a config of `keras.saving`, or an instance.

    Args:
        identifier: a name of `names()` or `architectures()`, a config, or a backbone, which is returned as it is.
        **arguments: with a name: the arguments of the backbone's class, for an architecture those of `Image`.

    Raises:
        ValueError: if the name is unknown (the message lists the known ones), or arguments are absent or unknown.

    Example:

    >>> from keras_mtl import backbones
    >>> type(backbones.get("mlp", input_shape=4)).__name__
    'MLP'
    >>> backbones.get("resnet50").architecture
    'ResNet50'
    """
    if isinstance(identifier, str) and identifier not in names():
        if identifier.lower() not in map(str.lower, architectures()):
            raise unknown_name("backbone", identifier, [*names(), *architectures()])
        return Image(identifier, **arguments)
    return registry.get(identifier, **arguments)
