"""The improvement over a baseline, as what a search maximizes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras_tuner

from keras_mtl._checks import check_same_names
from keras_mtl.evaluation import delta_m
from keras_mtl.tasks import get_all


class DeltaM(keras_tuner.Objective):
    """What a search should maximize: the improvement over a baseline, averaged over the tasks, in percent.

    Each task is judged by its primary metric, relative to the baseline: see `evaluation.delta_m`, which computes it
    and names its source. Give it to any tuner as `objective`. Neither of keras-tuner's own objectives will do for
    several tasks: the total loss depends on the very task weights that are searched, and falls where the weights are
    small; a list of metrics is summed up as it is, accuracies of at most 1 and errors of any unit.

    An epoch in which a metric is not finite counts for nothing, and a trial that has no other epoch fails.

    Args:
        tasks: the tasks that count: instances, or configs. The model may have others besides.
        baselines: the primary metric of each of these tasks, by name, finite and not zero: usually that of a
            single-task model on the same validation data.
        prefix: what the keys of the logs begin with, `"val_"`, or `""` for the metrics of training. Defaults to
            `"val_"`. The objective's own name is `f"{prefix}delta_m"`.

    Raises:
        ValueError: if the names of `baselines` are not those of the tasks, or a baseline is zero or not finite. From
            `get_value`: if the logs lack a metric, which ends the search.

    Example:

    >>> from keras_mtl import tasks, tuning
    >>> objective = tuning.DeltaM([tasks.Regression("age")], baselines={"age": 5.0})
    >>> objective.name, objective.direction, objective.get_value({"val_age_mae": 4.0})
    ('val_delta_m', 'max', 20.0)
    """

    def __init__(self, tasks: Sequence[Any], baselines: Mapping[str, float], prefix: str = "val_") -> None:
        super().__init__(name=f"{prefix}delta_m", direction="max")
        found = get_all(tasks)
        if not isinstance(baselines, Mapping):
            raise ValueError(
                "Parameter `baselines` should be a dict with the primary metric of a single-task model for each task. "
                f"Received: baselines={baselines!r}"
            )
        names = [task.name for task in found]
        check_same_names(baselines, names, what="tasks of `baselines`", mend="Give one baseline for each task.")
        self.baselines = dict(baselines)
        self._higher_is_better = {task.name: task.higher_is_better for task in found}
        self._keys = {task.name: f"{prefix}{task.name}_{task.primary_metric}" for task in found}
        delta_m(self.baselines, self.baselines, self._higher_is_better)

    def has_value(self, logs: Mapping[str, float]) -> bool:
        """Whether the logs have the metric of every task."""
        return all(key in logs for key in self._keys.values())

    def get_value(self, logs: Mapping[str, float]) -> float:
        """The improvement in percent, or NaN if a metric is not finite."""
        if not self.has_value(logs):
            # A fatal error, because a tuner goes on after any other, to train the next trial in vain.
            raise keras_tuner.errors.FatalValueError(
                f"The objective {self} needs these metrics in the logs. Received: {sorted(logs)}. Give `search` the "
                "tasks' labels, and validation data for metrics that begin with `val_`."
            )
        metrics = {task: float(logs[key]) for task, key in self._keys.items()}
        if not all(map(math.isfinite, metrics.values())):
            return math.nan
        return delta_m(metrics, self.baselines, self._higher_is_better)

    def better_than(self, a: float, b: float) -> bool:
        """Whether `a` is better than `b`: the larger, and any number rather than NaN."""
        return a > b or (math.isnan(b) and not math.isnan(a))

    def __str__(self) -> str:
        return f"DeltaM({', '.join(self._keys.values())})"
