"""A long training: whether memory grows, the step is traced again, or slows down.

    python benchmarks/soak.py --json soak.json

A small network on a mixture of three data sets, each with the labels of one task and gaps in them, balanced by
`upgrad`. Memory is that of the process (Linux), from the end of a tenth of the steps to the end of all; the time of a
step is the median of each tenth, and the slowdown that of the last three tenths beside the second to fourth.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console

import keras_mtl as mtl

TASKS = ("a", "b", "c")
LIMITS = {"megabytes": 50.0, "traces": 1, "slowdown": 1.05}


def memory() -> float:
    """Megabytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def mixture(batch_size: int) -> tf.data.Dataset:
    """An endless stream of examples of three data sets, a fifth of whose labels is missing."""
    rng = np.random.default_rng(0)
    datasets = {}
    for index, task in enumerate(TASKS):
        x = rng.normal(size=(400 * (index + 1), 16)).astype("float32")
        y = np.where(rng.uniform(size=len(x)) < 0.2, np.nan, x[:, index] * x[:, index + 1]).astype("float32")
        datasets[task] = tf.data.Dataset.from_tensor_slices((x, {task: y}))
    tasks = [mtl.tasks.Regression(task) for task in TASKS]
    return mtl.data.mix(datasets, tasks, batch_size=batch_size, at_end="forever", shuffle=400, seed=0)


class Watch(keras.callbacks.Callback):
    """Notes memory at the end of each tenth, and the time of its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.megabytes: list[float] = []
        self.milliseconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Begins a tenth."""
        self._times = [time.perf_counter()]

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Notes the time."""
        self._times.append(time.perf_counter())

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Ends a tenth."""
        self.milliseconds.append(1000 * float(np.median(np.diff(self._times))))
        self.megabytes.append(memory())


def soak(steps: int) -> dict[str, Any]:
    """Trains for that many steps, in ten epochs, and gives what was seen."""
    keras.utils.set_random_seed(0)
    traces = []

    class Counted(mtl.MultiTaskModel):
        """Counts how often its step is traced."""

        def train_step(self, data: Any) -> dict[str, Any]:
            """One update."""
            traces.append(1)
            return super().train_step(data)

    built = mtl.build_model(mtl.backbones.MLP(16, units=(64, 32)), [mtl.tasks.Regression(task) for task in TASKS])
    model = Counted(built.input, built.output, built.tasks)
    model.compile(keras.optimizers.Adam(1e-3), balancer="upgrad")
    watch = Watch()
    model.fit(mixture(32), steps_per_epoch=steps // 10, epochs=10, verbose=0, callbacks=[watch])
    early, late = watch.milliseconds[1:4], watch.milliseconds[-3:]
    return {
        "steps": steps,
        "megabytes": watch.megabytes[-1] - watch.megabytes[0],
        "traces": len(traces),
        "slowdown": statistics.median(late) / statistics.median(early),
        "milliseconds": watch.milliseconds,
        "memory": watch.megabytes,
        "finite": all(bool(np.isfinite(weight).all()) for weight in model.get_weights()),
    }


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=20_000, help="a multiple of 10")
    parser.add_argument("--json", type=Path, help="the file to write")
    arguments = parser.parse_args()
    if arguments.steps < 10 or arguments.steps % 10:
        parser.error("--steps should be a multiple of 10, at least 10")
    found = soak(arguments.steps)
    console = Console()
    for name, limit in LIMITS.items():
        console.print(f"{name}: {found[name]:.3g}, limit {limit:g}: {'kept' if found[name] <= limit else 'MISSED'}")
    console.print("milliseconds a step, by tenth:", [round(each, 2) for each in found["milliseconds"]])
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
