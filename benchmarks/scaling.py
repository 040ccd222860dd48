"""What training on several replicas exchanges and costs, and what the fault guard costs.

    python benchmarks/scaling.py --json scaling.json

Three parts, on the networks of `step_cost.py`, whose steps are measured in turns within one run: a step with
`on_nonfinite="skip"` beside one without; a step under a strategy of one replica beside one without a strategy; and a
step of 1, 2 and 4 replicas, which are logical CPUs of one machine and share its cores: the same work in more pieces, so
that the ratio is the cost of dividing it, and no speed-up is to be seen. What an epoch takes beside its steps is told
apart: under a strategy TensorFlow makes its iterator over the data anew for each.

Two models built alike may differ by some percent in the time of a step, and go on doing so. So all are built several
times over, in another order each time, and what counts is the median of their medians. Beside the guard there is a row
for a step beside one of the very same kind, which tells how far to trust a ratio.

The bytes that a replica gives to be summed in a step are read off the graph of the step: the sizes of what goes into
its collective operations. They depend on neither the machine nor the batch.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import tensorflow as tf
from rich.console import Console
from rich.progress import track
from rich.table import Table
from step_cost import Clock, make_backbone, make_balancer, make_data, make_tasks

import keras_mtl as mtl

REPLICAS = (1, 2, 4)
# One of each family, by what is exchanged, and what is exchanged as the documentation has it: P and S are the numbers
# of parameters, of all and of the shared ones, T that of the tasks.
FAMILIES = {
    "equal": "P",
    "famo": "P",
    "gradnorm": "P",
    "upgrad": "P + TS",
    "graddrop": "P + TS",
    "upgrad:features": "P",
    "upgrad:every10": "P, and P + TS in every tenth step",
}
LIMITS = {"guard": 1.02, "one replica": 1.10}


def compiled(network: str, num_tasks: int, balancer: str, **arguments: Any) -> keras.Model:
    """A model of `step_cost.py`."""
    keras.utils.set_random_seed(0)
    model = mtl.build_model(make_backbone(network), make_tasks(num_tasks))
    model.compile("adam", balancer=make_balancer(balancer), **arguments)
    return model


class Runner:
    """A model that is trained for a few steps at a time."""

    def __init__(self, model: keras.Model, network: str, num_tasks: int, seconds: float) -> None:
        self.model, self.network, self.num_tasks = model, network, num_tasks
        self.times: list[float] = []
        self.once: list[float] = []
        self.steps = 6
        self.step()
        self.steps = 1 + max(4, min(100, round(seconds / self.step())))
        self.step()
        self.once.clear()

    def step(self) -> float:
        """The time of a step, in seconds. Notes what the epoch took beside its steps."""
        clock = Clock()
        data = make_data(self.network, self.num_tasks, self.steps)
        self.model.fit(data, verbose=0, shuffle=False, callbacks=[clock])
        step = clock.seconds / (self.steps - 1)
        self.once.append(clock.once - step)
        return step


def take_turns(first: Runner, others: dict[str, Runner], turns: int, label: str) -> dict[str, list[float]]:
    """The times of the others' steps, each divided by those of the first's just before and after."""
    ratios: dict[str, list[float]] = {name: [] for name in others}
    before = first.step()
    for turn in track(range(turns), label):
        order = list(others)
        for name in order[turn % len(order) :] + order[: turn % len(order)]:
            others[name].times.append(others[name].step())
            after = first.step()
            ratios[name].append(others[name].times[-1] / ((before + after) / 2))
            before = after
    return ratios


def exchanged(model: keras.Model, network: str, num_tasks: int) -> int:
    """The bytes that a replica gives to be summed in a step."""
    strategy = model.distribute_strategy
    batch = next(iter(strategy.experimental_distribute_dataset(make_data(network, num_tasks, 1))))
    step = tf.function(lambda data: strategy.run(model.train_step, args=(data,)))
    graph = step.get_concrete_function(batch).graph
    inputs = [operation.inputs[0] for operation in graph.get_operations() if operation.type.startswith("Collective")]
    return sum(each.shape.num_elements() * each.dtype.size for each in inputs) // strategy.num_replicas_in_sync


def parameters(model: keras.Model) -> dict[str, int]:
    """The number of trainable parameters, of all and of the shared."""
    count = {"all": model.trainable_variables, "shared": model.partition.shared}
    return {name: sum(int(tf.size(variable)) for variable in found) for name, found in count.items()}


def measure_once(
    network: str, num_tasks: int, balancer: str, strategy: tf.distribute.Strategy, build: int, arguments: Any
) -> dict[str, dict[str, float]]:
    """What a step is beside itself without, in models that are built for it."""

    def plain() -> keras.Model:
        return compiled(network, num_tasks, balancer)

    def guarded() -> keras.Model:
        return compiled(network, num_tasks, balancer, on_nonfinite="skip")

    def distributed() -> keras.Model:
        with strategy.scope():
            return plain()

    replicas = strategy.num_replicas_in_sync
    makers = {"one replica" if replicas == 1 else f"{replicas} replicas": distributed}
    if replicas == 1:
        makers |= {"guard": guarded, "the same": plain}
    makers["first"] = plain
    order = [*makers][build % len(makers) :] + [*makers][: build % len(makers)]
    runners = {name: Runner(makers[name](), network, num_tasks, arguments.seconds) for name in order}
    first = runners.pop("first")
    ratios = take_turns(first, runners, arguments.turns, f"{balancer}: measuring")
    return {
        name: {
            "milliseconds": 1000 * statistics.median(runner.times),
            "ratio": statistics.median(ratios[name]),
            "more_milliseconds_an_epoch": 1000 * (statistics.median(runner.once) - statistics.median(first.once)),
        }
        for name, runner in runners.items()
    }


def measure(
    network: str, num_tasks: int, strategy: tf.distribute.Strategy, arguments: argparse.Namespace
) -> list[dict[str, Any]]:
    """A row for each balancer, and each thing that a step of it is beside itself without."""
    rows = []
    for balancer in track(
        arguments.balancers, f"{network}, {num_tasks} tasks, {strategy.num_replicas_in_sync} replicas"
    ):
        builds = []
        for build in range(arguments.builds):
            builds.append(measure_once(network, num_tasks, balancer, strategy, build, arguments))
            keras.backend.clear_session()
        for name in builds[0]:
            found = {key: [build[name][key] for build in builds] for key in builds[0][name]}
            row = {"network": network, "num_tasks": num_tasks, "balancer": balancer, "name": name}
            row |= {key: statistics.median(values) for key, values in found.items()}
            row |= {"builds": found["ratio"]}
            if name.endswith("replicas"):
                with strategy.scope():
                    model = compiled(network, num_tasks, balancer)
                size = exchanged(model, network, num_tasks)
                row |= {"bytes": size, "parameters": parameters(model), "exchanged": FAMILIES.get(balancer, "")}
            rows.append(row)
        keras.backend.clear_session()
    return rows


def in_processes(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of each number of replicas, measured in a process of its own: collectives of two strategies collide."""
    rows = []
    for replicas in REPLICAS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows.json"
            own = ["--replicas", str(replicas), "--json", str(path)]
            subprocess.run([sys.executable, __file__, *sys.argv[1:], *own], check=True)
            rows += json.loads(path.read_text(encoding="utf-8"))["rows"]
    return rows


