"""Streams examples through a reader in a process of its own, and prints how much memory it took: JSON.

python _streaming.py READER NUMBER FOLDER
"""

import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from keras_mtl import data

BATCH = 1000
LINES = 100_000  # that are made at once


def text_lines(folder, number):
    """A file of as many lines."""
    path = folder / "lines.txt"
    part = "".join(f"{index % 3}\t{index % 5}\tline number {index} of this part\n" for index in range(LINES))
    with path.open("w", encoding="utf-8") as file:
        for begin in range(0, number, LINES):
            left = min(LINES, number - begin)
            file.write(part if left == LINES else "".join(part.splitlines(keepends=True)[:left]))
    pattern = r"(?P<kind>\d)\t(?P<stars>\d)\t(?P<text>.*)"
    return data.from_text_lines(path, pattern, numbers=["stars"], batch_size=BATCH, shuffle_seed=0)


def image_folder(folder, number):
    """A thousand tiny images, again and again."""
    for index in range(1000):
        path = folder / str(index % 2) / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(tf.io.encode_png(tf.zeros((2, 2, 3), "uint8")).numpy())
    dataset = data.from_image_folder(folder, labels="kind", image_size=(2, 2), batch_size=BATCH, shuffle_seed=0)
    return dataset.repeat(-(-number // 1000)).take(-(-number // BATCH))


def builder(folder, number):
    """A prepared data set of 10,000 examples, again and again."""
    import tensorflow_datasets as tfds

    class Numbers(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            vector = tfds.features.Tensor(shape=(8,), dtype=np.float32)
            features = {"x": vector, "kind": tfds.features.ClassLabel(num_classes=3)}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for index in range(10_000):
                yield index, {"x": np.full(8, index, "float32"), "kind": index % 3}

    made = Numbers(data_dir=folder)
    dataset = data.from_tfds(made, "train", inputs="x", labels={"kind": "kind"}, batch_size=BATCH, shuffle_seed=0)
    return dataset.repeat(-(-number // 10_000)).take(-(-number // BATCH))


def megabytes():
    """What the process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main():
    reader, number, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    dataset = {"text_lines": text_lines, "image_folder": image_folder, "tfds": builder}[reader](folder, number)
    begin, seen, first, most = time.perf_counter(), 0, 0.0, 0.0
    for _, y in dataset:
        seen += len(y["kind"])
        if seen <= number // 5:
            first = megabytes()
        most = max(most, megabytes())
    print(json.dumps({"examples": seen, "first": first, "most": most, "seconds": time.perf_counter() - begin}))


if __name__ == "__main__":
    main()
