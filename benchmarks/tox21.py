"""Twelve tasks with missing labels: the Tox21 assays, one model for all of them beside one model for each.

    python benchmarks/tox21.py --data path/to/tox21.csv.gz --json tox21.json

`--data` is the table of assays by SMILES; an empty cell is a missing label. Each seed draws its own split: 80 % of the
molecules to train, a tenth to validate, a tenth to test, where rows of the same molecule stay together. The inputs are
counts of circular substructures (Morgan, radius 2, 2048 places, logarithm), the 167 MACCS keys and RDKit's descriptors,
standardized by the training rows. The network is a hidden layer with dropout, and a sigmoid for each task. A
single-task model is the same network with one sigmoid, trained on the labelled rows of its task with the same batch
size for the same number of epochs.

What counts is the ROC-AUC, averaged over the tasks. Nothing is selected by it: the figures are those of the last epoch.
The settings were chosen for the joint model, by the validation tenths of three other seeds, 100 to 102, among six:
Morgan counts alone (0.79, the others 0.850 to 0.855), descriptors with or without the logarithm, 512 units and batches
of 128 or 1024 and 64, 10 or 20 epochs, with or without decay of weights. The others cannot be told apart; the cheapest
was taken. Those splits are of the same molecules: what was a validation molecule there may be a test molecule here.
The seeds' splits are of the same molecules, so that the intervals (Student's, 95 %) are of the procedure on this table,
not of other molecules.

The features, and then the seeds, are worked out in a process for each core: such small networks make little use of a
second one.
"""

from __future__ import annotations

import argparse
import csv
import functools
import gzip
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from _judgement import interval, sentence, write_json
from _processes import in_processes
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

import keras_mtl as mtl
from keras_mtl._optional import require

# On the validation tenth of a random split, circular fingerprints of 1024 bits (graph convolution: the graph):
# Z. Wu et al., "MoleculeNet: A Benchmark for Molecular Machine Learning", Chemical Science, 2018, and DeepChem's table.
PUBLISHED = {"multi-task network": 0.7834, "graph convolution": 0.8269}
LEAST = 0.83
MINUTES = 10.0
PARTS = ("validation", "test")
NOT_TASKS = ("mol_id", "smiles")
# These two are of any size, up to 1e41 for the largest molecules, and take more time than all the others.
LEFT_OUT = ("Ipc", "AvgIpc")


@dataclass(frozen=True)
class Assays:
    """The table.

    Args:
        names: of the tasks.
        labels: 1, 0, or -1 where there is none, `[number, num_tasks]`.
        molecules: the canonical SMILES of each row.
        parsed: the molecules, as RDKit's objects.
        num_unreadable: how many rows were left out because RDKit does not read their SMILES.
    """

    names: tuple[str, ...]
    labels: np.ndarray
    molecules: np.ndarray
    parsed: list[Any]
    num_unreadable: int


def read(path: Path) -> Assays:
    """Reads the table, gzipped or not."""
    chem = require("rdkit.Chem", extra="bench", needed_by="The benchmark on Tox21")
    require("rdkit.RDLogger", extra="bench", needed_by="The benchmark on Tox21").DisableLog("rdApp.*")
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = [column for column in rows[0] if column not in NOT_TASKS]
    pairs = [(row, chem.MolFromSmiles(row["smiles"])) for row in rows]
    kept = [(row, molecule) for row, molecule in pairs if molecule is not None]
    return Assays(
        names=tuple(column.replace("-", "_") for column in columns),
        labels=np.array([[label_of(row[column]) for column in columns] for row, _ in kept], "int32"),
        molecules=np.array([chem.MolToSmiles(molecule) for _, molecule in kept]),
        parsed=[molecule for _, molecule in kept],
        num_unreadable=len(rows) - len(kept),
    )


def label_of(cell: str) -> int:
    """0 or 1, or -1 for an empty cell.

    Raises:
        ValueError: if the cell is something else.
    """
    labels = {"": mtl.data.MISSING.class_index, "0": 0, "0.0": 0, "1": 1, "1.0": 1}
    if cell not in labels:
        raise ValueError(f"A label should be 0, 1 or empty. Received: {cell!r}")
    return labels[cell]


