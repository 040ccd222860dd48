"""The names under which a model's metrics stand in the logs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras


def logs_of(
    metrics: Sequence[keras.metrics.Metric], of_tasks: Sequence[tuple[str, keras.metrics.Metric, bool]]
) -> dict[str, Any]:
    """The results of metrics by name: those of tasks bear the names of these.

    Args:
        metrics: all metrics of a model.
        of_tasks: those that are a task's, as in `MultiTaskModel.task_metrics`.
    """
    task_of = {id(metric): task for task, metric, _ in of_tasks}
    logs = {}
    for metric in metrics:
        result, task = metric.result(), task_of.get(id(metric))
        found = result if isinstance(result, dict) else {metric.name: result}
        logs.update({name if task is None else f"{task}_{name}": value for name, value in found.items()})
    return logs