def show(rows: list[dict[str, Any]]) -> Table:
    """The rows as a table."""
    table = Table(title="A step beside one of the same balancer, without guard and strategy (median of the builds)")
    for title in (
        *("network", "tasks", "balancer", "what", "ms a step", "ratio", "builds", "limit"),
        *("ms more an epoch", "kB exchanged"),
    ):
        table.add_column(title, justify="left" if title in ("network", "balancer", "what") else "right")
    for row in rows:
        limit = LIMITS.get(row["name"])
        table.add_row(
            row["network"],
            str(row["num_tasks"]),
            row["balancer"],
            row["name"],
            f"{row['milliseconds']:.1f}",
            f"{row['ratio']:.3f}",
            f"{min(row['builds']):.2f} to {max(row['builds']):.2f}",
            "" if limit is None else f"{limit:.2f} {'kept' if row['ratio'] <= limit else 'MISSED'}",
            f"{row['more_milliseconds_an_epoch']:.0f}",
            f"{row['bytes'] / 1000:.0f}" if "bytes" in row else "",
        )
    return table


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", default=["conv", "mlp"], choices=["conv", "mlp"])
    parser.add_argument("--tasks", nargs="+", type=int, default=[3, 10])
    parser.add_argument("--balancers", nargs="+", default=list(FAMILIES))
    parser.add_argument("--replicas", type=int, choices=REPLICAS, help="defaults to all of these, in turn")
    parser.add_argument("--seconds", type=float, default=0.5, help="of training a model in a turn")
    parser.add_argument("--turns", type=int, default=3, help="of each build")
    parser.add_argument("--builds", type=int, default=3, help="how often the models are built")
    parser.add_argument("--json", type=Path, help="the file to write")
    arguments = parser.parse_args()
    for name in ("turns", "builds"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name} should be at least 1")
    if arguments.replicas is None:
        rows = in_processes(arguments)
    else:
        devices = [tf.config.LogicalDeviceConfiguration()] * arguments.replicas
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
        settings = itertools.product(arguments.networks, arguments.tasks)
        strategy = tf.distribute.MirroredStrategy([f"CPU:{index}" for index in range(arguments.replicas)])
        rows = [row for network, num_tasks in settings for row in measure(network, num_tasks, strategy, arguments)]
    Console(width=140).print(show(rows))
    if arguments.json:
        versions = {"keras": keras.__version__, "tensorflow": tf.__version__, "keras_mtl": mtl.__version__}
        result = {"versions": versions, "cores": os.cpu_count(), "rows": rows}
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
