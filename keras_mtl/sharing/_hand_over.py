"""What an architecture hands to a task of the levels that it has for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras_mtl.tasks import Task


def handed_over(task: Task, levels: Sequence[Any]) -> Any:
    """The last level, or, for a task that decodes a pyramid of maps, a list of all maps, the finest first.

    Args:
        task: the task.
        levels: tensors `(batch, ..., channels)`, from the input on.
    """
    if not task.reads_levels:
        return levels[-1]
    return [level for level in levels if len(level.shape) == 2 + task.num_place_axes] or levels[-1]


def needs_one_level(tasks: Sequence[Task], architecture: str) -> None:
    """Raises a `ValueError` if a task decodes a pyramid of maps, where an architecture goes on from one of them."""
    found = [task.name for task in tasks if task.reads_levels]
    if found:
        raise ValueError(
            f"The architecture `{architecture}` goes on from the last level of a backbone. Received: tasks {found} "
            "with decoder='pyramid', which reads several levels. Give them decoder='last', or use sharing='hard'."
        )
