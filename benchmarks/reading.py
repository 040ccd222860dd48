"""What reading costs: the readers beside hand-written `tf.data`, and `mix` of seven data sets in a training step.

    python benchmarks/reading.py --json reading.json

Each reader reads files that this script writes; beside it a pipeline of the same work is written out by hand: the
same decoding, resizing, order and batches. Both train the same model by `fit`, in turns within one run; what counts is
the ratio of the two in a turn, and the median over the turns. The time of a step is that of the model and of what
reading it does not hide. `reading` is the ratio of the readings alone, without a model.

`mix` of seven data sets is set beside the same model and batches of one data set that has the labels of all.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
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

LIMIT = 1.05
AUTOTUNE = tf.data.AUTOTUNE
SIDE = 64
SAMPLES = 4000
SETS = 7
Pipelines = tuple[tf.data.Dataset, tf.data.Dataset]


def images(folder: Path, number: int, batch_size: int) -> Pipelines:
    """JPEG files in two folders: by the reader, and by hand."""
    rng = np.random.default_rng(0)
    for index in range(number):
        path = folder / str(index % 2) / f"{index:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 256, (12, 16, 3)).astype("float32")
        image = tf.cast(tf.image.resize(coarse, (96, 128)), "uint8")
        tf.io.write_file(str(path), tf.io.encode_jpeg(image))
    reader = mtl.data.from_image_folder(
        folder, labels="kind", image_size=(SIDE, SIDE), batch_size=batch_size, shuffle_seed=0
    )
    paths = sorted(str(path) for path in folder.rglob("*.jpg"))
    kinds = [int(Path(path).parent.name) for path in paths]

    def read(path: Any, kind: Any) -> Any:
        image = tf.io.decode_image(tf.io.read_file(path), 3, expand_animations=False)
        image = tf.image.resize(tf.ensure_shape(image, (None, None, 3)), (SIDE, SIDE))
        return tf.cast(tf.round(image), "uint8"), {"kind": kind}

    by_hand = tf.data.Dataset.from_tensor_slices((paths, np.asarray(kinds, "int64"))).shuffle(len(paths), seed=0)
    return reader, by_hand.map(read, AUTOTUNE).batch(batch_size).prefetch(AUTOTUNE)


def clips(folder: Path, number: int, batch_size: int) -> Pipelines:
    """WAV files in two folders: by the reader, and by hand."""
    rng = np.random.default_rng(0)
    for index in range(number):
        path = folder / str(index % 2) / f"{index:06}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        clip = rng.uniform(-1, 1, (SAMPLES, 1)).astype("float32")
        tf.io.write_file(str(path), tf.audio.encode_wav(clip, 16000))
    reader = mtl.data.from_audio_folder(
        folder, labels="kind", num_samples=SAMPLES, batch_size=batch_size, shuffle_seed=0
    )
    paths = sorted(str(path) for path in folder.rglob("*.wav"))
    kinds = [int(Path(path).parent.name) for path in paths]

    def read(path: Any, kind: Any) -> Any:
        clip, _ = tf.audio.decode_wav(tf.io.read_file(path), desired_samples=SAMPLES)
        return tf.ensure_shape(tf.reduce_mean(clip, -1), (SAMPLES,)), {"kind": kind}

    by_hand = tf.data.Dataset.from_tensor_slices((paths, np.asarray(kinds, "int64"))).shuffle(len(paths), seed=0)
    return reader, by_hand.map(read, AUTOTUNE).batch(batch_size).prefetch(AUTOTUNE)


def table(folder: Path, number: int, batch_size: int) -> Pipelines:
    """Sixteen columns of numbers: by the reader, and by hand."""
    del folder
    rng = np.random.default_rng(0)
    columns = {f"c{index}": rng.normal(size=20 * number).astype("float32") for index in range(16)}
    kind = rng.integers(0, 2, 20 * number)
    reader = mtl.data.from_dataframe({**columns, "kind": kind}, labels=["kind"], batch_size=batch_size, shuffle_seed=0)
    rows = ({name: values[:, np.newaxis] for name, values in columns.items()}, {"kind": kind})
    by_hand = tf.data.Dataset.from_tensor_slices(rows).shuffle(20 * number, seed=0)
    return reader, by_hand.batch(batch_size).prefetch(AUTOTUNE)


def lines(folder: Path, number: int, batch_size: int) -> Pipelines:
    """Lines of "label text": by the reader, and by hand."""
    path = folder / "lines.txt"
    rng = np.random.default_rng(0)
    words = np.asarray([f"word{index}" for index in range(1000)])
    texts = [" ".join(rng.choice(words, 15)) for _ in range(20 * number)]
    path.write_text("".join(f"{index % 2} {text}\n" for index, text in enumerate(texts)), encoding="utf-8")
    reader = mtl.data.from_text_lines(
        path,
        "(?P<kind>[01]) (?P<text>.*)",
        class_names={"kind": ["0", "1"]},
        batch_size=batch_size,
        shuffle_seed=0,
        shuffle_buffer=1000,
    )

    def parse(line: Any) -> Any:
        return tf.strings.substr(line, 2, -1), {"kind": tf.strings.to_number(tf.strings.substr(line, 0, 1), "int64")}

    by_hand = tf.data.TextLineDataset(str(path)).map(parse, AUTOTUNE).shuffle(1000, seed=0)
    return reader, by_hand.batch(batch_size).prefetch(AUTOTUNE)


def mixture(folder: Path, number: int, batch_size: int) -> Pipelines:
    """Images of seven data sets with a label each: by `mix`, and one data set with the labels of all."""
    del folder
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (number, SIDE, SIDE, 3)).astype("uint8")
    y = rng.integers(0, 2, number)
    own = tf.data.Dataset.from_tensor_slices
    sets = {f"t{index}": own((x, {f"t{index}": y})) for index in range(SETS)}
    # What is mixed is a part of each, so that both pass over as many examples.
    sets = {name: part.take(number // SETS) for name, part in sets.items()}
    kinds = [mtl.tasks.Classification(f"t{index}", 2) for index in range(SETS)]
    mixed = mtl.data.mix(sets, kinds, batch_size=batch_size, at_end="once", shuffle=100, seed=0)
    labels = {f"t{index}": np.where(np.arange(number) % SETS == index, y, -1) for index in range(SETS)}
    whole = own((x, labels)).take(SETS * (number // SETS)).shuffle(100, seed=0)
    return mixed, whole.batch(batch_size).prefetch(AUTOTUNE)


def image_model(names: list[str]) -> keras.Model:
    """MobileNetV2, about the smallest backbone in use, with a head for each name."""
    keras.utils.set_random_seed(0)
    tasks = [mtl.tasks.Classification(name, 2) for name in names]
    model = mtl.build_model("MobileNetV2", tasks, input_shape=(SIDE, SIDE, 3))
    model.compile("adam")
    return model


def model_for(reader: str) -> keras.Model:
    """A model of an ordinary size for what a reader reads."""
    if reader == "from_image_folder":
        return image_model(["kind"])
    if reader == "mix":
        return image_model([f"t{index}" for index in range(SETS)])
    keras.utils.set_random_seed(0)
    if reader == "from_audio_folder":
        inputs = keras.Input((SAMPLES,))
        x = keras.layers.Reshape((SAMPLES, 1))(inputs)
        x = keras.layers.Conv1D(32, 64, 8, activation="relu")(x)
        x = keras.layers.GlobalAveragePooling1D()(keras.layers.Conv1D(64, 16, 4, activation="relu")(x))
    elif reader == "from_dataframe":
        inputs = {f"c{index}": keras.Input((1,), name=f"c{index}") for index in range(16)}
        x = keras.layers.Concatenate()(list(inputs.values()))
        for units in (512, 512, 256):
            x = keras.layers.Dense(units, "relu")(x)
    else:
        inputs = keras.Input((), dtype="string")
        words = keras.layers.TextVectorization(vocabulary=[f"word{i}" for i in range(1000)], output_sequence_length=16)
        x = keras.layers.Embedding(1002, 64)(words(inputs))
        x = keras.layers.GlobalMaxPooling1D()(keras.layers.Conv1D(128, 3, activation="relu")(x))
    task = mtl.tasks.Classification("kind", 2)
    model = mtl.MultiTaskModel(inputs, {"kind": task.head(x)}, [task])
    model.compile("adam")
    return model


READERS: dict[str, Callable[[Path, int, int], Pipelines]] = {
    "from_image_folder": images,
    "from_audio_folder": clips,
    "from_dataframe": table,
    "from_text_lines": lines,
    "mix": mixture,
}


def pass_through(dataset: tf.data.Dataset) -> float:
    """The seconds of a pass without a model."""
    begin = time.perf_counter()
    for _ in dataset:
        pass
    return time.perf_counter() - begin


def epoch(model: keras.Model, dataset: tf.data.Dataset) -> float:
    """The seconds of an epoch."""
    begin = time.perf_counter()
    model.fit(dataset, verbose=0)
    return time.perf_counter() - begin


def measure(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """A row."""
    with tempfile.TemporaryDirectory() as folder:
        mine, theirs = READERS[name](Path(folder), arguments.examples, arguments.batch_size)
        steps = sum(1 for _ in mine)
        if steps != sum(1 for _ in theirs):
            raise RuntimeError(f"{name}: the two pipelines differ in their number of batches")
        # `fit` warns of a data set whose size it learns in the first epoch only.
        mine, theirs = (part.apply(tf.data.experimental.assert_cardinality(steps)) for part in (mine, theirs))
        model = model_for(name)
        epoch(model, mine)
        epoch(model, theirs)
        pairs, readings = [], []
        for turn in track(range(arguments.turns), name):
            order = (mine, theirs) if turn % 2 else (theirs, mine)
            seconds = {id(part): epoch(model, part) for part in order}
            pairs.append((seconds[id(mine)], seconds[id(theirs)]))
            alone = {id(part): pass_through(part) for part in order}
            readings.append((alone[id(mine)], alone[id(theirs)]))
    return {
        "reader": name,
        "steps": steps,
        "milliseconds": 1000 * statistics.median(own for own, _ in pairs) / steps,
        "by_hand_milliseconds": 1000 * statistics.median(other for _, other in pairs) / steps,
        "ratio": statistics.median(own / other for own, other in pairs),
        "reading_milliseconds": 1000 * statistics.median(own for own, _ in readings) / steps,
        "by_hand_reading_milliseconds": 1000 * statistics.median(other for _, other in readings) / steps,
        "reading_ratio": statistics.median(own / other for own, other in readings),
        "limit": LIMIT,
    }


def show(rows: list[dict[str, Any]]) -> Table:
    """The rows as a table."""
    result = Table(title="Readers beside hand-written tf.data (median of the turns)")
    for title in ("reader", "step, ms", "by hand, ms", "ratio", "limit", "reading, ms", "by hand, ms", "ratio"):
        result.add_column(title, justify="left" if title == "reader" else "right")
    for row in rows:
        result.add_row(
            row["reader"],
            f"{row['milliseconds']:.2f}",
            f"{row['by_hand_milliseconds']:.2f}",
            f"{row['ratio']:.3f}",
            f"{row['limit']:.2f}",
            f"{row['reading_milliseconds']:.2f}",
            f"{row['by_hand_reading_milliseconds']:.2f}",
            f"{row['reading_ratio']:.2f}",
        )
    return result


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--readers", nargs="+", choices=READERS, default=list(READERS))
    parser.add_argument(
        "--examples", type=int, default=896, help="images and clips; of rows 20 times as many, and of lines"
    )
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--json", type=Path, help="the file to write")
    arguments = parser.parse_args()
    if arguments.turns < 2:
        parser.error("--turns should be at least 2: a median of one is no median")
    rows = [measure(name, arguments) for name in arguments.readers]
    Console(width=120).print(show(rows))
    if arguments.json:
        versions = {"keras": keras.__version__, "tensorflow": tf.__version__, "keras_mtl": mtl.__version__}
        settings = {key: value for key, value in vars(arguments).items() if key != "json"}
        result = {"versions": versions, "cores": os.cpu_count(), "settings": settings, "rows": rows}
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
