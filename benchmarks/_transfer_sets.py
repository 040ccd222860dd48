"""Three pairs of a source and a target: digits, photographs and sentences, each with the network for them."""

from __future__ import annotations

import io
import sys
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from _sentence_sets import read as read_sentences
from _sentence_sets import tenth
from PIL import Image

import keras_mtl as mtl

sys.path.append(str(Path(__file__).parents[1]))  # a benchmark is run as a file, beside which the examples are not found
from examples.multi_mnist import DIGIT, SIZE, TASKS, compose

MNIST, CIFAR, SENTENCES = "mnist/mnist.npz", "cifar10_subset/cifar10_subset.tar.gz", ("rt-polarity.all", "custrev.all")
FILES = (MNIST, CIFAR, *(f"text/{name}.gz" for name in SENTENCES))
ANIMALS = ("bird", "cat", "deer", "dog", "frog", "horse")
NUM_WORDS = 60  # of a sentence; others are cut

Examples = tuple[np.ndarray, dict[str, np.ndarray]]  # inputs, and class indices by task


@dataclass(frozen=True)
class Setting:
    """A source, a target with few labels, and the network that goes from the one to the other.

    Args:
        backbone: makes the network that both share. Its layers with weights are in `block1`, `block2` and so on.
        source_tasks: the tasks of the source.
        target_tasks: the tasks of the target.
        source: what the source is trained on.
        target: `train`, `validation` and `test` of the target.
        source_epochs: how long the source is trained, in batches of `source_batch`.
        source_batch: see there.
        epochs: how long the target is trained, in batches of `batch`.
        batch: see there.
    """

    backbone: Callable[[], keras.Model]
    source_tasks: Sequence[Any]
    target_tasks: Sequence[Any]
    source: Examples
    target: Mapping[str, Examples]
    source_epochs: int
    source_batch: int
    epochs: int
    batch: int


def digits(folder: Path, seed: int) -> Setting:
    """MNIST, single digits on the canvas of MultiMNIST, and MultiMNIST with 600 images, 1 % of its 60,000.

    Images to train and to validate are of digits from different parts of MNIST's training set, and those to test of its
    test set. The source sees the first part only.
    """
    with np.load(folder / MNIST) as mnist:
        x, y, test_x, test_y = (mnist[name] for name in ("x_train", "y_train", "x_test", "y_test"))
    edge = (SIZE - DIGIT) // 2
    singles = np.pad(x[:50_000], ((0, 0), (edge, edge), (edge, edge)))[..., np.newaxis]
    return Setting(
        backbone=lambda: of_images((SIZE, SIZE, 1), (8, 16, 32), units=64),
        source_tasks=[mtl.tasks.Classification("digit", 10)],
        target_tasks=TASKS,
        source=(singles, {"digit": y[:50_000].astype("int32")}),
        target={
            "train": compose(x[:50_000], y[:50_000], 600, seed),
            "validation": compose(x[50_000:], y[50_000:], 2_000, seed=1_000),
            "test": compose(test_x, test_y, 10_000, seed=2_000),
        },
        source_epochs=2,
        source_batch=128,
        epochs=30,
        batch=30,
    )


def photographs(folder: Path, seed: int) -> Setting:
    """A part of CIFAR-10: animal or vehicle for all training images, and the ten classes for 5 % of them.

    A tenth of each class of the training images is kept for validation, and the source does not see it.
    """
    images: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    names: dict[str, list[str]] = {"train": [], "test": []}
    with tarfile.open(folder / CIFAR) as file:
        for member in file:
            if member.isfile() and member.name.endswith(".jpg"):
                _, part, name, _ = member.name.split("/")
                with Image.open(io.BytesIO(file.extractfile(member).read())) as image:
                    images[part].append(np.asarray(image.convert("RGB")))
                names[part].append(name)
    classes = sorted(set(names["train"]))
    x = {part: np.stack(found) for part, found in images.items()}
    y = {part: np.array([classes.index(name) for name in found], "int32") for part, found in names.items()}
    rng = np.random.default_rng(seed)
    validation = tenth(y["train"], rng)
    x_train, y_train = x["train"][~validation], y["train"][~validation]
    few = np.concatenate([rng.permutation(np.flatnonzero(y_train == index))[:50] for index in range(len(classes))])
    animal = np.isin(y_train, [index for index, name in enumerate(classes) if name in ANIMALS]).astype("int32")
    return Setting(
        backbone=lambda: of_images((32, 32, 3), (16, 32, 64, 64)),
        source_tasks=[mtl.tasks.BinaryClassification("animal")],
        target_tasks=[mtl.tasks.Classification("class", len(classes))],
        source=(x_train, {"animal": animal}),
        target={
            "train": (x_train[few], {"class": y_train[few]}),
            "validation": (x["train"][validation], {"class": y["train"][validation]}),
            "test": (x["test"], {"class": y["test"]}),
        },
        source_epochs=10,
        source_batch=64,
        epochs=30,
        batch=25,
    )


