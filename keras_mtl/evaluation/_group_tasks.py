"""Which tasks to train together, for a budget of models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_mtl._checks import check_integer, check_number

_MOST_TASKS = 12


@dataclass(frozen=True)
class Grouping:
    """Groups of tasks, one a model.

    Args:
        groups: the tasks of each model, by name.
        serves: for each task, the index of the model that predicts it; in the others it is trained for the sake of the
            rest.
        value: the sum over the tasks of the mean affinity onto each from the rest of the group that serves it.
    """

    groups: tuple[tuple[str, ...], ...]
    serves: dict[str, int]
    value: float

    def __str__(self) -> str:
        lines = []
        for index, group in enumerate(self.groups):
            helping = [task for task in group if self.serves[task] != index]
            note = f" (without serving {', '.join(helping)})" if helping else ""
            lines.append(f"{' + '.join(group)}{note}")
        return "\n".join(lines)


def group_tasks(affinity: Any, num_models: int, tasks: Sequence[str] | None = None, *, alone: float = 0.0) -> Grouping:
    """Finds the best groups of tasks for a budget of models, exactly.

    A group is a multi-task model of its own. The value of a group to a task in it is the mean of the affinities of the
    other tasks of the group onto that task, and `alone` if there is no other. Every task is in one group at least, and
    is served by that of its groups which is worth most to it. What is maximized is the sum, over the tasks, of the
    value of the group that serves it, over all choices of at most `num_models` groups. A task may be in several groups;
    it is in one that does not serve it only if its presence there raises the sum. Of choices of the same sum, one of
    the fewest models is taken, each of the smallest group that is worth as much to the tasks that it serves; with tasks
    served in another way, groups of the same sum may be smaller.

    It is solved by dynamic programming over sets of tasks: first the best group for each set that it serves, then the
    best partition of the tasks into such sets. Twelve tasks take about a second.

    Source: C. Fifty, E. Amid, Z. Zhao, T. Yu, R. Anil, C. Finn, "Efficiently Identifying Task Groupings for Multi-Task
    Learning", NeurIPS 2021, section 3.3 (network selection); a budget of one model is one network that is run at
    inference, whatever the number of its tasks, as there. The paper searches by branch and bound; the authors' code
    rules out groups of one task, which is `alone=-1e6` here.

    Args:
        affinity: `[num_tasks, num_tasks]`, finite off the diagonal: of row i onto column j, more being better, such as
            `TaskAffinity.affinity` or `GainMatrix.gains["validation"]`. The diagonal does not count.
        num_models: the largest number of models, at least 1.
        tasks: the tasks' names, in the order of rows and columns. Defaults to `"0"`, `"1"` and so on.
        alone: the value of a model of its own to a task, on the scale of the affinities. Defaults to 0, which is what
            it is by definition for gains over single-task models.

    Returns:
        A `Grouping`.

    Raises:
        ValueError: if `affinity` is not square and finite, has more than 12 tasks, or an argument does not fit.

    Example:

    >>> from keras_mtl import evaluation
    >>> affinity = [[0.0, 0.3, -0.1], [0.2, 0.0, -0.2], [-0.1, -0.3, 0.0]]
    >>> grouping = evaluation.group_tasks(affinity, 2, ["left", "right", "sum"])
    >>> grouping.groups, grouping.serves, grouping.value
    ((('left', 'right'), ('sum',)), {'left': 0, 'right': 0, 'sum': 1}, 0.5)
    """
    matrix = _checked(affinity)
    number = len(matrix)
    names = tuple(str(index) for index in range(number)) if tasks is None else tuple(tasks)
    if len(names) != number or len(set(names)) != number:
        raise ValueError(
            f"Parameter `tasks` should be {number} different names, one for each row of `affinity`. "
            f"Received: tasks={tasks!r}"
        )
    check_integer(num_models, "num_models")
    check_number(alone, "alone", minimum=-math.inf)
    worth, group_of = _best_groups(_values(matrix, alone))
    served = _best_partition(worth, min(num_models, number))
    served.sort(key=lambda members: members & -members)  # by the first task that each serves
    serves = {
        names[task]: index for index, members in enumerate(served) for task in range(number) if members >> task & 1
    }
    return Grouping(
        groups=tuple(
            tuple(names[task] for task in range(number) if group_of[members] >> task & 1) for members in served
        ),
        serves={name: serves[name] for name in names},
        value=float(sum(worth[members] for members in served)),
    )


def _checked(affinity: Any) -> np.ndarray:
    matrix = np.array(affinity, float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(
            f"Parameter `affinity` should have shape (num_tasks, num_tasks). Received: shape {matrix.shape}"
        )
    if len(matrix) > _MOST_TASKS:
        raise ValueError(
            f"Parameter `affinity` should be of at most {_MOST_TASKS} tasks: the best groups are found exactly, at a "
            f"cost that triples with each task. Received: {len(matrix)} tasks. Leave some out, or merge tasks that "
            "surely belong together by the mean of their rows and columns."
        )
    np.fill_diagonal(matrix, 0.0)
    if not np.isfinite(matrix).all():
        pairs = [tuple(map(int, pair)) for pair in np.argwhere(~np.isfinite(matrix))]
        raise ValueError(
            f"Parameter `affinity` should be finite off the diagonal. Received: {len(pairs)} pairs (row, column) that "
            f"are not, such as {pairs[:5]}. A pair that was never measured has no affinity: train for longer, measure "
            "more often, or leave out a task. A gain is NaN where a training diverged, or over a metric of 0."
        )
    return matrix


def _values(matrix: np.ndarray, alone: float) -> np.ndarray:
    """The value of each group, a set of tasks as bits, to each task, `[2 ** num_tasks, num_tasks]`."""
    number = len(matrix)
    members = np.arange(2**number)[:, np.newaxis] >> np.arange(number) & 1
    others = members.sum(axis=1, keepdims=True) - 1
    return np.where(others > 0, members @ matrix / np.maximum(others, 1), alone)


def _best_groups(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each set of tasks to be served by one model, the best sum of values to them, and the group that has it."""
    number = values.shape[1]
    worth, group_of = np.full(2**number, -np.inf), np.zeros(2**number, int)
    for group in sorted(range(1, 2**number), key=int.bit_count):  # of equals the smallest stays
        sets, sums = np.zeros(1, int), np.zeros(1)
        for task in range(number):
            if group >> task & 1:
                sets = np.concatenate([sets, sets | 1 << task])
                sums = np.concatenate([sums, sums + values[group, task]])
        better = sums > worth[sets] + 1e-12 * np.abs(sums)
        worth[sets[better]], group_of[sets[better]] = sums[better], group
    return worth, group_of


def _best_partition(worth: np.ndarray, num_models: int) -> list[int]:
    """The tasks in at most so many sets, each served by one model, of the largest sum."""
    everyone = len(worth) - 1
    best, chosen = worth.copy(), [np.arange(len(worth))]  # by one model, `chosen` being the set of the first task
    best[0] = 0.0
    for _ in range(num_models - 1):
        improved, choice = best.copy(), chosen[-1].copy()
        for members in range(1, len(worth)):
            first = members & -members
            rest = members ^ first
            subsets = _subsets(rest) | first
            sums = worth[subsets] + best[members ^ subsets]
            top = int(np.argmax(sums))
            if sums[top] > improved[members] + 1e-12 * abs(sums[top]):
                improved[members], choice[members] = sums[top], subsets[top]
        best = improved
        chosen.append(choice)
    found, left = [], everyone
    for choice in reversed(chosen):
        if left:
            found.append(int(choice[left]))
            left ^= found[-1]
    return found


def _subsets(members: int) -> np.ndarray:
    """All subsets of a set of tasks, as bits."""
    found = np.zeros(1, int)
    while members:
        lowest = members & -members
        found = np.concatenate([found, found | lowest])
        members ^= lowest
    return found
