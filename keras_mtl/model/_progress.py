"""How far a training has come, in the files of the model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

_KEY, _METRIC = "progress", "progress_metric_"
# In the order of the files: what is added comes last, and older ones have the first of them alone.
_PLACE = ("epochs", "batches", "seed", "start", "passes", "others", "ordered")
_NUMBERS = (*_PLACE, "at_once", "taken", "size", "kind", "rows", "batch_size")
_OF_FIT = ("deaf", "backups", "untrained", "steps")
_MAY_BE_NONE = ("seed", "at_once", "taken", "size", "kind", "rows", "batch_size")


@dataclass
class Progress:
    """How far a training has come.

    Args:
        epochs: the epochs that are complete.
        batches: the batches of the next one that are trained.
        seed: of the order of arrays, or None.
        start: the epoch with which the data began to be read.
        passes: how many passes through the data the process had taken before that.
        others: how many other readings of the data it had begun before that.
        ordered: whether the order of the examples since then can be found again.
        at_once: how many steps were taken at once, or None where that is not known.
        taken: how many batches an epoch takes from one stream for all, 0 if each reads them anew, None if not known.
        size: how many batches an epoch has, from one stream or in a pass, None if not known.
        kind: of the data and their order, a number of `_order.py`, None if not known.
        rows: how many examples the data have, None if not known.
        batch_size: how many of them a batch has, None if not known.
        metrics: in a file that was written within an epoch, the values that the variables of its metrics had, by name.
        loaded: whether this is from a file, and no training has gone on from it yet.
        catching_up: whether batches that were trained before are gone through again, and nothing is to be saved.
        deaf: whether files that are loaded have no say in it.
        backups: the folders whose files have a say though `fit` is at work, until its first epoch.
        untrained: what it is to be again where `fit` ends and has trained nothing, None once an epoch or a batch of it
            has ended.
        steps: what the optimizer had counted before the first epoch of `fit`, where it takes several steps at once.
    """

    epochs: int = 0
    batches: int = 0
    seed: int | None = None
    start: int = 0
    passes: int = 0
    others: int = 0
    ordered: bool = True
    at_once: int | None = None
    taken: int | None = None
    size: int | None = None
    kind: int | None = None
    rows: int | None = None
    batch_size: int | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    loaded: bool = False
    catching_up: bool = False
    deaf: bool = False
    backups: frozenset[Path] = frozenset()
    untrained: dict[str, Any] | None = None
    steps: list[Any] | None = None

    def reset(self) -> None:
        """Sets it to the beginning of a training."""
        vars(self).update(_without_fit(vars(Progress())))

    def keep(self) -> None:
        """Keeps what it is, before `fit` changes it, or when that has loaded a backup."""
        self.untrained = _without_fit(vars(self))

    def begin_fit(self, backups: Iterable[Path]) -> None:
        """Is told that `fit` begins, with callbacks that may load a backup of these folders."""
        self.loaded, self.deaf, self.backups = False, True, frozenset(backups)

    def begin_epochs(self, steps: list[Any] | None) -> None:
        """Is told that the first epoch is about to begin: from here on, no file has a say."""
        self.backups, self.steps = frozenset(), steps

    def end_fit(self, steps: list[Any] | None) -> None:
        """Is told that `fit` has ended, in whatever way: of several steps at once, some may have been taken."""
        self.loaded = self.catching_up = False
        if self.untrained is not None and self.steps in (None, steps):
            vars(self).update(self.untrained)
        self.deaf, self.backups, self.untrained, self.steps = False, frozenset(), None, None

    @contextlib.contextmanager
    def reading(self, path: Any) -> Iterator[None]:
        """While a file is loaded: it has a say if it is of a backup that `fit` may go on from."""
        deaf = self.deaf
        self.deaf = deaf and Path(str(path)).parent not in self.backups
        try:
            yield
        finally:
            self.deaf = deaf


def _without_fit(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is of one `fit`."""
    return {name: value for name, value in values.items() if name not in _OF_FIT}


def save_progress(progress: Progress, metrics: Mapping[str, keras.Variable], store: Any) -> None:
    """Writes it beside what Keras has written, once there is any."""
    if progress.epochs or progress.batches:
        store[_KEY] = np.asarray(
            [-1 if getattr(progress, name) is None else getattr(progress, name) for name in _NUMBERS], "int64"
        )
    if progress.batches:
        for name, variable in metrics.items():
            store[f"{_METRIC}{name}"] = keras.ops.convert_to_numpy(variable)


def load_progress(progress: Progress, values: Mapping[str, Any]) -> dict[str, Any]:
    """Sets it to what is in a file, or to the beginning if there is none in it, and returns the rest."""
    if not progress.deaf:
        progress.reset()
        if _KEY in values:
            for name, number in zip(_NUMBERS, np.asarray(values[_KEY]), strict=False):
                setattr(progress, name, None if number == -1 and name in _MAY_BE_NONE else int(number))
            found = {key: np.asarray(value) for key, value in values.items() if key.startswith(_METRIC)}
            progress.metrics = {key.removeprefix(_METRIC): value for key, value in found.items()}
            progress.loaded = True
        if progress.untrained is not None:
            progress.keep()
    return {key: value for key, value in values.items() if key != _KEY and not key.startswith(_METRIC)}


def restore_metrics(progress: Progress, metrics: Mapping[str, keras.Variable]) -> bool:
    """Sets the metrics to what they were within an epoch, as far as they are the same; whether all are."""
    same = [
        name
        for name, variable in metrics.items()
        if name in progress.metrics and tuple(variable.shape) == progress.metrics[name].shape
    ]
    for name in same:
        metrics[name].assign(progress.metrics[name])
    return len(same) == len(metrics)


def counted_steps(model: Any) -> list[Any] | None:
    """What the optimizer counts, where some of several steps at once may be taken, and others fail.

    Each step changes it, one that only gathers gradients, too, and so may one that fails: where steps are taken one by
    one, it does not say whether one was.
    """
    if model.optimizer is None or model.steps_per_execution == 1:
        return None
    variables = model.optimizer.variables
    return [keras.ops.convert_to_numpy(variable).tolist() for variable in variables if "int" in variable.dtype]


def metric_variables(
    metrics: Sequence[keras.metrics.Metric], of_tasks: Sequence[tuple[str, keras.metrics.Metric, bool]]
) -> dict[str, keras.Variable]:
    """The variables of metrics, by names that are the same in each process.

    Args:
        metrics: all metrics of a model.
        of_tasks: those that are a task's, as in `MultiTaskModel.task_metrics`.
    """
    owner = {id(metric): f"{task}.{'weighted.' * weighted}" for task, metric, weighted in of_tasks}
    found: dict[str, keras.Variable] = {}
    for metric in metrics:
        for index, variable in enumerate(metric.variables):
            name = f"{owner.get(id(metric), '')}{metric.name}.{type(metric).__name__}.{index}".replace("/", ".")
            while name in found and found[name] is not variable:
                name += "+"  # a task may have two of one name
            found[name] = variable
    return found