def features(molecules: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Counts and keys, `[number, 2048 + 167]`, and descriptors, NaN where one is undefined."""
    generators = require("rdkit.Chem.rdFingerprintGenerator", extra="bench", needed_by="The benchmark on Tox21")
    keys = require("rdkit.Chem.MACCSkeys", extra="bench", needed_by="The benchmark on Tox21")
    descriptors = require("rdkit.Chem.Descriptors", extra="bench", needed_by="The benchmark on Tox21")
    morgan = generators.GetMorganGenerator(radius=2, fpSize=2048)
    functions = [function for name, function in descriptors.descList if name not in LEFT_OUT]
    patterns, numbers = [], []
    for molecule in molecules:
        counts = np.log1p(morgan.GetCountFingerprintAsNumPy(molecule).astype("float32"))
        patterns.append(np.concatenate([counts, np.array(list(keys.GenMACCSKeys(molecule)), "float32")]))
        numbers.append([function(molecule) for function in functions])
    found = np.array(numbers, "float64")
    return np.array(patterns), np.where(np.isfinite(found), found, np.nan)


def standardized(numbers: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Descriptors of about the same size: a signed logarithm, then mean 0 and deviation 1 in the training rows.

    Args:
        numbers: `[number, num_descriptors]`; an undefined one, NaN, becomes 0, the mean.
        train: the training rows, which alone give mean and deviation.

    Returns:
        float32, from -5 to 5.
    """
    small = np.sign(numbers) * np.log1p(np.abs(numbers))
    known = ~np.isnan(small[train])
    number = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, small[train], 0).sum(axis=0) / number
    deviation = np.sqrt((np.where(known, small[train] - mean, 0) ** 2).sum(axis=0) / number)
    scaled = (small - mean) / np.where(deviation > 0, deviation, 1)
    return np.clip(np.nan_to_num(scaled, nan=0.0), -5, 5).astype("float32")


