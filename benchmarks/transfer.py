"""What a source is worth to a target with few labels, and what each way to fine-tune adds.

    python benchmarks/transfer.py --data path/to/data --json transfer.json

`--data` is a folder with `mnist/mnist.npz`, `cifar10_subset/cifar10_subset.tar.gz` and, in `text/`, the sentences MR
and CR. There are three pairs: single digits of MNIST and MultiMNIST with 600 images (1 % of its labels); animal or
vehicle on 10,000 images of CIFAR-10, and its classes on 500 of them (5 % of the labels); reviews of films and, with a
tenth of the labels, of products.

A seed trains a model on the source, copies its backbone, and trains the target in each of the ways of `WAYS`, which
differ in nothing else: the same first heads, order of examples, optimizer and number of steps. What the source took is
not counted. Each way is trained with each learning rate of `RATES`, and has the one with which its accuracy on the
target's validation part is higher, on average over the seeds: this part is larger than a user with so few labels would
have. The test part chooses nothing. Intervals are of 95 %, of the differences within a seed.

It takes the better part of an hour on two cores.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from _judgement import interval, sentence, write_json
from _transfer_sets import FILES, SETTINGS, Examples, Setting
from rich.console import Console
from rich.progress import track
from rich.table import Table

import keras_mtl as mtl

PARTS = ("validation", "test")
RATES = (3e-3, 1e-3, 3e-4)
BACKBONE = "block*"
DECAY = 0.6  # of the learning rate, a block


@dataclass(frozen=True)
class Way:
    """A way to train the target.

    Args:
        pretrained: whether the backbone comes from the source.
        stages: the stages, for a number of epochs and of blocks; None trains all from the first step on.
        layerwise: whether a block learns more slowly the further it is from the heads.
    """

    pretrained: bool = True
    stages: Callable[[int, int], list[mtl.transfer.Stage]] | None = None
    layerwise: bool = False


def heads(epochs: int, num_blocks: int) -> list[mtl.transfer.Stage]:
    """The heads alone, on the source's features."""
    del num_blocks
    return [mtl.transfer.Stage(epochs)]


def frozen(epochs: int, num_blocks: int) -> list[mtl.transfer.Stage]:
    """All of it from the first step on, but the source's statistics as they are."""
    del num_blocks
    return [mtl.transfer.Stage(epochs, layers="*", batch_normalization="frozen")]


