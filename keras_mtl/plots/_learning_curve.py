"""How a task's metric went during training."""

from __future__ import annotations

from typing import Any

from keras_mtl._optional import require
from keras_mtl._registry import unknown_name
from keras_mtl.evaluation import Report


def learning_curve(report: Report, task: str, ax: Any = None) -> Any:
    """Draws one task's primary metric on the validation data by epoch: each model a line, the single-task one dashed.

    Args:
        report: what `evaluation.compare` returned.
        task: the name of one of its tasks.
        ax: the Matplotlib `Axes` to draw on. Defaults to those of a new figure.

    Returns:
        The `Axes`.

    Raises:
        ValueError: if the report has no such task.
        ImportError: if Matplotlib is not installed.
    """
    pyplot = require("matplotlib.pyplot", extra="plots", needed_by="keras_mtl.plots")
    tasks = {kind.name: kind for kind in report.tasks}
    if task not in tasks:
        raise unknown_name("task of the report", task, tasks)
    if ax is None:
        ax = pyplot.subplots()[1]
    key = f"val_{task}_{tasks[task].primary_metric}"
    lines = [(report.single_task[task], {"color": "black", "linestyle": "--", "label": "single-task"})]
    lines += [(result, {"label": result.name}) for result in report.multi_task]
    for result, style in lines:
        curve = result.history[key]
        ax.plot(range(1, len(curve) + 1), curve, **style)
    better = "higher is better" if tasks[task].higher_is_better else "lower is better"
    ax.set(title=task, xlabel="epoch", ylabel=f"validation {tasks[task].primary_metric} ({better})")
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.grid(alpha=0.3)
    return ax
