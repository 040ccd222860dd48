"""Seven sentence data sets in one model by `mix`, beside a network of the same make for each.

    python benchmarks/sentences.py --data path/to/text --json sentences.json

`--data` is a folder with the files of `FILES`, gzipped, "label sentence" a line. TREC and both SST have test sets of
their own; of the others a random tenth of each class is held out, another one for each seed (the published figures are
of ten folds). The sets share sentences, so `find_leaks` looks for the test sentences in all of them, and no training
set holds one, nor, from five words on, a part or a whole of one: neither that of the joint model nor that of a single
network. Copies with a word spelt otherwise, and short ones that differ in brackets, are not looked for.
Vocabularies are of training sentences. A single network has the architecture, the size of batch and the rate of the
joint model, and as many steps as the joint model makes on its task; it is not tuned on its own.

Training has a fixed length. Settings were chosen by `--judge validation --first-seed 100` (and 101), on a tenth of the
training sentences of those seeds and on the development sets of SST. A test sentence of another seed may be in that
tenth, but for TREC and SST. The intervals are over seeds: they say how much divisions and trainings differ.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from _judgement import interval, write_json
from _sentence_network import VIEWS, WIDTHS, make
from _sentence_sets import FILES, PADDING, Encoder, Examples, divide, leaks_of, load, without_parts
from rich.console import Console
from rich.progress import track
from rich.table import Table

import keras_mtl as mtl

# Y. Kim, "Convolutional Neural Networks for Sentence Classification", EMNLP 2014: CNN-rand, one network a task. Both of
# SST learnt from phrases too, which are not here.
PUBLISHED = {"mr": 76.1, "sst1": 45.0, "sst2": 82.7, "subj": 89.6, "trec": 91.2, "cr": 79.8, "mpqa": 83.4}
FIVE = ("mr", "subj", "trec", "cr", "mpqa")
MARK = 86.5
MINUTES = 15.0
MIX_SHARE = 0.05

# How often a batch is of each task: SST's sentences are, for the most part, those of MR.
SHARES = {"mr": 1.0, "sst1": 1.0, "sst2": 0.7, "subj": 1.0, "trec": 1.5, "cr": 0.6, "mpqa": 1.2}
STEPS = 1600
BATCH = 128


def prepare(divided: Mapping[str, Mapping[str, Examples]], tasks: Sequence[str], leaks: mtl.data.Leaks) -> Any:
    """An encoder made of the training sentences that are kept, and all splits of the tasks encoded."""
    out = leaks.overlaps("train")
    kept = [np.delete(divided[task]["train"][0], out[task]) for task in tasks]
    encoder = Encoder(np.concatenate(kept).tolist())
    encoded = {
        task: {split: (encoder(sentences.tolist()), labels) for split, (sentences, labels) in divided[task].items()}
        for task in tasks
    }
    return encoder, encoded


def stream(
    encoded: Mapping[str, Mapping[str, Examples]], tasks: Sequence[Any], leaks: mtl.data.Leaks, seed: int
) -> tf.data.Dataset:
    """Batches without end, each of one task and no wider than it needs, of training sentences in no other split."""
    datasets = {}
    for task, splits in encoded.items():
        inputs, labels = splits["train"]
        datasets[task] = tf.data.Dataset.from_tensor_slices((inputs, {task: labels}))
    mixed = mtl.data.mix(
        datasets,
        tasks,
        batch_size=BATCH,
        at_end="forever",
        weights={task: SHARES[task] for task in encoded},
        batches="single",
        shuffle=10_000,
        seed=seed,
        exclude=leaks,
    )
    return mixed.map(narrow)


def narrow(inputs: Mapping[str, tf.Tensor], *labels: Any) -> tuple[Any, ...]:
    """A batch without the columns that pad all of its sentences: those of MPQA are short."""
    beyond = {"words": PADDING + max(WIDTHS), "pieces": 0}  # a window of padding for all, as for most at prediction
    cut = {}
    for name, numbers in inputs.items():
        longest = tf.reduce_max(tf.math.count_nonzero(numbers, axis=1))
        cut[name] = numbers[:, : longest + beyond[name]]
    return cut, *labels


def run(
    divided: Mapping[str, Mapping[str, Examples]],
    tasks: Sequence[str],
    leaks: mtl.data.Leaks,
    seed: int,
    judge: str,
    steps: int,
) -> dict[str, Any]:
    """Trains one model; gives its accuracy in percent by task, and what time it took in all."""
    keras.utils.set_random_seed(seed)
    wall, processor = time.perf_counter(), time.process_time()
    encoder, encoded = prepare(divided, tasks, leaks)
    model = make(encoder, encoded, steps)
    model.fit(stream(encoded, model.tasks, leaks, seed), steps_per_epoch=steps, verbose=0)
    accuracy = {}
    for task, splits in encoded.items():
        inputs, labels = splits[judge]
        predicted = model.predict(inputs, batch_size=256, verbose=0)
        mean = sum(predicted[f"{task}_{view}"] for view in VIEWS)
        accuracy[task] = 100 * float(np.mean(mean.argmax(axis=-1) == labels))
    seconds = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
    keras.backend.clear_session()
    return {"accuracy": accuracy, "steps": steps, "seconds": seconds}


def together(runs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The runs of single networks, by task, as one."""
    return {
        "accuracy": {task: one["accuracy"][task] for task, one in runs.items()},
        "steps": sum(one["steps"] for one in runs.values()),
        "seconds": {kind: sum(one["seconds"][kind] for one in runs.values()) for kind in ("wall", "processor")},
    }


