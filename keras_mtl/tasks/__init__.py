"""Tasks: what is learnt. Each says how its output looks, what it is trained and judged by, and which labels are valid.

>>> from keras_mtl import tasks
>>> tasks.names()
['binary_classification', 'classification', 'regression']
"""

from typing import Any

from keras_mtl.tasks._base import Task, registry
from keras_mtl.tasks._binary_classification import BinaryClassification
from keras_mtl.tasks._classification import Classification
from keras_mtl.tasks._regression import Regression


def names() -> list[str]:
    """The names of all kinds of task."""
    return registry.names()


def get(identifier: Any, **arguments: Any) -> Task:
    """A task from the name of its kind and its arguments, a config of `keras.saving`, or an instance.

    Args:
        identifier: one of `names()`, a config, or a task, which is returned as it is.
        **arguments: with a name: the arguments of the task's class.

    Raises:
        ValueError: if the kind is unknown (the message lists the known ones) or an argument is out of range.

    Example:

    >>> from keras_mtl import tasks
    >>> tasks.get("classification", name="breed", num_classes=37)
    Classification('breed')
    """
    return registry.get(identifier, **arguments)


__all__ = ["BinaryClassification", "Classification", "Regression", "Task", "get", "names"]
