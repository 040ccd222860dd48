"""Task affinity: what `TaskAffinity` costs, and whether it orders pairs of tasks as training every pair does.

    python benchmarks/affinity.py --data path/to/omniglot --json affinity.json

Cost: a convolutional network on batches of 64 images and a multi-layer perceptron on batches of 256 rows, of 2 and 8
tasks, are trained with the callback at its default interval and without it, in turns within one run. What counts is
the ratio of the two times in a turn: the median over the turns.

Order: the eight alphabets of Omniglot that `benchmarks/omniglot.py` reads are eight tasks. One network is trained on
all of them with the callback; and one on each alphabet and on each of the 28 pairs, for the same number of epochs. The
gain of a pair is the relative change of the accuracy on the drawings of people who are not in the training part. Twelve
people of an alphabet are for training, eight for this. Nothing is selected by these figures.

With `--halved 5`, five alphabets are ten tasks: each is two, of the same characters as different people drew them. That
these two help each other more than others do is to be expected, so that there should be an order to be found. With
`--num-tasks 10`, the alphabets with the most characters are two tasks each, of the first and of the last of these.

What is reported is Spearman's rank correlation of affinities and gains: over the pairs, both directions averaged, over
the ordered pairs, and over the sources of a target, the mean over the targets, which asks only who helps whom most; how
probable as much is by chance is told by 999 other assignments of the tasks' names. The means over the seeds are
correlated. A pair that is trained once has a gain of chance: how well the gains of one seed are ordered by
those of another says how much of an order there is to be found.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import omniglot
import step_cost
import tensorflow as tf
from _judgement import write_json
from _omniglot_tasks import halves, parts
from _rank_correlation import correlation
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy import stats

import keras_mtl as mtl

NUM_ALPHABETS = 8
LIMIT = 1.3  # of the time of training without it


class Timed:
    """A model that is trained for two intervals of the callback at a time.

    Args:
        network: `"convolutional"` or `"mlp"`.
        num_tasks: the number of its tasks.
        measured: whether the callback is there.
    """

    def __init__(self, network: str, num_tasks: int, *, measured: bool) -> None:
        self.model = step_cost.make_model(network, num_tasks, "equal")
        self.data = step_cost.make_data(network, num_tasks, 2 * 5 * (num_tasks + 1))
        self.affinity = mtl.callbacks.TaskAffinity()
        self.callbacks = [self.affinity] if measured else []
        self.turn()  # traces

    def turn(self) -> float:
        """The seconds of an epoch of `fit`."""
        clock = Clock()
        self.model.fit(self.data, verbose=0, shuffle=False, callbacks=[clock, *self.callbacks])
        return clock.seconds


class Clock(keras.callbacks.Callback):
    """The time of an epoch: what `fit` does once is left out."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Starts."""
        self.begin = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Stops."""
        self.seconds = time.perf_counter() - self.begin


def cost(network: str, num_tasks: int, turns: int) -> dict[str, Any]:
    """The times with and without the callback, in turns."""
    plain, measured = (Timed(network, num_tasks, measured=each) for each in (False, True))
    before = measured.affinity.counts.min()
    pairs = [(plain.turn(), measured.turn()) for _ in range(turns)]
    return {
        "network": network,
        "num_tasks": num_tasks,
        "measurements_a_turn": int(measured.affinity.counts.min() - before) / turns,
        "plain_seconds": [first for first, _ in pairs],
        "ratios": [second / first for first, second in pairs],
        "ratio": statistics.median(second / first for first, second in pairs),
    }


def affinities(
    alphabets: Mapping[str, omniglot.Alphabet], settings: argparse.Namespace, seed: int
) -> dict[str, dict[str, Any]]:
    """For one seed, by `joint` and `pairs`, what was found `[num_tasks, num_tasks]` and the seconds that it took."""
    rows = omniglot.split(alphabets, seed)
    if settings.halved:
        alphabets, rows = halves(alphabets, rows)
    if settings.num_tasks:
        alphabets, rows = parts(alphabets, rows, settings.num_tasks)
    tasks = [mtl.tasks.Classification(name, alphabet.num_classes) for name, alphabet in alphabets.items()]
    held_out = {name: np.concatenate([rows[part][name] for part in ("validation", "test")]) for name in alphabets}

    def build(subset: Sequence[mtl.tasks.Task]) -> mtl.MultiTaskModel:
        shape = (omniglot.SIDE, omniglot.SIDE, 1)
        return mtl.build_model(mtl.backbones.Convolutional(shape, settings.filters, settings.units), subset)

    def of(rows: Mapping[str, np.ndarray], *, shuffled: bool) -> Callable[[Sequence[mtl.tasks.Task]], tf.data.Dataset]:
        def data(subset: Sequence[mtl.tasks.Task]) -> tf.data.Dataset:
            x, y = omniglot.gather(alphabets, rows, [task.name for task in subset])
            found = tf.data.Dataset.from_tensor_slices((x, y))
            return (found.shuffle(len(x), seed=seed) if shuffled else found).batch(settings.batch_size)

        return data

    train = of(rows["train"], shuffled=True)
    begin = time.perf_counter()
    keras.utils.set_random_seed(seed)
    model = build(tasks)
    model.compile("adam")
    callback = mtl.callbacks.TaskAffinity(settings.every, settings.learning_rate)
    model.fit(train(tasks), epochs=settings.epochs, verbose=0, callbacks=[callback])
    middle = time.perf_counter()
    folder = None if settings.folder is None else settings.folder / f"seed_{seed}"
    pairs = mtl.evaluation.affinity(
        build,
        tasks,
        train,
        of(held_out, shuffled=False),
        epochs=settings.epochs,
        seed=seed,
        folder=folder,
        verbose=0,
    )
    end = time.perf_counter()
    keras.backend.clear_session()
    return {
        "tasks": list(alphabets),
        "joint": {
            "affinity": callback.affinity.tolist(),
            "counts": callback.counts.tolist(),
            "seconds": middle - begin,
        },
        "pairs": {
            "gains": pairs.gains["validation"].tolist(),
            "accuracy": pairs.metrics["validation"].tolist(),
            "seconds": end - middle,
        },
    }


def twins_ahead(matrix: Any) -> float:
    """How probable it is that the two halves of an alphabet have a higher value than two tasks of different ones.

    Args:
        matrix: of row onto column, the halves of an alphabet one after the other, `[num_tasks, num_tasks]`.
    """
    values = np.asarray(matrix) + np.asarray(matrix).T
    above = np.triu_indices(len(values), 1)
    are_twins = above[0] // 2 == above[1] // 2
    twins, others = values[above][are_twins], values[above][~are_twins]
    return float(stats.mannwhitneyu(twins, others).statistic / (len(twins) * len(others)))


def order(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The correlations: of the means over the seeds, of each seed, and of gains and affinities with those of others."""
    joint, gains = ([run[kind][key] for run in runs] for kind, key in (("joint", "affinity"), ("pairs", "gains")))
    half = len(gains) // 2 if len(gains) > 3 else 0
    halves_of_seeds = [np.mean(part, axis=0) for part in (gains[:half], gains[half:])] if half else []
    return {
        "of the means": correlation(np.mean(joint, axis=0), np.mean(gains, axis=0)),
        "of a seed": [correlation(*each) for each in zip(joint, gains, strict=True)],
        "gains of half the seeds": [correlation(*halves_of_seeds)] if half else [],
        "gains of two seeds": [correlation(*each) for each in itertools.combinations(gains, 2)],
        "affinities of two seeds": [correlation(*each) for each in itertools.combinations(joint, 2)],
    }


