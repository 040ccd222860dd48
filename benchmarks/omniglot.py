"""Many small tasks: the characters of eight alphabets, one network for all of them beside one for each.

    python benchmarks/omniglot.py --data path/to/omniglot --json omniglot.json

`--data` is a folder with the two small training sets of Omniglot, `images_background_small1.zip` and
`images_background_small2.zip`: five alphabets each, of which two, Greek and Latin, are in both and are taken once. An
alphabet is a task, its characters are the classes, 17 to 47 of them. Twenty people drew each character: by seed, twelve
of an alphabet's people are for training, four for validation and four for test.

All models are the same small convolutional network on drawings of 35 x 35, with a head for each task. Of each drawing,
all tasks but one have no label. A single-task network is trained on its alphabet for the same number of epochs, in
batches so much smaller that it makes as many steps. Figures are those of the last epoch, the validation part is only
shown: nothing is selected by it or by the test part, and the settings are a first choice.

Source: B. Lake, R. Salakhutdinov, J. Tenenbaum, "Human-level concept learning through probabilistic program induction",
Science, 2015.
"""

from __future__ import annotations

import argparse
import io
import os
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from _judgement import interval, sentence, write_json
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

import keras_mtl as mtl

FILES = ("images_background_small1.zip", "images_background_small2.zip")
PARTS = ("train", "validation", "test")
NUM_DRAWERS = {"train": 12, "validation": 4, "test": 4}
SIDE = 35  # a third of the drawings' 105


@dataclass(frozen=True)
class Alphabet:
    """The drawings of an alphabet.

    Args:
        images: ink from 0 to 255, uint8 `[number, 35, 35, 1]`.
        characters: class indices `[number]`.
        drawers: who drew it, 0 to 19, `[number]`.
    """

    images: np.ndarray
    characters: np.ndarray
    drawers: np.ndarray

    @property
    def num_classes(self) -> int:
        """How many characters it has."""
        return int(self.characters.max()) + 1


def read(folder: Path) -> dict[str, Alphabet]:
    """The alphabets by name of task, in alphabetical order; one that is in both files is read once."""
    drawings: dict[str, dict[tuple[str, int], np.ndarray]] = {}
    for name in FILES:
        with zipfile.ZipFile(folder / name) as file:
            here: dict[str, dict[tuple[str, int], np.ndarray]] = {}
            for path in file.namelist():
                if path.endswith(".png"):
                    _, alphabet, character, drawing = path.split("/")
                    drawer = int(drawing.removesuffix(".png").split("_")[1]) - 1
                    here.setdefault(task_name(alphabet), {})[character, drawer] = shrunk(file.read(path))
            drawings = here | drawings
    return {alphabet: gathered(drawings[alphabet]) for alphabet in sorted(drawings)}


def task_name(alphabet: str) -> str:
    """An alphabet's name without what a task's name may not have: `Japanese_(katakana)` is `Japanese_katakana`."""
    return "".join(character for character in alphabet if character.isalnum() or character == "_")


def shrunk(content: bytes) -> np.ndarray:
    """A drawing of 105 x 105, black on white, as ink from 0 to 255: the mean over each 3 x 3 pixels, `[35, 35, 1]`."""
    with Image.open(io.BytesIO(content)) as image:
        ink = 1 - np.asarray(image.convert("1"), "float32")
    if ink.shape != (3 * SIDE, 3 * SIDE):
        raise ValueError(f"A drawing should be of {3 * SIDE} x {3 * SIDE} pixels. Received: {ink.shape}")
    return np.rint(255 * ink.reshape(SIDE, 3, SIDE, 3).mean(axis=(1, 3))).astype("uint8")[..., np.newaxis]


def gathered(drawings: Mapping[tuple[str, int], np.ndarray]) -> Alphabet:
    """An alphabet from its drawings by character and drawer."""
    keys = sorted(drawings)
    names = sorted({character for character, _ in keys})
    return Alphabet(
        images=np.stack([drawings[key] for key in keys]),
        characters=np.array([names.index(character) for character, _ in keys], "int32"),
        drawers=np.array([drawer for _, drawer in keys], "int32"),
    )


def split(alphabets: Mapping[str, Alphabet], seed: int) -> dict[str, dict[str, np.ndarray]]:
    """By part and alphabet, the rows: each person's drawings are in one part."""
    random = np.random.RandomState(seed)  # its stream is frozen, unlike that of a Generator
    bounds = np.cumsum(list(NUM_DRAWERS.values()))
    found: dict[str, dict[str, np.ndarray]] = {part: {} for part in PARTS}
    for name, alphabet in alphabets.items():
        place = random.permutation(bounds[-1])[alphabet.drawers]
        for index, part in enumerate(PARTS):
            found[part][name] = np.flatnonzero(np.digitize(place, bounds[:-1]) == index)
    return found


def gather(alphabets: Mapping[str, Alphabet], rows: Mapping[str, np.ndarray], names: Sequence[str]) -> tuple[Any, Any]:
    """The drawings of some alphabets in one array, and labels by task: -1 where a drawing is of another alphabet."""
    images = np.concatenate([alphabets[name].images[rows[name]] for name in names])
    owners = np.repeat(names, [len(rows[name]) for name in names])
    labels = {}
    for name in names:
        labels[name] = np.full(len(images), mtl.data.MISSING.class_index, "int32")
        labels[name][owners == name] = alphabets[name].characters[rows[name]]
    return images, labels


