"""What a balancer costs: the time of a training step beside plain Keras `fit` on the same graph.

    python benchmarks/step_cost.py --json step_cost.json

Two networks, a convolutional one on batches of 64 images and a multi-layer perceptron on batches of 256 rows, each with
2, 3, 10 and 40 tasks. Plain Keras and every balancer train the same graph with the same losses and metrics, in turns
within one run, and what counts is the ratio to plain Keras just before and after: the median over the turns. A
balancer is named as `upgrad`, `upgrad:features` (gradients of the features), `upgrad:every10` (weights used for ten
steps).

The time of the solvers alone, on Gramians of random gradients, is measured beside it.
"""

from __future__ import annotations

import argparse
import itertools
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
from rich.progress import track
from rich.table import Table

import keras_mtl as mtl

LOSSES = (
    *("equal", "fixed", "uncertainty", "uncertainty_so", "dwa", "rlw", "gls", "scale_invariant", "imtl_l", "stch"),
    *("famo", "go4align", "gradnorm", "excess_mtl", "db_mtl"),
)
GRADIENTS = (
    *("sum", "mgda", "pcgrad", "gradvac", "cagrad", "imtl_g", "nash_mtl", "aligned_mtl", "fairgrad", "upgrad"),
    *("dual_proj", "config", "moco", "graddrop"),
)
VARIANTS = ("upgrad:features", "mgda:features", "nash_mtl:features", "upgrad:every10", "nash_mtl:every10")
SOLVERS = ("mgda", "pcgrad", "cagrad", "imtl_g", "nash_mtl", "aligned_mtl", "fairgrad", "upgrad", "dual_proj", "config")
SOLVER_LIMITS = {10: 1.0, 40: 5.0}  # milliseconds


def limit(name: str, num_tasks: int) -> float | None:
    """The ratio that a step is to keep to."""
    base, _, option = name.partition(":")
    cls = mtl.balancers.classes()[base]
    if option.startswith("every"):
        return 1.7 if num_tasks == 10 else None
    if option == "features":
        return 1.15 if num_tasks <= 10 else None
    if base == "db_mtl" or issubclass(cls, mtl.balancers.GradientNormBalancer):
        return 1.15
    if issubclass(cls, mtl.balancers.LossBalancer):
        return 1.4 if cls.needs_after_step else 1.05
    # One backward pass a task, where a forward pass is a third of a step.
    return 1.05 * (1 + 2 * num_tasks) / 3


def make_balancer(name: str) -> mtl.balancers.Balancer:
    """The balancer that a name with options stands for."""
    base, _, option = name.partition(":")
    cls = mtl.balancers.classes()[base]
    if option == "features":
        return cls(gradients="features")
    return cls(update_every=int(option.removeprefix("every"))) if option else cls()


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
        model.compile("adam", balancer=make_balancer(balancer))
    return model


class Clock(keras.callbacks.Callback):
    """The seconds of an epoch: of the steps after the first, and of all the rest, which an epoch has once."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Starts."""
        self.begin = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Notes the ends of the first step and of the last."""
        self.last = time.perf_counter()
        if batch == 0:
            self.first = self.last

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Stops."""
        self.seconds = self.last - self.first
        self.once = time.perf_counter() - self.begin - self.seconds


