"""What a balancer costs: the time of a training step beside plain Keras `fit` on the same graph.

    python benchmarks/step_cost.py --json step_cost.json

Two networks, a convolutional one on batches of 64 images and a multi-layer perceptron on batches of 256 rows, each with
2, 3 and 10 tasks. Plain Keras and every balancer train the same graph with the same losses and metrics, in turns within
one run, and what counts is the ratio to plain Keras in the same turn: the median over the turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import track
from rich.table import Table

import keras_mtl as mtl

LOSS_BALANCERS = ("equal", "fixed", "uncertainty")
GRADIENT_BALANCERS = ("pcgrad", "sum", "mean")
LOSS_LIMIT = 1.05


def gradient_limit(num_tasks: int) -> float:
    """Of one backward pass a task, where a forward pass is a third of a step."""
    return 1.05 * (1 + 2 * num_tasks) / 3


def make_tasks(num_tasks: int) -> list[mtl.tasks.Task]:
    """Classification and regression in turn."""
    return [
        mtl.tasks.Classification(f"task_{index}", 10) if index % 2 == 0 else mtl.tasks.Regression(f"task_{index}")
        for index in range(num_tasks)
    ]


def make_backbone(network: str) -> keras.Model:
    """The shared part of a network."""
    if network == "mlp":
        return mtl.backbones.MLP(256, units=(1024, 512, 128)).build()
    return mtl.backbones.Convolutional((32, 32, 3), filters=(32, 32, 64, 64)).build()


def make_data(network: str, num_tasks: int, steps: int) -> tf.data.Dataset:
    """One random batch, over and over: reading costs nothing."""
    rng = np.random.default_rng(0)
    size, shape = (256, (256,)) if network == "mlp" else (64, (32, 32, 3))
    x = rng.uniform(0, 1 if network == "mlp" else 255, (size, *shape)).astype("float32")
    y = {
        task.name: rng.integers(0, 10, size) if isinstance(task, mtl.tasks.Classification) else rng.normal(size=size)
        for task in make_tasks(num_tasks)
    }
    return tf.data.Dataset.from_tensors((x, y)).repeat(steps).prefetch(4)


def make_model(network: str, num_tasks: int, balancer: str | None) -> keras.Model:
    """The multi-task model with a balancer, or, with None, the same graph as a plain Keras model."""
    keras.utils.set_random_seed(0)
    tasks = make_tasks(num_tasks)
    model = mtl.build_model(make_backbone(network), tasks)
    if balancer is None:
        model = keras.Model(model.input, model.output)
        model.compile(
            "adam",
            loss={task.name: task.loss for task in tasks},
            metrics={task.name: task.metrics for task in tasks},
        )
    else:
        model.compile("adam", balancer=balancer)
    return model


class Clock(keras.callbacks.Callback):
    """The time from the end of an epoch's first step to the end of the epoch."""

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Starts at the first step's end: what `fit` does once is left out."""
        if batch == 0:
            self.begin = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Stops."""
        self.seconds = time.perf_counter() - self.begin


def measure(network: str, num_tasks: int, balancers: list[str], steps: int, turns: int) -> list[dict[str, object]]:
    """A row for each balancer."""
    data = make_data(network, num_tasks, steps)
    models = {name: make_model(network, num_tasks, name) for name in balancers}
    models = {"plain": make_model(network, num_tasks, None), **models}
    for model in models.values():
        model.fit(data, verbose=0, shuffle=False)
    times: dict[str, list[float]] = {name: [] for name in models}
    for turn in track(range(turns), description=f"{network}, {num_tasks} tasks"):
        names = list(models)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            clock = Clock()
            models[name].fit(data, verbose=0, shuffle=False, callbacks=[clock])
            times[name].append(clock.seconds / (steps - 1))
    rows = []
    for name in models:
        ratios = [mine / plain for mine, plain in zip(times[name], times["plain"], strict=True)]
        limit = LOSS_LIMIT if name in LOSS_BALANCERS else gradient_limit(num_tasks)
        rows.append(
            {
                "network": network,
                "num_tasks": num_tasks,
                "balancer": name,
                "milliseconds": 1000 * statistics.median(times[name]),
                "ratio": statistics.median(ratios),
                "quartiles": statistics.quantiles(ratios, n=4)[::2],
                "limit": None if name == "plain" else limit,
            }
        )
    return rows


def show(rows: list[dict[str, object]]) -> Table:
    """The rows as a table."""
    table = Table(title="A step beside plain Keras fit (median of the turns)")
    for title in ("network", "tasks", "balancer", "ms a step", "ratio", "quartiles", "limit", "kept"):
        table.add_column(title, justify="left" if title in ("network", "balancer") else "right")
    for row in rows:
        limit = row["limit"]
        table.add_row(
            str(row["network"]),
            str(row["num_tasks"]),
            str(row["balancer"]),
            f"{row['milliseconds']:.1f}",
            f"{row['ratio']:.2f}",
            " to ".join(f"{quartile:.2f}" for quartile in row["quartiles"]),
            "" if limit is None else f"{limit:.2f}",
            "" if limit is None else ("yes" if row["ratio"] <= limit else "NO"),
        )
    return table


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", default=["conv", "mlp"], choices=["conv", "mlp"])
    parser.add_argument("--tasks", nargs="+", type=int, default=[2, 3, 10])
    parser.add_argument("--balancers", nargs="+", default=[*LOSS_BALANCERS, *GRADIENT_BALANCERS])
    parser.add_argument("--steps", type=int, default=20, help="steps in a turn")
    parser.add_argument("--turns", type=int, default=13)
    parser.add_argument("--json", type=Path, help="the file to write")
    arguments = parser.parse_args()
    if min(arguments.steps, arguments.turns) < 2:
        parser.error("--steps and --turns should be at least 2: the first step is not timed, quartiles need two turns")
    rows = []
    for network in arguments.networks:
        for num_tasks in arguments.tasks:
            rows += measure(network, num_tasks, arguments.balancers, arguments.steps, arguments.turns)
            keras.backend.clear_session()
    Console(width=120).print(show(rows))
    if arguments.json:
        versions = {"keras": keras.__version__, "tensorflow": tf.__version__, "keras_mtl": mtl.__version__}
        result = {"versions": versions, "cores": os.cpu_count(), "rows": rows}
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
