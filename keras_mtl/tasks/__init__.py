"""Tasks: what is learnt. Each says how its output looks, what it is trained and judged by, and which labels are valid.

>>> from keras_mtl import tasks
>>> tasks.names()[:3]
['binary_classification', 'classification', 'dense_regression']
"""

from collections.abc import Sequence
from typing import Any

from keras_mtl.tasks._base import Task, registry
from keras_mtl.tasks._binary_classification import BinaryClassification
from keras_mtl.tasks._classification import Classification
from keras_mtl.tasks._dense_regression import DenseRegression
from keras_mtl.tasks._multi_label_classification import MultiLabelClassification
from keras_mtl.tasks._ordinal_regression import OrdinalRegression
from keras_mtl.tasks._regression import Regression
from keras_mtl.tasks._segmentation import Segmentation
from keras_mtl.tasks._sequence_tagging import SequenceTagging


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


def get_all(identifiers: Sequence[Any]) -> tuple[Task, ...]:
    """The tasks of one model from instances or configs.

    Args:
        identifiers: at least one task or config, of different names.

    Raises:
        ValueError: if there is none, or two bear the same name.

    Example:

    >>> from keras_mtl import tasks
    >>> tasks.get_all([tasks.Regression("age"), tasks.BinaryClassification("is_cat")])
    (Regression('age'), BinaryClassification('is_cat'))
    """
    if not isinstance(identifiers, Sequence) or isinstance(identifiers, (str, bytes)) or not identifiers:
        raise ValueError(f"Parameter `tasks` should be a list of at least one task. Received: tasks={identifiers!r}")
    tasks = tuple(get(identifier) for identifier in identifiers)
    own = [task.name for task in tasks]
    repeated = sorted({name for name in own if own.count(name) > 1})
    if repeated:
        raise ValueError(f"The names of tasks should differ. Received: {own}, where {repeated} are repeated")
    return tasks


__all__ = [
    "BinaryClassification",
    "Classification",
    "DenseRegression",
    "MultiLabelClassification",
    "OrdinalRegression",
    "Regression",
    "Segmentation",
    "SequenceTagging",
    "Task",
    "get",
    "get_all",
    "names",
]