def split(molecules: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Rows to train, validate and test, drawn by `seed`: 80 / 10 / 10 % of the molecules, each in one part only."""
    different, groups = np.unique(molecules, return_inverse=True)
    # The stream of a RandomState, unlike that of a Generator, is frozen: the same split with every release of NumPy.
    place = np.random.RandomState(seed).permutation(len(different))[groups] / len(different)
    part = np.digitize(place, (0.8, 0.9))
    return {name: np.flatnonzero(part == index) for index, name in enumerate(("train", *PARTS))}


def num_leaking(molecules: np.ndarray, rows: Mapping[str, np.ndarray]) -> int:
    """How many rows of the test part have their molecule in the training part."""
    leaks = mtl.data.find_leaks({"tox21": {part: molecules[rows[part]] for part in ("train", "test")}}, kind="rows")
    return len(leaks.overlaps("test", ["train"])["tox21"])


def trained(x: np.ndarray, labels: Mapping[str, np.ndarray], settings: argparse.Namespace, seed: int) -> Any:
    """A model of the tasks that have labels here, trained on these rows."""
    keras.utils.set_random_seed(seed)
    backbone = mtl.backbones.MLP(x.shape[1], units=settings.units, dropout=settings.dropout)
    model = mtl.build_model(backbone, [mtl.tasks.BinaryClassification(name, metrics=[]) for name in labels])
    num_steps = settings.epochs * -(-len(x) // settings.batch_size)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(settings.learning_rate, num_steps)))
    model.fit(x, dict(labels), batch_size=settings.batch_size, epochs=settings.epochs, verbose=0)
    return model


def scores(model: Any, x: np.ndarray, labels: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The ROC-AUC of each task over its labelled rows."""
    predicted = model.predict(x, batch_size=1024, verbose=0)
    known = {name: values >= 0 for name, values in labels.items()}
    return {
        name: float(roc_auc_score(values[known[name]], predicted[name][known[name], 0]))
        for name, values in labels.items()
    }


def run(assays: Assays, inputs: tuple[np.ndarray, np.ndarray], settings: argparse.Namespace, seed: int) -> Any:
    """One seed: by `joint` and `single`, the AUC by part and task, and what it took."""
    rows = split(assays.molecules, seed)
    x = np.concatenate([inputs[0], standardized(inputs[1], rows["train"])], axis=1)
    labels = dict(zip(assays.names, assays.labels.T, strict=True))
    result: dict[str, Any] = {}
    for kind, subsets in (("joint", [assays.names]), ("single", [(name,) for name in assays.names])):
        begin, cpu_begin = time.perf_counter(), time.process_time()
        found: dict[str, dict[str, float]] = {part: {} for part in PARTS}
        for names in subsets:
            labelled = np.any([labels[name][rows["train"]] >= 0 for name in names], axis=0)
            train = rows["train"][labelled]
            model = trained(x[train], {name: labels[name][train] for name in names}, settings, seed)
            for part in PARTS:
                found[part] |= scores(model, x[rows[part]], {name: labels[name][rows[part]] for name in names})
            keras.backend.clear_session()
        result[kind] = {
            "auc": found,
            "seconds": time.perf_counter() - begin,
            "cpu_seconds": time.process_time() - cpu_begin,
        }
    return result


def means(runs: Sequence[Any], kind: str, part: str) -> list[float]:
    """The mean AUC over the tasks, one a seed."""
    return [float(np.mean(list(run[kind]["auc"][part].values()))) for run in runs]


def judgement(runs: Sequence[Any]) -> str:
    """What the intervals of the differences to the single-task models allow to say: on average, and task by task."""
    averages = {}
    for part in PARTS:
        pairs = zip(means(runs, "joint", part), means(runs, "single", part), strict=True)
        averages[part] = [joint - single for joint, single in pairs]
    names = list(runs[0]["joint"]["auc"]["test"])
    by_task = {
        name: [run["joint"]["auc"]["test"][name] - run["single"]["auc"]["test"][name] for run in runs] for name in names
    }
    return "\n".join(
        [
            *(sentence(f"Mean AUC, {p}", {"joint": averages[p]}, len(PARTS), "single-task models") for p in PARTS),
            sentence("By task, test, joint", by_task, len(names), "the single-task model"),
        ]
    )


def show(runs: Sequence[Any]) -> Table:
    """A row a task, and one of their mean."""
    table = Table(title="ROC-AUC: mean over the seeds ± half the 95 % interval")
    columns = [(part, kind) for part in PARTS for kind in ("joint", "single")]
    table.add_column("task")
    for part, kind in columns:
        table.add_column(f"{part}, {kind}", justify="right")
    for name in runs[0]["joint"]["auc"]["test"]:
        cells = [interval([run[kind]["auc"][part][name] for run in runs]) for part, kind in columns]
        table.add_row(name, *(f"{mean:.3f} ± {half:.3f}" for mean, half in cells))
    cells = [interval(means(runs, kind, part)) for part, kind in columns]
    table.add_row("mean", *(f"{mean:.4f} ± {half:.4f}" for mean, half in cells), style="bold")
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="tox21.csv or tox21.csv.gz")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--units", nargs="+", type=int, default=[512], help="of each hidden layer")
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="of the first step; falls as a cosine to 0")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes, by default one a core")
    parser.add_argument("--json", type=Path, help="the file to write")
    settings = parser.parse_args(arguments)
    for name, least in (("seeds", 2), ("epochs", 1), ("batch_size", 1), ("workers", 1)):
        if getattr(settings, name) < least:
            parser.error(f"--{name.replace('_', '-')} should be at least {least}. Received: {getattr(settings, name)}")
    if not settings.data.is_file():
        parser.error(f"there is no file {settings.data}")
    begin = time.perf_counter()
    assays = read(settings.data)
    pieces = [assays.parsed[first : first + 500] for first in range(0, len(assays.parsed), 500)]
    found = zip(*in_processes(features, pieces, settings.workers, "features"), strict=True)
    patterns, numbers = (np.concatenate(each) for each in found)
    of_seed = functools.partial(run, replace(assays, parsed=[]), (patterns, numbers), settings)
    runs = in_processes(of_seed, range(settings.seeds), settings.workers, "training")
    seconds, cpu_seconds = time.perf_counter() - begin, sum(os.times()[:4])  # of the processes too

    rows = np.array_split(np.random.RandomState(0).permutation(len(assays.molecules)), 10)
    by_row = {"train": np.concatenate(rows[:8]), "test": rows[9]}
    duplicates = {
        "rows": len(assays.molecules),
        "unreadable": assays.num_unreadable,
        "repeated": len(assays.molecules) - len(set(assays.molecules)),
        "test_rows_leaking_by_row": num_leaking(assays.molecules, by_row),
        "test_rows_leaking": sum(num_leaking(assays.molecules, split(assays.molecules, s)) for s in range(len(runs))),
    }
    reached = float(np.mean(means(runs, "joint", "validation")))
    marks = ", ".join(f"{name} {mark}" for name, mark in PUBLISHED.items())
    console = Console(width=120)
    console.print(
        f"{duplicates['rows']} rows, {duplicates['unreadable']} more whose SMILES RDKit does not read. "
        f"{duplicates['repeated']} rows repeat the molecule of another one. A split by row leaks "
        f"{duplicates['test_rows_leaking_by_row']} test rows into the training part, this one, by molecule, "
        f"{duplicates['test_rows_leaking']}."
    )
    console.print(show(runs))
    kept = "kept" if reached >= LEAST else "NO"
    console.print(f"Joint, validation: {reached:.4f} (at least {LEAST}: {kept}; published: {marks}).")
    console.print(judgement(runs))
    console.print(
        f"{seconds:.0f} s in all (at most {60 * MINUTES:.0f}: {'kept' if seconds <= 60 * MINUTES else 'NO'}), "
        f"{cpu_seconds:.0f} s of processor time."
    )
    if settings.json:
        result = {
            "versions": {"keras": keras.__version__, "keras_mtl": mtl.__version__},
            "settings": {key: value for key, value in vars(settings).items() if key not in ("json", "data")},
            "duplicates": duplicates,
            "published": PUBLISHED,
            "runs": runs,
            "validation": reached,
            "judgement": judgement(runs),
            "seconds": seconds,
            "cpu_seconds": cpu_seconds,
        }
        write_json(settings.json, result)


if __name__ == "__main__":
    main()
