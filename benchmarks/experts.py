"""What experts cost: computed together, as `MMoE` does, beside a loop of Dense layers.

    python benchmarks/experts.py --json experts.json

Experts are measured alone, forward, backward and update by Adam, and in a training step of `MMoE`: two regression
tasks on a small multi-layer perceptron, by `fit`. Both kinds have the same experts, gates, optimizer and data, and
train in turns within one run; what counts is the ratio of the two in a turn, and the median over the turns. The seconds
to trace are those of a first turn of `fit`, nearly all of which is tracing. Where experts are large, the time is that
of the arithmetic, which is the same for both.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
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
from keras_mtl.sharing._experts import Gate, Mixture


class Loop(keras.layers.Layer):
    """The experts one after the other, each of Dense layers.

    Args:
        num_experts: how many there are.
        units: units of each layer of an expert.
    """

    def __init__(self, num_experts: int, units: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.experts = [[keras.layers.Dense(number, "relu") for number in units] for _ in range(num_experts)]

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Builds the layers."""
        for layers in self.experts:
            shape = input_shape
            for layer in layers:
                layer.build(shape)
                shape = layer.compute_output_shape(shape)
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """The output of each expert."""
        return keras.ops.stack([functools.reduce(lambda x, layer: layer(x), e, inputs) for e in self.experts], axis=1)


class LoopMMoE(mtl.sharing.MMoE):
    """`MMoE` on a loop of experts."""

    def __call__(self, features: Mapping[str, Any], tasks: Sequence[mtl.tasks.Task]) -> dict[str, Any]:
        """The graph of `MMoE` with other experts."""
        *_, vector = features.values()
        experts = Loop(self.num_experts, self.expert_units)(vector)
        return {task.name: Mixture()([Gate(self.num_experts, task.name)(vector), experts]) for task in tasks}


class Runner:
    """A model that is trained for some steps at a time.

    Args:
        rule: how the experts are computed.
        arguments: of the command line.
    """

    def __init__(self, rule: mtl.sharing.Sharing, arguments: argparse.Namespace) -> None:
        keras.utils.set_random_seed(0)
        tasks = [mtl.tasks.Regression("a"), mtl.tasks.Regression("b")]
        backbone = mtl.backbones.MLP(arguments.channels, units=(64,))
        self.model = mtl.build_model(backbone, tasks, sharing=rule)
        self.model.compile("adam", steps_per_execution=arguments.steps)  # without what `fit` does between steps
        rng = np.random.default_rng(0)
        x = rng.normal(size=(arguments.batch_size, arguments.channels)).astype("float32")
        y = {task.name: rng.normal(size=len(x)).astype("float32") for task in tasks}
        batch = tf.data.Dataset.from_tensors((x, y))
        begin = time.perf_counter()
        self.data, self.steps = batch.repeat(arguments.steps), arguments.steps
        self.seconds()
        self.trace = time.perf_counter() - begin

    def seconds(self) -> float:
        """The time of a step."""
        begin = time.perf_counter()
        self.model.fit(self.data, verbose=0, shuffle=False)
        return (time.perf_counter() - begin) / self.steps


def alone(layer: keras.layers.Layer, arguments: argparse.Namespace) -> Callable[[], float]:
    """A function that trains experts alone for some steps, and gives the time of one."""
    inputs = tf.random.normal((arguments.batch_size, arguments.channels))
    layer.build(inputs.shape)
    variables = layer.trainable_variables
    optimizer = keras.optimizers.Adam()
    optimizer.build(variables)

    @tf.function
    def step() -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(layer(inputs)))
        optimizer.apply(tape.gradient(loss, variables), variables)

    def seconds() -> float:
        begin = time.perf_counter()
        for _ in range(arguments.steps):
            step()
        return (time.perf_counter() - begin) / arguments.steps

    seconds()
    return seconds


def measure(num_experts: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """A row."""
    mine, theirs = (alone(kind(num_experts, arguments.units), arguments) for kind in (mtl.sharing.Experts, Loop))
    alone_pairs = [(theirs(), mine()) for _ in track(range(arguments.turns), f"{num_experts} experts alone")]
    batched = Runner(mtl.sharing.MMoE(num_experts, arguments.units), arguments)
    loop = Runner(LoopMMoE(num_experts, arguments.units), arguments)
    pairs = [(loop.seconds(), batched.seconds()) for _ in track(range(arguments.turns), f"{num_experts} experts")]
    return {
        "num_experts": num_experts,
        "alone_milliseconds": 1000 * statistics.median(mine for _, mine in alone_pairs),
        "alone_ratio": statistics.median(theirs / mine for theirs, mine in alone_pairs),
        "milliseconds": 1000 * statistics.median(mine for _, mine in pairs),
        "loop_milliseconds": 1000 * statistics.median(theirs for theirs, _ in pairs),
        "ratio": statistics.median(theirs / mine for theirs, mine in pairs),
        "trace_seconds": batched.trace,
        "loop_trace_seconds": loop.trace,
    }


def show(rows: list[dict[str, Any]]) -> Table:
    """The rows as a table."""
    table = Table(title="Experts together beside a loop of Dense layers (median of the turns)")
    for title in (
        "experts",
        "alone, ms",
        "loop / together",
        "MMoE, ms",
        "loop ms",
        "loop / together",
        "trace s",
        "loop s",
    ):
        table.add_column(title, justify="right")
    for row in rows:
        number, *times = row.values()
        table.add_row(str(number), *(f"{value:.2f}" for value in times))
    return table


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--experts", nargs="+", type=int, default=[4, 8, 16, 32])
    parser.add_argument("--units", nargs="+", type=int, default=[64], help="of each layer of an expert")
    parser.add_argument("--channels", type=int, default=64, help="numbers in an example")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=200, help="in a turn")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--json", type=Path, help="the file to write")
    arguments = parser.parse_args()
    rows = [measure(number, arguments) for number in arguments.experts]
    Console(width=120).print(show(rows))
    if arguments.json:
        versions = {"keras": keras.__version__, "tensorflow": tf.__version__, "keras_mtl": mtl.__version__}
        settings = {key: value for key, value in vars(arguments).items() if key != "json"}
        result = {"versions": versions, "cores": os.cpu_count(), "settings": settings, "rows": rows}
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