def batch_size_of(num_rows: int, num_steps: int) -> int:
    """The batch size with which so many rows make so many steps, or as close below as whole examples allow."""
    return max(-(-num_rows // num_steps), 1)


def run(alphabets: Mapping[str, Alphabet], settings: argparse.Namespace, seed: int) -> dict[str, Any]:
    """One seed: by `joint` and `single`, the accuracy by part and task, and what it took."""
    rows = split(alphabets, seed)
    num_steps = -(-sum(map(len, rows["train"].values())) // settings.batch_size)
    result: dict[str, Any] = {}
    for kind, subsets in (("joint", [list(alphabets)]), ("single", [[name] for name in alphabets])):
        begin, cpu_begin = time.perf_counter(), time.process_time()
        accuracy: dict[str, dict[str, float]] = {part: {} for part in PARTS[1:]}
        for names in subsets:
            keras.utils.set_random_seed(seed)
            backbone = mtl.backbones.Convolutional((SIDE, SIDE, 1), settings.filters, settings.units)
            tasks = [mtl.tasks.Classification(name, alphabets[name].num_classes) for name in names]
            model = mtl.build_model(backbone, tasks)
            model.compile("adam")
            x, y = gather(alphabets, rows["train"], names)
            model.fit(x, y, batch_size=batch_size_of(len(x), num_steps), epochs=settings.epochs, verbose=0)
            for part in accuracy:
                x, y = gather(alphabets, rows[part], names)
                scores = model.evaluate(x, y, batch_size=500, verbose=0, return_dict=True)
                accuracy[part] |= {name: float(scores[f"{name}_accuracy"]) for name in names}
            keras.backend.clear_session()
        seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu_begin
        result[kind] = {"accuracy": accuracy, "seconds": seconds, "cpu_seconds": cpu_seconds}
    return result


def means(runs: Sequence[Any], kind: str, part: str) -> list[float]:
    """The mean accuracy over the tasks, one a seed."""
    return [float(np.mean(list(run[kind]["accuracy"][part].values()))) for run in runs]


def judgement(runs: Sequence[Any]) -> str:
    """What the intervals of the differences allow to say of the test part: on average, and alphabet by alphabet."""
    pairs = zip(means(runs, "joint", "test"), means(runs, "single", "test"), strict=True)
    average = {"joint": [joint - single for joint, single in pairs]}
    joint, single = ([run[kind]["accuracy"]["test"] for run in runs] for kind in ("joint", "single"))
    by_task = {name: [a[name] - b[name] for a, b in zip(joint, single, strict=True)] for name in joint[0]}
    return "\n".join(
        [
            sentence("Mean accuracy, test", average, 1, "single-task networks"),
            sentence("By alphabet, test, joint", by_task, len(by_task), "the single-task network"),
        ]
    )


def show(runs: Sequence[Any]) -> Table:
    """A row an alphabet, and one of their mean."""
    table = Table(title="Accuracy: mean over the seeds ± half the 95 % interval")
    columns = [(part, kind) for part in PARTS[1:] for kind in ("joint", "single")]
    table.add_column("alphabet")
    for part, kind in columns:
        table.add_column(f"{part}, {kind}", justify="right")
    for name in runs[0]["joint"]["accuracy"]["test"]:
        cells = [interval([run[kind]["accuracy"][part][name] for run in runs]) for part, kind in columns]
        table.add_row(name, *(f"{mean:.3f} ± {half:.3f}" for mean, half in cells))
    cells = [interval(means(runs, kind, part)) for part, kind in columns]
    table.add_row("mean", *(f"{mean:.3f} ± {half:.3f}" for mean, half in cells), style="bold")
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help=f"folder with {' and '.join(FILES)}")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=64, help="of the joint network")
    parser.add_argument("--filters", nargs="+", type=int, default=[16, 32, 64], help="of each convolution")
    parser.add_argument("--units", type=int, default=128, help="of the shared dense layer")
    parser.add_argument("--json", type=Path, help="the file to write")
    settings = parser.parse_args(arguments)
    for name, least in (("seeds", 2), ("epochs", 1), ("batch_size", 1)):
        if getattr(settings, name) < least:
            parser.error(f"--{name.replace('_', '-')} should be at least {least}. Received: {getattr(settings, name)}")
    for name in FILES:
        if not (settings.data / name).is_file():
            parser.error(f"there is no {name} in {settings.data}")
    alphabets = read(settings.data)
    begin, cpu_begin = time.perf_counter(), time.process_time()
    runs = [run(alphabets, settings, seed) for seed in track(range(settings.seeds), "training")]
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu_begin
    console = Console(width=120)
    console.print(show(runs))
    console.print(judgement(runs))
    console.print(f"{seconds:.0f} s of training, {cpu_seconds:.0f} s of processor time.")
    if settings.json:
        result = {
            "versions": {"keras": keras.__version__, "keras_mtl": mtl.__version__},
            "settings": {key: value for key, value in vars(settings).items() if key not in ("json", "data")},
            "runs": runs,
            "judgement": judgement(runs),
            "seconds": seconds,
            "cpu_seconds": cpu_seconds,
        }
        write_json(settings.json, result)


if __name__ == "__main__":
    main()
