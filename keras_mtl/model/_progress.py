"""How far a training has come, in the files of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

_KEY = "progress"


@dataclass
class Progress:
    """How far a training has come.

    Args:
        epochs: the epochs that are complete.
        batches: the batches of the next one that are trained.
        seed: of the order of arrays, or None.
        metrics: in a file that was written within an epoch, the values that its metrics had.
        loaded: whether this is from a file, and no training has gone on from it yet.
        catching_up: whether batches that were trained before are gone through again, and nothing is to be saved.
    """

    epochs: int = 0
    batches: int = 0
    seed: int | None = None
    metrics: list[Any] = field(default_factory=list)
    loaded: bool = False
    catching_up: bool = False


def save_progress(progress: Progress, metrics: Sequence[keras.metrics.Metric], store: Any) -> None:
    """Writes it beside what Keras has written, once there is any."""
    if progress.epochs or progress.batches:
        seed = -1 if progress.seed is None else progress.seed
        store[_KEY] = np.asarray([progress.epochs, progress.batches, seed], "int64")
    if progress.batches:
        for index, variable in enumerate(metric_variables(metrics)):
            store[f"{_KEY}_metric_{index}"] = keras.ops.convert_to_numpy(variable)


def load_progress(progress: Progress, values: Mapping[str, Any]) -> dict[str, Any]:
    """Sets it to what is in a file, or to the beginning if there is none in it, and returns the rest."""
    progress.epochs, progress.batches, progress.seed, progress.metrics, progress.loaded = 0, 0, None, [], False
    found = {key: np.asarray(value) for key, value in values.items() if key.split("_metric_")[0] == _KEY}
    if _KEY in found:
        epochs, batches, seed = (int(number) for number in found.pop(_KEY))
        progress.epochs, progress.batches, progress.seed = epochs, batches, None if seed < 0 else seed
        progress.metrics = [found[f"{_KEY}_metric_{index}"] for index in range(len(found))]
        progress.loaded = True
    return {key: value for key, value in values.items() if key.split("_metric_")[0] != _KEY}


def metric_variables(metrics: Sequence[keras.metrics.Metric]) -> list[keras.Variable]:
    """The variables of metrics, each once."""
    found = {id(variable): variable for metric in metrics for variable in metric.variables}
    return list(found.values())
