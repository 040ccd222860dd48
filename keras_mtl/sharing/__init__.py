"""Sharing architectures: how features flow from the backbone to the tasks.

>>> from keras_mtl import sharing
>>> "hard" in sharing.names()
True
"""

from typing import Any

from keras_mtl.sharing._base import Sharing, registry
from keras_mtl.sharing._cascade import Cascade
from keras_mtl.sharing._cgc import CGC
from keras_mtl.sharing._cooperative import Cooperative
from keras_mtl.sharing._cross_stitch import CrossStitch
from keras_mtl.sharing._describe import describe
from keras_mtl.sharing._dselect_k import DSelectK
from keras_mtl.sharing._esmm import ESMM
from keras_mtl.sharing._experts import Experts
from keras_mtl.sharing._hard import Hard
from keras_mtl.sharing._independent import Independent
from keras_mtl.sharing._learning_to_branch import LearningToBranch
from keras_mtl.sharing._mmoe import MMoE
from keras_mtl.sharing._mtan import MTAN
from keras_mtl.sharing._nddr import NDDR
from keras_mtl.sharing._ple import PLE
from keras_mtl.sharing._prune import prune
from keras_mtl.sharing._soft import Soft
from keras_mtl.sharing._trunk import Trunk, levels


def names() -> list[str]:
    """The names of all sharing architectures."""
    return registry.names()


def classes() -> dict[str, type[Sharing]]:
    """The classes of all sharing architectures by name."""
    return registry.classes()


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


__all__ = [
    "CGC",
    "ESMM",
    "MTAN",
    "NDDR",
    "PLE",
    "Cascade",
    "Cooperative",
    "CrossStitch",
    "DSelectK",
    "Experts",
    "Hard",
    "Independent",
    "LearningToBranch",
    "MMoE",
    "Sharing",
    "Soft",
    "Trunk",
    "classes",
    "describe",
    "get",
    "levels",
    "names",
    "prune",
]
