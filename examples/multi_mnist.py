"""MultiMNIST: the left and the right of two overlapping digits, by one network for both and one for each.

    python examples/multi_mnist.py --data path/to/mnist.npz --json multi_mnist.json

`--data` is Keras' file of MNIST, with x_train, y_train, x_test and y_test. 60,000 images are composed to train, 10,000
to validate, of digits of which none is among the first, and 10,000 to test, of MNIST's own test digits. Each model is
trained in the same way, once a seed; what counts is Δm, the relative gain in accuracy over the single-task networks.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from rich.console import Console
from scipy import stats

import keras_mtl as mtl
from keras_mtl._files import replacing

SIZE, DIGIT = 36, 28  # of the canvas and of a digit
TASKS = [mtl.tasks.Classification(side, 10, hidden_units=32) for side in ("left", "right")]
BALANCERS = ("equal", "upgrad")


def compose(images: np.ndarray, classes: np.ndarray, number: int, seed: int) -> tuple[np.ndarray, dict]:
    """Draws pairs of digits and lays them over each other; where both have ink, the stronger stroke wins.

    Args:
        images: the digits, uint8 `[number, 28, 28]`.
        classes: their classes.
        number: of images to compose.
        seed: of the pairs and of their places.

    Returns:
        uint8 `[number, 36, 36, 1]`, and the classes by side.
    """
    random = np.random.RandomState(seed)  # its stream is frozen, unlike that of a Generator
    pairs = random.randint(len(images), size=(number, 2))
    rows = random.randint(SIZE - DIGIT + 1, size=(number, 2))
    columns = random.randint(3, size=(number, 2)) + [0, SIZE - DIGIT - 2]  # the left one at 0 to 2, the other at 6 to 8
    canvas = np.zeros((number, SIZE, SIZE, 1), "uint8")
    for pair, row, column, image in zip(pairs, rows, columns, canvas, strict=True):
        for digit, i, j in zip(pair, row, column, strict=True):
            box = image[i : i + DIGIT, j : j + DIGIT, 0]
            np.maximum(box, images[digit], out=box)
    return canvas, {side: classes[pairs[:, index]].astype("int32") for index, side in enumerate(("left", "right"))}


def read(path: Path, number: int) -> tuple[tf.data.Dataset, tf.data.Dataset, tf.data.Dataset]:
    """Batches to train, validate and test; the digits of the three are different ones."""
    with np.load(path) as mnist:
        x, y, test_x, test_y = (mnist[name] for name in ("x_train", "y_train", "x_test", "y_test"))
    train = tf.data.Dataset.from_tensor_slices(compose(x[:50_000], y[:50_000], number, seed=0))
    validation, test = compose(x[50_000:], y[50_000:], 10_000, seed=1), compose(test_x, test_y, 10_000, seed=2)
    others = [tf.data.Dataset.from_tensor_slices(part).batch(500) for part in (validation, test)]
    return train.shuffle(number).batch(128).prefetch(tf.data.AUTOTUNE), *others


def build(tasks: Sequence[mtl.tasks.Task]) -> mtl.MultiTaskModel:
    """A small convolutional network for some of the tasks."""
    return mtl.build_model(mtl.backbones.Convolutional((SIZE, SIZE, 1), filters=(8, 16, 32), units=64), tasks)


def verdict(name: str, gains: Sequence[float]) -> str:
    """What a balancer's Δm, one a seed, allow to say: with intervals that hold together in 95 % of cases."""
    low, high = stats.ttest_1samp(gains, 0).confidence_interval(1 - 0.05 / len(BALANCERS))
    said = "is better than" if low > 0 else "is worse than" if high < 0 else "cannot be told from"
    return f"{name}: Δm {np.mean(gains):+.2f} % ({low:+.2f} to {high:+.2f}): {said} single-task networks."


def main() -> None:
    """Runs the example."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="mnist.npz")
    parser.add_argument("--images", type=int, default=60_000, help="to train")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="the file to write")
    arguments = parser.parse_args()
    if arguments.seeds < 2 or not arguments.data.is_file():
        parser.error("--seeds should be at least 2, for intervals, and --data a file")
    begin, cpu_begin, console = time.perf_counter(), time.process_time(), Console()
    data = read(arguments.data, arguments.images)
    reports = []
    for seed in range(arguments.seeds):
        reports.append(
            mtl.evaluation.compare(build, TASKS, *data, balancers=BALANCERS, epochs=arguments.epochs, seed=seed)
        )
        console.print(f"Seed {seed}", reports[-1].to_table())
    sentences = [
        verdict(name, [report.delta_m(report.multi_task[index], "test") for report in reports])
        for index, name in enumerate(BALANCERS)
    ]
    console.print("\n".join(sentences))
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu_begin
    console.print(f"{seconds:.0f} s in all, {cpu_seconds:.0f} s of processor time.")
    if arguments.json:
        runs = [
            {"single_task": {task: single.test[task] for task, single in report.single_task.items()}}
            | {result.name: dict(result.test) for result in report.multi_task}
            for report in reports
        ]
        found = {"test_accuracy": runs, "verdicts": sentences, "seconds": seconds, "cpu_seconds": cpu_seconds}
        with replacing(arguments.json, overwrite=True) as new:
            new.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
