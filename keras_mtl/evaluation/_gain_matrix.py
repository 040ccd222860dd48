"""What each task gains by each other one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from keras_mtl.tasks import Task


@dataclass(frozen=True)
class GainMatrix:
    """What `affinity` and `transfer_matrix` found.

    Args:
        title: what a row does to a column, in words.
        tasks: the tasks, in the order of rows and columns.
        metrics: by part of the data (`"validation"`, `"test"`), the primary metric of the column's task with the help
            of the row's, `[num_tasks, num_tasks]`. The diagonal is that of the task alone.
    """

    title: str
    tasks: Sequence[Task]
    metrics: Mapping[str, np.ndarray]

    @property
    def gains(self) -> dict[str, np.ndarray]:
        """By part of the data, the improvement over the task alone, relative, in percent, `[num_tasks, num_tasks]`.

        More than 0 is better, whatever the metric; the diagonal is 0. It is NaN where it is undefined: where a metric
        is not finite, or that of the task alone is 0.
        """
        signs = np.array([1.0 if task.higher_is_better else -1.0 for task in self.tasks])
        found = {}
        for part, metrics in self.metrics.items():
            alone = np.diag(metrics)
            with np.errstate(divide="ignore", invalid="ignore"):
                gains = 100 * signs * (metrics - alone) / np.abs(alone)
            found[part] = np.where(np.isfinite(gains), gains, np.nan)
        return found

    def to_markdown(self, part: str | None = None) -> str:
        """The gains as a Markdown table, a row a source and a column a target.

        Args:
            part: of the data. Defaults to the last: the test data, if there are any.
        """
        part = list(self.metrics)[-1] if part is None else part
        header = [f"{self.title}, % on {part}", *(f"{task.name} ({task.primary_metric})" for task in self.tasks)]
        lines = [header, ["---", *["---:"] * len(self.tasks)]]
        for index, (task, row) in enumerate(zip(self.tasks, self.gains[part], strict=True)):
            cells = ["" if index == column else f"{gain:+.1f}" for column, gain in enumerate(row)]
            lines.append([task.name, *cells])
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)

    def __str__(self) -> str:
        return self.to_markdown()