def said(found: Mapping[str, Any]) -> str:
    """The correlations in words."""
    mean = found["of the means"]
    lines = [
        f"Spearman, affinity and gain, means over seeds: {mean['pairs']:+.2f} (p = {mean['pairs_p']:.2g}) over pairs, "
        f"{mean['ordered']:+.2f} (p = {mean['ordered_p']:.2g}) over ordered pairs, {mean['by_target']:+.2f} "
        f"(p = {mean['by_target_p']:.2g}) by target."
    ]
    for key in ("of a seed", "gains of half the seeds", "gains of two seeds", "affinities of two seeds"):
        if found[key]:
            values = ", ".join(f"{each['pairs']:+.2f} and {each['by_target']:+.2f}" for each in found[key])
            means = [statistics.mean(each[kind] for each in found[key]) for kind in ("pairs", "by_target")]
            mean = f"{means[0]:+.2f} and {means[1]:+.2f}"
            lines.append(f"The same {key}, over pairs and by target: {values}. On average {mean}.")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help=f"folder with {' and '.join(omniglot.FILES)}; without it, cost alone")
    parser.add_argument("--networks", nargs="+", default=["convolutional", "mlp"], choices=["convolutional", "mlp"])
    parser.add_argument("--tasks", nargs="+", type=int, default=[2, 8])
    parser.add_argument("--turns", type=int, default=5, help="of the cost")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--first-seed", type=int, default=0, help="where earlier seeds chose the settings")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--filters", nargs="+", type=int, default=[16, 32, 64], help="of each convolution")
    parser.add_argument("--units", type=int, default=128, help="of the shared dense layer")
    parser.add_argument("--every", type=int, help="of the callback, by default its own")
    parser.add_argument("--learning-rate", type=float, help="of the callback, by default its own")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--halved", type=int, help="the first so many alphabets, each as two tasks, in place of all")
    kind.add_argument("--num-tasks", type=int, help="more than the alphabets: the largest are two each, by character")
    parser.add_argument("--folder", type=Path, help="where trained pairs are kept, to go on from")
    parser.add_argument("--json", type=Path, help="the file to write")
    settings = parser.parse_args(arguments)
    for name in ("turns", "seeds", "epochs", "batch_size"):
        if getattr(settings, name) < 1:
            parser.error(f"--{name.replace('_', '-')} should be at least 1. Received: {getattr(settings, name)}")
    ranges = {"first_seed": (0, 10**6), "halved": (2, NUM_ALPHABETS), "num_tasks": (NUM_ALPHABETS + 1, 64)}
    for name, (least, most) in ranges.items():
        value = getattr(settings, name)
        if value is not None and not least <= value <= most:
            parser.error(f"--{name.replace('_', '-')} should be from {least} to {most}. Received: {value}")
    unread = [name for name in (*ranges, "folder") if getattr(settings, name) != parser.get_default(name)]
    if unread and not settings.data:
        parser.error(f"--{unread[0].replace('_', '-')} is of the order of the pairs, which takes --data.")
    for name in omniglot.FILES if settings.data else ():
        if not (settings.data / name).is_file():
            parser.error(f"there is no {name} in {settings.data}")
    console = Console(width=120)
    result: dict[str, Any] = {
        "versions": {"keras": keras.__version__, "keras_mtl": mtl.__version__},
        "settings": {key: value for key, value in vars(settings).items() if key not in ("json", "data", "folder")},
    }
    cases = list(itertools.product(settings.networks, settings.tasks))
    result["cost"] = [cost(network, number, settings.turns) for network, number in track(cases, "cost")]
    table = Table(title="Training with TaskAffinity at its default interval, relative to training without")
    for title in ("network", "tasks", "ratio", f"at most {LIMIT}"):
        table.add_column(title, justify="left" if title == "network" else "right")
    for row in result["cost"]:
        kept = "yes" if row["ratio"] <= LIMIT else "no"
        table.add_row(row["network"], str(row["num_tasks"]), f"{row['ratio']:.2f} ×", kept)
    console.print(table)
    if settings.data:
        alphabets = dict(list(omniglot.read(settings.data).items())[: settings.halved])
        result["alphabets"] = list(alphabets)
        seeds = range(settings.first_seed, settings.first_seed + settings.seeds)
        result["runs"] = [affinities(alphabets, settings, seed) for seed in track(seeds, "training")]
        result["order"] = order(result["runs"])
        seconds = {kind: sum(run[kind]["seconds"] for run in result["runs"]) for kind in ("joint", "pairs")}
        console.print(said(result["order"]))
        if settings.halved:
            joint = np.mean([run["joint"]["affinity"] for run in result["runs"]], axis=0)
            gains = np.mean([run["pairs"]["gains"] for run in result["runs"]], axis=0)
            result["twins_ahead"] = {"affinity": twins_ahead(joint), "gains": twins_ahead(gains)}
            console.print(
                f"Two halves of one alphabet are ahead of tasks of two alphabets in "
                f"{result['twins_ahead']['affinity']:.0%} of cases by affinity, in "
                f"{result['twins_ahead']['gains']:.0%} by gain."
            )
        console.print(f"{seconds['joint']:.0f} s of joint training, {seconds['pairs']:.0f} s of all pairs.")
    if settings.json:
        write_json(settings.json, result)


if __name__ == "__main__":
    main()
