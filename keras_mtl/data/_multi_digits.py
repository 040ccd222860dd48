"""The data set `multi_digits` for TensorFlow Datasets. Importing this module registers it there."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from keras_mtl._checks import check_integer
from keras_mtl._optional import require
from keras_mtl.data._compose import HEIGHT, WIDTH, compose, draw_corners, upscale

tfds: Any = require("tensorflow_datasets", extra="data", needed_by="The data set multi_digits")

_SEED = 0
_SOURCE_SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}
_NUM_EXAMPLES = {
    "default": {"train": 6000, "validation": 1500, "test": 1500},
    "tiny": {"train": 96, "validation": 32, "test": 32},
}

_DESCRIPTION = """\
Two overlapping handwritten digits in one small image, and three tasks: the class of the left digit, the class of the
right digit, and their sum. MultiMNIST in small, made of the 1797 digits of 8 x 8 pixels that come with scikit-learn
(the test part of the UCI data set "Optical Recognition of Handwritten Digits"), so that nothing is downloaded.
Each digit is enlarged to 16 x 16, the two are placed on a canvas of 20 x 28, each within a few pixels at random,
and where they meet the stronger stroke wins. A source digit is in one split only, stratified by class; writers are not
kept apart.
"""

_CITATION = """\
@inproceedings{sabour2017dynamic,
  title = {Dynamic Routing Between Capsules},
  author = {Sabour, Sara and Frosst, Nicholas and Hinton, Geoffrey E.},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2017}
}
@inproceedings{sener2018multi,
  title = {Multi-Task Learning as Multi-Objective Optimization},
  author = {Sener, Ozan and Koltun, Vladlen},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2018}
}
@misc{alpaydin1998optical,
  title = {Optical Recognition of Handwritten Digits},
  author = {Alpaydin, E. and Kaynak, C.},
  howpublished = {UCI Machine Learning Repository},
  year = {1998}
}
"""


def _split_sources(classes: np.ndarray) -> dict[str, np.ndarray]:
    """The rows that each split draws from: disjoint, and with the same share of every class."""
    # The stream of a RandomState, unlike that of a Generator, is frozen: the same data with every release of NumPy.
    random = np.random.RandomState(_SEED)
    bounds = np.cumsum(list(_SOURCE_SHARES.values()))[:-1]
    parts: dict[str, list[np.ndarray]] = {split: [] for split in _SOURCE_SHARES}
    for label in np.unique(classes):
        rows = random.permutation(np.flatnonzero(classes == label))
        cuts = np.rint(bounds * len(rows)).astype(int)
        for split, part in zip(_SOURCE_SHARES, np.split(rows, cuts), strict=True):
            parts[split].append(part)
    return {split: np.sort(np.concatenate(part)) for split, part in parts.items()}


class MultiDigits(tfds.core.GeneratorBasedBuilder):
    """Two overlapping handwritten digits in one image: the left one, the right one, and their sum.

    A small MultiMNIST that trains in seconds on a laptop and needs no download: the digits are those of scikit-learn.
    Use it to try a method, or to compare several, before going to a data set of real size. Two configs: `"default"`
    (6000 / 1500 / 1500 examples in train / validation / test) and `"tiny"` (96 / 32 / 32).

    Features: `image` uint8 `(20, 28, 1)`; `left` and `right`, classes 0 to 9; `sum`, float32 from 0 to 18;
    `left_source` and `right_source`, the rows of `sklearn.datasets.load_digits` that the image is made of: no row
    is in two splits.

    Papers: Sabour, Frosst and Hinton, "Dynamic Routing Between Capsules", NeurIPS 2017, for MultiMNIST; Sener and
    Koltun, "Multi-Task Learning as Multi-Objective Optimization", NeurIPS 2018, for its use with several tasks. Differs
    from both in the source of the digits (UCI for MNIST), in size, and in the third task, the sum.

    Args:
        data_dir: the folder where TensorFlow Datasets keeps its data, or `None` for its own default.
        config: `"default"` or `"tiny"`.

    Example:

    >>> builder = MultiDigits(config="tiny")
    >>> builder.info.features["image"].shape
    (20, 28, 1)
    >>> builder.info.supervised_keys
    ('image', {'left': 'left', 'right': 'right', 'sum': 'sum'})
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=name, description=" / ".join(f"{n} {split}" for split, n in sizes.items()))
        for name, sizes in _NUM_EXAMPLES.items()
    ]

    def _info(self) -> Any:
        source = {"dtype": np.int32, "doc": "Row of sklearn.datasets.load_digits"}
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(HEIGHT, WIDTH, 1), encoding_format="png"),
                    "left": tfds.features.ClassLabel(num_classes=10),
                    "right": tfds.features.ClassLabel(num_classes=10),
                    "sum": tfds.features.Scalar(dtype=np.float32),
                    "left_source": tfds.features.Scalar(**source),
                    "right_source": tfds.features.Scalar(**source),
                }
            ),
            supervised_keys=("image", {"left": "left", "right": "right", "sum": "sum"}),
            homepage="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
            citation=_CITATION,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        datasets = require("sklearn.datasets", extra="demo", needed_by="The data set multi_digits")
        digits = datasets.load_digits()
        images = upscale(digits.images / 16)
        return {
            split: self._generate_examples(
                images, digits.target, rows, _NUM_EXAMPLES[self.builder_config.name][split], seed=[_SEED, index]
            )
            for index, (split, rows) in enumerate(_split_sources(digits.target).items())
        }

    def _generate_examples(
        self, images: np.ndarray, classes: np.ndarray, rows: np.ndarray, num_examples: int, seed: list[int]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        random = np.random.RandomState(seed)
        for key in range(num_examples):
            left, right = random.choice(rows, size=2)
            yield (
                key,
                {
                    "image": compose(images[left], images[right], *draw_corners(random)),
                    "left": classes[left],
                    "right": classes[right],
                    "sum": classes[left] + classes[right],
                    "left_source": left,
                    "right_source": right,
                },
            )


def load(
    split: str, *, batch_size: int, data_dir: str | os.PathLike[str] | None = None, shuffle_seed: int | None = None
) -> tf.data.Dataset:
    """Batches of `multi_digits` for `fit`, kept in memory; the first call prepares the data, which takes seconds.

    Args:
        split: `"train"`, `"validation"`, `"test"`, or a slice of one: `"train[:10%]"`.
        batch_size: examples in a batch, at least 1. The last batch holds what remains.
        data_dir: the folder where TensorFlow Datasets keeps its data, or `None` for its own default.
        shuffle_seed: an integer of at least 0 for a new order in each epoch that this seed determines; `None` for the
            order of the files.

    Returns:
        A `tf.data.Dataset` of `(image, {"left": ..., "right": ..., "sum": ...})`: uint8 `(batch, 20, 28, 1)`, int64
        and float32 `(batch,)`.

    Raises:
        ValueError: if there is no such split, or an argument is out of its range.

    Example:

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for image, labels in load("test[:40]", batch_size=32, data_dir=folder):
    ...         print(image.shape, sorted(labels))
    (32, 20, 28, 1) ['left', 'right', 'sum']
    (8, 20, 28, 1) ['left', 'right', 'sum']
    """
    batch_size = check_integer(batch_size, "batch_size")
    if shuffle_seed is not None:
        shuffle_seed = check_integer(shuffle_seed, "shuffle_seed", minimum=0)
    builder = MultiDigits(data_dir=data_dir)
    # TFDS announces its work on the standard output, which belongs to the caller; the progress bar is on the other one.
    with contextlib.redirect_stdout(sys.stderr):
        builder.download_and_prepare()
    # Into memory as a whole. `cache` would not do: abandoned in its first pass, which Keras' `fit` may do, the pipeline
    # of TensorFlow Datasets ends as if it were complete, and the cache then holds a part of the examples for good.
    split_dataset = builder.as_dataset(split=split, as_supervised=True)
    everything = next(iter(split_dataset.batch(max(len(split_dataset), 1))))
    dataset = tf.data.Dataset.from_tensor_slices(everything)
    if shuffle_seed is not None:
        dataset = dataset.shuffle(len(dataset), seed=shuffle_seed, reshuffle_each_iteration=True)
    return dataset.batch(batch_size).prefetch(tf.data.AUTOTUNE)
