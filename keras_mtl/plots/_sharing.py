"""Pictures of what a sharing architecture has learnt: what `sharing.describe` returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_mtl._optional import require


def expert_use(gates: Mapping[str, Any], ax: Any = None) -> Any:
    """Draws how much each task's gate takes of each expert, as a table of shaded numbers.

    Args:
        gates: by task, the weight of each expert, `[num_experts]`: one level of `describe(model, x)["gates"]`. Tasks
            may have different numbers of experts.
        ax: the Matplotlib `Axes` to draw on. Defaults to those of a new figure.

    Returns:
        The `Axes`.

    Raises:
        ValueError: if there is no gate.
        ImportError: if Matplotlib is not installed.

    Example:

    >>> from keras_mtl import plots
    >>> ax = plots.expert_use({"income": [0.2, 0.8], "never_married": [0.6, 0.4]})
    """
    if not gates:
        raise ValueError("Parameter `gates` should have the weights of a task at least. Received: no gate")
    most = max(len(weights) for weights in gates.values())
    matrix = np.full((len(gates), most), np.nan)
    for row, weights in zip(matrix, gates.values(), strict=True):
        row[: len(weights)] = weights
    ax = _shaded(matrix, list(gates), [str(index) for index in range(most)], ax, vmin=0.0)
    ax.set(title="mean weight of each expert", xlabel="expert, a task's own ones first", ylabel="gate of task")
    return ax


def stitches(matrix: Any, tasks: Sequence[str], ax: Any = None) -> Any:
    """Draws how much of each task's features goes into those of each task, as a table of shaded numbers.

    Args:
        matrix: `[num_tasks, num_tasks]`, the reader in the rows, or `[channels, num_tasks, num_tasks]`, of which the
            mean over the channels is drawn: one level of `describe(model)["stitches"]`.
        tasks: the names of the tasks.
        ax: the Matplotlib `Axes` to draw on. Defaults to those of a new figure.

    Returns:
        The `Axes`.

    Raises:
        ValueError: if the matrix is not of that shape.
        ImportError: if Matplotlib is not installed.

    Example:

    >>> from keras_mtl import plots
    >>> ax = plots.stitches([[0.9, 0.1], [0.2, 0.8]], ["a", "b"])
    """
    matrix = np.asarray(matrix)
    if matrix.shape[-2:] != (len(tasks), len(tasks)) or matrix.ndim > 3:
        raise ValueError(
            f"Parameter `matrix` should have shape ({len(tasks)}, {len(tasks)}), or (channels, {len(tasks)}, "
            f"{len(tasks)}), for {len(tasks)} tasks. Received: shape {matrix.shape}"
        )
    matrix = matrix.mean(axis=0) if matrix.ndim == 3 else matrix
    ax = _shaded(matrix, list(tasks), list(tasks), ax)
    ax.set(title="what goes from task to task", xlabel="features of", ylabel="read by")
    return ax


def branching(parents: Mapping[Any, Any], tasks: Sequence[str], ax: Any = None) -> Any:
    """Draws the tree of branches: each node's choice of a parent, the more probable the stronger the line.

    Args:
        parents: by level, from the input on, the probability with which each node chooses each node of the level
            before, `[num_nodes, num_parents]`: `describe(model)["parents"]`. The nodes of the last are the tasks.
        tasks: the names of the tasks.
        ax: the Matplotlib `Axes` to draw on. Defaults to those of a new figure.

    Returns:
        The `Axes`.

    Raises:
        ValueError: if there is no level, or the last does not have a node for each task.
        ImportError: if Matplotlib is not installed.

    Example:

    >>> from keras_mtl import plots
    >>> ax = plots.branching({"conv": [[0.9, 0.1], [0.3, 0.7]]}, ["a", "b"])
    """
    levels = [np.asarray(matrix) for matrix in parents.values()]
    if not levels or levels[-1].shape[0] != len(tasks):
        raise ValueError(
            f"Parameter `parents` should end in a level of {len(tasks)} nodes, one for each task. Received: shapes "
            f"{[matrix.shape for matrix in levels]}"
        )
    ax = _axes(ax)
    sizes = [levels[0].shape[1], *(matrix.shape[0] for matrix in levels)]
    places = [(np.arange(size) + 0.5) / size for size in sizes]
    for depth, matrix in enumerate(levels):
        for node, chances in enumerate(matrix):
            for parent, chance in enumerate(chances):
                ends = [places[depth][parent], places[depth + 1][node]]
                is_chosen = parent == int(np.argmax(chances))
                color = "C0" if is_chosen else "0.6"
                ax.plot(ends, [-depth, -depth - 1], color=color, linewidth=0.3 + 3 * chance, zorder=1 + is_chosen)
    for depth, place in enumerate(places):
        ax.scatter(place, np.full(len(place), -depth), s=60, color="black", zorder=3)
    for name, place in zip(tasks, places[-1], strict=True):
        ax.annotate(name, (place, -len(levels) - 0.12), ha="center", va="top")
    ax.set(title="branches", xlim=(0, 1), ylim=(-len(levels) - 0.5, 0.3))
    ax.set_axis_off()
    return ax


def _axes(ax: Any) -> Any:
    pyplot = require("matplotlib.pyplot", extra="plots", needed_by="keras_mtl.plots")
    return pyplot.subplots()[1] if ax is None else ax


def _shaded(matrix: np.ndarray, rows: Sequence[str], columns: Sequence[str], ax: Any, vmin: float | None = None) -> Any:
    """A table of numbers, the larger the darker."""
    ax = _axes(ax)
    image = ax.imshow(matrix, cmap="Blues", vmin=vmin, aspect="auto")
    for (row, column), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            dark = image.norm(value) > 0.6
            ax.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if dark else "black")
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows)
    return ax