def sentences(folder: Path, seed: int) -> Setting:
    """Reviews of films (MR), praise or not, and reviews of products (CR) with a tenth of the labels.

    Another tenth of CR is for validation and the rest for test. Sentences of these two are in no training set.
    """
    source, target = (read_sentences(folder / "text" / f"{name}.gz") for name in SENTENCES)
    words, labels = (np.array(source[0], "object"), _indices(source[1])), _indices(target[1])
    rng = np.random.default_rng(seed)
    rest = np.array(target[0], "object")
    parts: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    few = tenth(labels, rng)
    parts["train"] = rest[few], labels[few]
    rest, labels = rest[~few], labels[~few]
    validation = tenth(labels, rng)
    parts["validation"], parts["test"] = (
        (rest[validation], labels[validation]),
        (rest[~validation], labels[~validation]),
    )
    leaks = mtl.data.find_leaks(
        {"mr": {"train": words[0]}, "cr": {part: found for part, (found, _) in parts.items()}}
    ).overlaps("train")
    words = tuple(np.delete(values, leaks["mr"]) for values in words)
    parts["train"] = tuple(np.delete(values, leaks["cr"]) for values in parts["train"])
    vectorize = keras.layers.TextVectorization(
        max_tokens=20_000, standardize=None, split="whitespace", output_sequence_length=NUM_WORDS
    )
    vectorize.adapt(np.concatenate([words[0], parts["train"][0]]).astype("str"))

    def encoded(found: np.ndarray, labels: np.ndarray, task: str) -> Examples:
        return np.asarray(vectorize(found.astype("str")), "int32"), {task: labels}

    return Setting(
        backbone=lambda: of_words(vectorize.vocabulary_size()),
        source_tasks=[mtl.tasks.BinaryClassification("film")],
        target_tasks=[mtl.tasks.BinaryClassification("product")],
        source=encoded(*words, "film"),
        target={part: encoded(*found, "product") for part, found in parts.items()},
        source_epochs=4,
        source_batch=64,
        epochs=20,
        batch=25,
    )


def _indices(labels: Sequence[str]) -> np.ndarray:
    return np.unique(labels, return_inverse=True)[1].astype("int32")


def of_images(shape: tuple[int, int, int], filters: Sequence[int], units: int | None = None) -> keras.Model:
    """Blocks of a convolution, a batch normalization and a pooling, and with `units` a dense one over the map."""
    inputs = keras.Input(shape, name="image")
    x = keras.layers.Rescaling(1 / 255, name="rescaling")(inputs)
    for number, count in enumerate(filters, 1):
        x = keras.layers.Conv2D(count, 3, padding="same", use_bias=False, name=f"block{number}_conv")(x)
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"block{number}_norm")(x)
        x = keras.layers.ReLU(name=f"block{number}_relu")(x)
        x = keras.layers.MaxPooling2D(name=f"block{number}_pool")(x)
    if units is not None:
        number = len(filters) + 1
        x = keras.layers.Flatten(name="flatten")(x)
        x = keras.layers.Dense(units, use_bias=False, name=f"block{number}_dense")(x)
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"block{number}_norm")(x)
        x = keras.layers.ReLU(name=f"block{number}_relu")(x)
    return keras.Model(inputs, x, name="images")


def of_words(num_words: int) -> keras.Model:
    """Vectors of words, a convolution over three, a batch normalization, the largest value, and a dense layer."""
    inputs = keras.Input((NUM_WORDS,), dtype="int32", name="words")
    x = keras.layers.Embedding(num_words, 64, name="block1_vectors")(inputs)
    x = keras.layers.Dropout(0.3, name="block1_dropout")(x)
    x = keras.layers.Conv1D(100, 3, padding="same", use_bias=False, name="block2_conv")(x)
    x = keras.layers.BatchNormalization(momentum=0.9, name="block2_norm")(x)
    x = keras.layers.ReLU(name="block2_relu")(x)
    x = keras.layers.GlobalMaxPooling1D(name="block2_max")(x)
    x = keras.layers.Dense(64, activation="relu", name="block3_dense")(x)
    return keras.Model(inputs, keras.layers.Dropout(0.5, name="block3_dropout")(x), name="words")


# By name: what is the source, and what the target.
SETTINGS: dict[str, Callable[[Path, int], Setting]] = {
    "MNIST to MultiMNIST": digits,
    "CIFAR-10, superclass to class": photographs,
    "MR to CR": sentences,
}