def steps_of(task: str, steps: int) -> int:
    """How many of the joint model's steps are on a task."""
    return max(1, round(steps * SHARES[task] / sum(SHARES.values())))


class Stopwatch(keras.callbacks.Callback):
    """The seconds of the batches after the first ones, which wait for the buffers of `mix` to be filled."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._after = after
        self.seconds = 0.0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Begins at the batch with this number, and ends, for now, at each one after it."""
        if batch == self._after:
            self._begin = time.perf_counter()
        elif batch > self._after:
            self.seconds = time.perf_counter() - self._begin


def mix_share(divided: Any, leaks: mtl.data.Leaks, turns: int, steps: int = 100) -> float:
    """What `mix` adds to the time of a training step: the median over turns, beside batches of it held in memory."""
    encoder, encoded = prepare(divided, list(divided), leaks)
    model = make(encoder, encoded, steps=10_000)
    mixed = stream(encoded, model.tasks, leaks, seed=0).take(steps)
    held = mixed.cache()
    model.fit(held, verbose=0)
    shares = []
    for _ in range(turns):
        watches = [Stopwatch(after=steps // 5) for _ in range(2)]
        for batches, watch in zip((mixed, held), watches, strict=True):
            model.fit(batches, verbose=0, callbacks=[watch])
        shares.append(watches[0].seconds / watches[1].seconds - 1)
    keras.backend.clear_session()
    return float(np.median(shares))


def differences(rows: Mapping[str, Sequence[Mapping[str, Any]]], task: str) -> list[float]:
    """The joint model's accuracy without that of the single network with the same seed."""
    return [joint["accuracy"][task] - single["accuracy"][task] for joint, single in _pairs(rows)]


def _pairs(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    return list(zip(rows["joint"], rows["single"], strict=True))


def mean_of_five(run: Mapping[str, Any]) -> float:
    """The mean accuracy over the tasks that the mark is of."""
    return float(np.mean([run["accuracy"][task] for task in FIVE]))


def judgement(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """On which tasks the joint model helped and on which it hurt, as far as the intervals allow to say.

    Those of the tasks are so wide that all of them together hold in 95 % of cases (Bonferroni). That of the mean over
    the five, the one figure that the mark is of, is for itself.
    """
    found: dict[str, list[str]] = {"helped": [], "hurt": [], "unclear": []}
    for task in FILES:
        verdict, said = _verdict(differences(rows, task), comparisons=len(FILES))
        found[verdict].append(f"{task} ({said})")
    named = {verdict: ", ".join(tasks) or "no task" for verdict, tasks in found.items()}
    verdict, said = _verdict([mean_of_five(joint) - mean_of_five(single) for joint, single in _pairs(rows)])
    return (
        f"The joint model helped on {named['helped']}; it hurt on {named['hurt']}; whether it did either cannot be "
        f"told on {named['unclear']}. Over {', '.join(FIVE)} together: {verdict} ({said})."
    )


def _verdict(values: Sequence[float], comparisons: int = 1) -> tuple[str, str]:
    mean, half = interval(values, comparisons)
    verdict = "helped" if mean - half > 0 else "hurt" if mean + half < 0 else "unclear"
    return verdict, f"{mean:+.1f} ± {half:.1f}"


def show(rows: Mapping[str, Sequence[Mapping[str, Any]]], judge: str) -> Table:
    """The tasks as a table."""
    table = Table(title=f"Accuracy in percent ({judge}): mean over the seeds ± half the 95 % interval")
    for title in ("task", "joint", "single", "joint - single", "published single"):
        table.add_column(title, justify="left" if title == "task" else "right")
    for task in FILES:
        columns = [[run["accuracy"][task] for run in rows[kind]] for kind in ("joint", "single")]
        cells = [interval(values) for values in (*columns, differences(rows, task))]
        table.add_row(task, *_cells(cells), f"{PUBLISHED[task]:.1f}")
    columns = [[mean_of_five(run) for run in rows[kind]] for kind in ("joint", "single")]
    apart = [mean_of_five(joint) - mean_of_five(single) for joint, single in _pairs(rows)]
    published = float(np.mean([PUBLISHED[task] for task in FIVE]))
    cells = [interval(values) for values in (*columns, apart)]
    table.add_row(f"mean of {', '.join(FIVE)}", *_cells(cells), f"{published:.1f}")
    return table


def _cells(values: Sequence[tuple[float, float]]) -> list[str]:
    (joint, single, apart) = values
    return [
        f"{joint[0]:.1f} ± {joint[1]:.1f}",
        f"{single[0]:.1f} ± {single[1]:.1f}",
        f"{apart[0]:+.1f} ± {apart[1]:.1f}",
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the gzipped files")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS, help="of the joint model, and of the single ones together")
    parser.add_argument("--judge", choices=("test", "validation"), default="test")
    parser.add_argument("--json", type=Path, help="the file to write")
    arguments = parser.parse_args(argv)
    if arguments.seeds < 2:
        parser.error("--seeds should be at least 2, for intervals")
    if arguments.steps < 1:
        parser.error("--steps should be at least 1")
    names = [f"{name}.gz" for files in FILES.values() for name in files.values()]
    absent = [name for name in names if not (arguments.data / name).is_file()]
    if absent:
        parser.error(f"there is no {absent[0]} in {arguments.data}")

    wall, processor = time.perf_counter(), time.process_time()
    data = load(arguments.data)
    rows: dict[str, list[dict[str, Any]]] = {"joint": [], "single": []}
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    for seed in track(seeds, "training"):
        divided = without_parts(divide(data, seed, arguments.judge))
        leaks = leaks_of(divided)
        rows["joint"].append(run(divided, list(FILES), leaks, seed, arguments.judge, arguments.steps))
        apart = {  # one network a task
            task: run(divided, [task], leaks, seed, arguments.judge, steps_of(task, arguments.steps)) for task in FILES
        }
        rows["single"].append(together(apart))
    minutes = {  # reading, the search for leaks, all training, and judging
        "wall": (time.perf_counter() - wall) / 60,
        "processor": (time.process_time() - processor) / 60,
    }
    share = mix_share(divided, leaks, turns=5)

    mean = float(np.mean([mean_of_five(one) for one in rows["joint"]]))
    console = Console(width=130)
    console.print(show(rows, arguments.judge))
    console.print(judgement(rows))
    console.print(f"Mean of the joint model over the five: {mean:.2f} (at least {MARK}: {_kept(mean >= MARK)}).")
    console.print(
        f"Minutes without the measurement of mix: {minutes['wall']:.1f} (at most {MINUTES:.0f}: "
        f"{_kept(minutes['wall'] <= MINUTES)}), {minutes['processor']:.1f} of the processor."
    )
    console.print(
        f"mix adds {100 * share:.1f} % to a step (at most {100 * MIX_SHARE:.0f} %: {_kept(share <= MIX_SHARE)})."
    )
    if arguments.json:
        found = {
            "judge": arguments.judge,
            "rows": rows,
            "judgement": judgement(rows),
            "mean_of_five": mean,
            "minutes": minutes,
            "mix_share": share,
        }
        write_json(arguments.json, found)


def _kept(kept: bool) -> str:
    return "kept" if kept else "NO"


if __name__ == "__main__":
    main()
