"""The mean relative improvement over a baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping

from keras_mtl._checks import check_same_names


def delta_m(
    metrics: Mapping[str, float], baselines: Mapping[str, float], higher_is_better: Mapping[str, bool]
) -> float:
    """The improvement over a baseline, relative, averaged over the tasks: one number for several metrics.

    Each task contributes `(metric - baseline) / |baseline|`, with the sign turned where less is better. More than 0
    means that the tasks gained on average by being learnt together.

    Source: K.-K. Maninis, I. Radosavovic, I. Kokkinos, "Attentive Single-Tasking of Multiple Tasks", CVPR 2019,
    equation 4. The paper divides by the baseline; here by its size, which differs only for negative metrics.

    Args:
        metrics: a number for each task, by name.
        baselines: the same of what is compared with, usually a single-task model for each task. None may be zero.
        higher_is_better: whether more is better, by task.

    Returns:
        Percent.

    Raises:
        ValueError: if the names differ, there is none, a number is not finite, or a baseline is zero.

    Example:

    >>> from keras_mtl import evaluation
    >>> better = {"breed": True, "age": False}
    >>> round(evaluation.delta_m({"breed": 0.88, "age": 4.0}, {"breed": 0.80, "age": 5.0}, better), 6)
    15.0
    """
    if not baselines:
        raise ValueError("Parameter `baselines` should have at least one task. Received: baselines={}")
    for names, what in ((metrics, "tasks of `metrics`"), (higher_is_better, "tasks of `higher_is_better`")):
        check_same_names(names, baselines, what=what, mend="Give the tasks of `baselines`.")
    gains = []
    for task, baseline in baselines.items():
        if not math.isfinite(metrics[task]) or not math.isfinite(baseline) or baseline == 0:
            raise ValueError(
                f"The metric of task {task!r} should be finite, and its baseline finite and not zero. Received: "
                f"metric={metrics[task]}, baseline={baseline}"
            )
        gain = (metrics[task] - baseline) / abs(baseline)
        gains.append(gain if higher_is_better[task] else -gain)
    return 100 * sum(gains) / len(gains)
