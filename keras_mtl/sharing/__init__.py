"""Sharing architectures: how features flow from the backbone to the tasks.

>>> from keras_mtl import sharing
>>> sharing.names()
['hard']
"""

from typing import Any

from keras_mtl.sharing._base import Sharing, registry
from keras_mtl.sharing._hard import Hard
from keras_mtl.sharing._trunk import Trunk, levels


def names() -> list[str]:
    """The names of all sharing architectures."""
    return registry.names()


def get(identifier: Any) -> Sharing:
    """A sharing architecture from its name, its config or an instance.

    Args:
        identifier: one of `names()`, a config of `keras.saving`, or an instance, which is returned as it is.

    Raises:
        ValueError: if the name is unknown; the message lists the known ones.

    Example:

    >>> from keras_mtl import sharing
    >>> type(sharing.get("hard")).__name__
    'Hard'
    """
    return registry.get(identifier)


__all__ = ["Hard", "Sharing", "Trunk", "get", "levels", "names"]
