"""What the head of a task that predicts something for each pixel decodes."""

from __future__ import annotations

from typing import Any

from keras_mtl.tasks._base import Task

DECODERS = ("last", "pyramid")


def check_levels(task: Task, features: Any) -> None:
    """Raises a `ValueError` if a task that decodes a pyramid is given one map only."""
    if task.reads_levels and not (isinstance(features, (list, tuple)) and len(features) > 1):
        (one,) = features if isinstance(features, (list, tuple)) else [features]
        raise ValueError(
            f"The task {task.name!r} with decoder='pyramid' reads the maps of several levels. Received: one map of "
            f"shape {tuple(one.shape)}. Give the backbone an `input_shape`, by which its levels are told apart, or "
            "name its layers as `features`, and use an architecture that hands on all levels, as 'hard' does; or give "
            "decoder='last'."
        )