def staged(epochs: int, num_blocks: int, rule: str = "follow") -> list[mtl.transfer.Stage]:
    """The heads for a fifth of the epochs, a block more for each of two further fifths, and then all of it."""
    fifth = max(epochs // 5, 1)
    stages = [mtl.transfer.Stage(fifth, blocks=number, batch_normalization=rule) for number in (1, 2)]
    last = mtl.transfer.Stage(max(epochs - 3 * fifth, 1), blocks=num_blocks, batch_normalization=rule)
    return [mtl.transfer.Stage(fifth), *stages, last]


def staged_and_frozen(epochs: int, num_blocks: int) -> list[mtl.transfer.Stage]:
    """Both of these."""
    return staged(epochs, num_blocks, "frozen")


WAYS = {
    "from nothing": Way(pretrained=False),
    "heads alone": Way(stages=heads),
    "fine-tuning": Way(),
    "staged unfreezing": Way(stages=staged),
    "layer-wise rates": Way(layerwise=True),
    "frozen batch normalization": Way(stages=frozen),
    "all three": Way(stages=staged_and_frozen, layerwise=True),
}
PLAIN, NOTHING = "fine-tuning", "from nothing"


def train_source(setting: Setting, seed: int) -> keras.Model:
    """A model trained on the source."""
    keras.utils.set_random_seed(seed)
    model = mtl.build_model(setting.backbone(), setting.source_tasks)
    model.compile("adam")
    model.fit(*setting.source, batch_size=setting.source_batch, epochs=setting.source_epochs, verbose=0)
    return model


def train_target(setting: Setting, way: Way, source: keras.Model, rate: float, seed: int) -> dict[str, float]:
    """The accuracy on the target, the mean over its tasks, by part."""
    keras.utils.set_random_seed(seed)
    backbone = setting.backbone()
    num_blocks = len({layer.name.partition("_")[0] for layer in backbone.layers if layer.weights})
    model = mtl.build_model(backbone, setting.target_tasks)
    if way.pretrained:
        mtl.transfer.copy_weights(source, model)
    optimizer: Any = keras.optimizers.Adam(rate)
    if way.layerwise:
        optimizer = mtl.optimizers.LayerwiseLearningRate(optimizer, decay=DECAY)
    model.compile(optimizer)
    callbacks = []
    if way.stages:
        callbacks.append(mtl.transfer.FineTuning(way.stages(setting.epochs, num_blocks), backbone=BACKBONE))
    x, y = setting.target["train"]
    model.fit(x, y, batch_size=setting.batch, epochs=setting.epochs, callbacks=callbacks, verbose=0)
    return {part: accuracy(model, setting.target[part]) for part in PARTS}


def accuracy(model: keras.Model, examples: Examples) -> float:
    """The mean accuracy over the tasks."""
    scores = model.evaluate(*examples, batch_size=500, verbose=0, return_dict=True)
    return float(np.mean([scores[f"{task.name}_accuracy"] for task in model.tasks]))


def run(setting: Setting, seed: int, rates: Sequence[float]) -> dict[str, dict[str, dict[str, float]]]:
    """One seed: by way and learning rate, the accuracy by part."""
    source = train_source(setting, seed)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, way in WAYS.items():
        found[name] = {str(rate): train_target(setting, way, source, rate, seed) for rate in rates}
    keras.backend.clear_session()
    return found


def choose(runs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """By way, the learning rate with the highest mean accuracy on the validation part."""
    chosen = {}
    for name, by_rate in runs[0].items():
        means = {rate: np.mean([run[name][rate]["validation"] for run in runs]) for rate in by_rate}
        chosen[name] = max(means, key=lambda rate: means[rate])
    return chosen


def accuracies(runs: Sequence[Mapping[str, Any]], part: str) -> dict[str, list[float]]:
    """By way, the accuracy with its learning rate, one a seed."""
    return {name: [run[name][rate][part] for run in runs] for name, rate in choose(runs).items()}


def apart(found: Mapping[str, Sequence[float]], name: str, other: str) -> list[float]:
    """What a way is better by than another, one a seed."""
    return [one - two for one, two in zip(found[name], found[other], strict=True)]


def judgement(title: str, runs: Sequence[Mapping[str, Any]]) -> str:
    """What the intervals allow to say of a pair: of the source, and of each way to fine-tune."""
    found = accuracies(runs, "test")
    others = [name for name in found if name not in (PLAIN, NOTHING)]
    ways = {name: apart(found, name, PLAIN) for name in others}
    return "\n".join(
        [
            sentence(title, {PLAIN: apart(found, PLAIN, NOTHING)}, 1, "training from nothing"),
            sentence(title, ways, len(ways), "plain fine-tuning"),
        ]
    )


def show(title: str, runs: Sequence[Mapping[str, Any]]) -> Table:
    """A row a way."""
    table = Table(title=f"{title}: accuracy in percent, mean over the seeds ± half the 95 % interval")
    for column in ("way", "learning rate", "validation", "test", f"test - {NOTHING}", f"test - {PLAIN}"):
        table.add_column(column, justify="left" if column == "way" else "right")
    chosen, validation, test = choose(runs), accuracies(runs, "validation"), accuracies(runs, "test")
    for name in chosen:
        columns = [validation[name], test[name]]
        cells = ["{:.1f} ± {:.1f}".format(*(100 * value for value in interval(values))) for values in columns]
        for other in (NOTHING, PLAIN):
            mean, half = interval(apart(test, name, other))
            cells.append("" if name == other else f"{100 * mean:+.1f} ± {100 * half:.1f}")
        table.add_row(name, chosen[name], *cells)
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help=f"folder with {', '.join(FILES)}")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rates", nargs="+", type=float, default=RATES, help="learning rates to choose from")
    parser.add_argument("--only", choices=SETTINGS, help="one of the pairs alone")
    parser.add_argument("--json", type=Path, help="the file to write")
    settings = parser.parse_args(arguments)
    if settings.seeds < 2:
        parser.error(f"--seeds should be at least 2, for intervals. Received: {settings.seeds}")
    for name in FILES:
        if not (settings.data / name).is_file():
            parser.error(f"there is no {name} in {settings.data}")
    begin, cpu_begin = time.perf_counter(), time.process_time()
    runs: dict[str, list[Any]] = {title: [] for title in SETTINGS if settings.only in (None, title)}
    turns = [(title, seed) for title in runs for seed in range(settings.seeds)]
    for title, seed in track(turns, "training"):
        runs[title].append(run(SETTINGS[title](settings.data, seed), seed, settings.rates))
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu_begin
    console = Console(width=140)
    for title, found in runs.items():
        console.print(show(title, found))
        console.print(judgement(title, found))
    console.print(f"{seconds:.0f} s, {cpu_seconds:.0f} s of processor time.")
    if settings.json:
        result = {
            "versions": {"keras": keras.__version__, "keras_mtl": mtl.__version__},
            "rates": list(settings.rates),
            "runs": runs,
            "judgement": {title: judgement(title, found) for title, found in runs.items()},
            "seconds": seconds,
            "cpu_seconds": cpu_seconds,
        }
        write_json(settings.json, result)


if __name__ == "__main__":
    main()
