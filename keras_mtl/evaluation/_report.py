"""Multi-task models beside their single-task counterparts: numbers, a table and a judgement."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
from rich import box
from rich.table import Table

from keras_mtl.evaluation._delta_m import delta_m
from keras_mtl.tasks import Task

SINGLE_TASK = "single-task"
_SELECTED = "† selected on the validation data"


@dataclass(frozen=True)
class Result:
    """One trained model.

    Args:
        name: what it is called in the report.
        validation: the primary metric on the validation data, by task.
        test: the primary metric on the test data, by task.
        num_parameters: how many parameters the model has, those of its balancer left out.
        seconds: how long `fit` took.
        history: what `fit` logged, by epoch.
        model: the trained model.
    """

    name: str
    validation: Mapping[str, float]
    test: Mapping[str, float]
    num_parameters: int
    seconds: float
    history: Mapping[str, Sequence[float]]
    model: keras.Model = field(repr=False)


@dataclass(frozen=True)
class Report:
    """What `compare` found.

    Args:
        tasks: the tasks.
        single_task: the model of each task alone, by task name.
        multi_task: the models of all tasks.
    """

    tasks: Sequence[Task]
    single_task: Mapping[str, Result]
    multi_task: Sequence[Result]

    def delta_m(self, result: Result, split: str) -> float:
        """The Δm of a multi-task model against the single-task models, in percent.

        It is NaN where it is undefined: where a metric is not finite, or a single-task model's is 0.

        Args:
            result: one of `multi_task`.
            split: `"validation"` or `"test"`.
        """
        baselines = {task: getattr(single, split)[task] for task, single in self.single_task.items()}
        metrics = getattr(result, split)
        if not all(baselines.values()) or not all(map(math.isfinite, [*baselines.values(), *metrics.values()])):
            return math.nan
        return delta_m(metrics, baselines, {task.name: task.higher_is_better for task in self.tasks})

    @property
    def best(self) -> Result:
        """The multi-task model of the highest Δm on the validation data. The test data have no say in it."""

        def gain(result: Result) -> float:
            value = self.delta_m(result, "validation")
            return -math.inf if math.isnan(value) else value

        return max(self.multi_task, key=gain)

    @property
    def verdict(self) -> str:
        """In words: which tasks the best model helped and which it hurt, on the test data."""
        best, gain = self.best, self.delta_m(self.best, "test")
        helped: list[str] = []
        hurt: list[str] = []
        for task in self.tasks:
            alone, together = self.single_task[task.name].test[task.name], best.test[task.name]
            better = together > alone if task.higher_is_better else together < alone
            if together != alone:
                (helped if better else hurt).append(task.name)
        judgement = "Sharing helped" if gain > 0 else "Sharing did not help"
        return (
            f"{judgement} on average: on the test data `{best.name}`, selected on the validation data, has a Δm of "
            f"{gain:+.1f} % against the single-task models. Better: {', '.join(helped) or 'none'}; worse: "
            f"{', '.join(hurt) or 'none'}. Each model was trained once, so that small differences may be chance."
        )

    def to_markdown(self) -> str:
        """The table and the judgement as Markdown."""
        header, *rows = self._cells()
        lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines) + f"\n\n{_SELECTED}\n\n{self.verdict}\n"

    def to_table(self) -> Table:
        """The table for a terminal of 80 columns."""
        header, *rows = self._cells()
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, caption=_SELECTED)
        for index, title in enumerate(header):
            table.add_column(title.replace(" ", "\n", 1), justify="right" if index else "left")
        for row in rows:
            table.add_row(*row, style="bold" if row[0].endswith("†") else None)
        return table

    def _cells(self) -> list[list[str]]:
        header = ["model"]
        for task in self.tasks:
            header.append(f"{task.name} {task.primary_metric} {'↑' if task.higher_is_better else '↓'}")
        header += ["Δm% test", "Δm% valid.", "parameters", "seconds"]
        singles = [self.single_task[task.name] for task in self.tasks]
        alone = [f"{single.test[task.name]:.4f}" for task, single in zip(self.tasks, singles, strict=True)]
        rows = [[f"{len(singles)} × {SINGLE_TASK}", *alone, "0.0", "0.0", *_costs(singles)]]
        for result in self.multi_task:
            name = f"{result.name} †" if result is self.best else result.name
            metrics = [f"{result.test[task.name]:.4f}" for task in self.tasks]
            gains = [f"{self.delta_m(result, split):+.1f}" for split in ("test", "validation")]
            rows.append([name, *metrics, *gains, *_costs([result])])
        return [header, *rows]


def _costs(results: Sequence[Result]) -> list[Any]:
    parameters = sum(result.num_parameters for result in results)
    return [f"{parameters:,}", f"{sum(result.seconds for result in results):.1f}"]