class Runner:
    """A model that is trained for a few steps at a time.

    Args:
        network: its backbone.
        num_tasks: the number of its tasks.
        name: of its balancer, or "plain".
        seconds: about how long it is trained at a time, for slow ones at least 4 steps, for fast ones at most 41.
    """

    def __init__(self, network: str, num_tasks: int, name: str, seconds: float) -> None:
        self.model = make_model(network, num_tasks, None if name == "plain" else name)
        data = make_data(network, num_tasks, 6)
        self.model.fit(data, verbose=0, shuffle=False)
        self.steps = 6
        self.data = data
        a_step = self.step()
        period = 10 if "every" in name else 1
        self.steps = 1 + period * max(4 // period, min(40 // period, round(seconds / a_step / period)), 1)
        self.data = make_data(network, num_tasks, self.steps)
        self.step()
        self.times: list[float] = []

    def step(self) -> float:
        """The time of a step, in seconds."""
        clock = Clock()
        self.model.fit(self.data, verbose=0, shuffle=False, callbacks=[clock])
        return clock.seconds / (self.steps - 1)


def measure(network: str, num_tasks: int, names: list[str], seconds: float, turns: int) -> list[dict[str, Any]]:
    """A row for each balancer."""
    label = f"{network}, {num_tasks} tasks"
    runners = {n: Runner(network, num_tasks, n, seconds) for n in track(["plain", *names], f"{label}: building")}
    plain: dict[str, list[float]] = {name: [] for name in runners}
    for turn in track(range(turns), f"{label}: measuring"):
        order = list(runners)
        before = runners["plain"].step()
        for name in order[turn % len(order) :] + order[: turn % len(order)]:
            runners[name].times.append(runners[name].step())
            after = runners["plain"].step()
            plain[name].append((before + after) / 2)
            before = after
    rows = []
    for name, runner in runners.items():
        ratios = [mine / beside for mine, beside in zip(runner.times, plain[name], strict=True)]
        rows.append(
            {
                "network": network,
                "num_tasks": num_tasks,
                "balancer": name,
                "milliseconds": 1000 * statistics.median(runner.times),
                "ratio": statistics.median(ratios),
                "quartiles": statistics.quantiles(ratios, n=4)[::2],
                "limit": None if name == "plain" else limit(name, num_tasks),
            }
        )
    return rows


def measure_solvers(calls: int) -> list[dict[str, Any]]:
    """The time of the solvers alone, with 10 and with 40 tasks whose gradients have and have not a common direction."""
    rows = []
    for name, num_tasks in itertools.product(SOLVERS, SOLVER_LIMITS):
        rng = np.random.default_rng(0)
        jacobians = [rng.normal(size=(num_tasks, 1000)) + bias for bias in (0.0, 0.3)]
        gramians = [tf.constant(jacobian @ jacobian.T, tf.float32) for jacobian in jacobians]
        balancer, active = mtl.balancers.get(name), tf.ones(num_tasks, tf.bool)
        function = tf.function(balancer.weigh)
        times = []
        for index in range(calls):
            begin = time.perf_counter()
            function(gramians[index % 2], active).numpy()
            times.append(1000 * (time.perf_counter() - begin))
        row = {"solver": name, "num_tasks": num_tasks, "milliseconds": statistics.median(times)}
        rows.append({**row, "limit": SOLVER_LIMITS[num_tasks]})
    return rows


def show(rows: list[dict[str, Any]]) -> Table:
    """The steps as a table."""
    table = Table(title="A step beside plain Keras fit (median of the turns)")
    for title in ("network", "tasks", "balancer", "ms a step", "ratio", "quartiles", "limit", "kept"):
        table.add_column(title, justify="left" if title in ("network", "balancer") else "right")
    for row in rows:
        table.add_row(
            row["network"],
            str(row["num_tasks"]),
            row["balancer"],
            f"{row['milliseconds']:.1f}",
            f"{row['ratio']:.2f}",
            " to ".join(f"{quartile:.2f}" for quartile in row["quartiles"]),
            "" if row["limit"] is None else f"{row['limit']:.2f}",
            "" if row["limit"] is None else ("yes" if row["ratio"] <= row["limit"] else "NO"),
        )
    return table


def show_solvers(rows: list[dict[str, Any]]) -> Table:
    """The solvers as a table."""
    table = Table(title="The solvers alone, called once (median)")
    for title in ("solver", "tasks", "ms", "limit", "kept"):
        table.add_column(title, justify="left" if title == "solver" else "right")
    for row in rows:
        kept = "yes" if row["milliseconds"] <= row["limit"] else "NO"
        table.add_row(row["solver"], str(row["num_tasks"]), f"{row['milliseconds']:.2f}", f"{row['limit']:.2f}", kept)
    return table


def write(path: Path, rows: list[dict[str, Any]], solvers: list[dict[str, Any]]) -> None:
    """Writes what has been measured so far."""
    versions = {"keras": keras.__version__, "tensorflow": tf.__version__, "keras_mtl": mtl.__version__}
    result = {"versions": versions, "cores": os.cpu_count(), "rows": rows, "solvers": solvers}
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", default=["conv", "mlp"], choices=["conv", "mlp"])
    parser.add_argument("--tasks", nargs="+", type=int, default=[2, 3, 10, 40])
    parser.add_argument("--balancers", nargs="+", default=[*LOSSES, *GRADIENTS, *VARIANTS])
    parser.add_argument("--seconds", type=float, default=0.25, help="of training a balancer in a turn")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--solver-calls", type=int, default=400, help="0 leaves the solvers out")
    parser.add_argument("--json", type=Path, help="the file to write")
    arguments = parser.parse_args()
    if arguments.turns < 2:
        parser.error("--turns should be at least 2, for quartiles")
    rows, console = [], Console(width=120)
    solvers = measure_solvers(arguments.solver_calls) if arguments.solver_calls else []
    if solvers:
        console.print(show_solvers(solvers))
    for network in arguments.networks:
        for num_tasks in arguments.tasks:
            rows += measure(network, num_tasks, arguments.balancers, arguments.seconds, arguments.turns)
            keras.backend.clear_session()
            if arguments.json:  # after each, for the whole takes an hour and more
                write(arguments.json, rows, solvers)
    console.print(show(rows))


if __name__ == "__main__":
    main()
