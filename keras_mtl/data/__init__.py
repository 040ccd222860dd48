"""Data sets that yield `(inputs, {label: values})`.

>>> import tempfile
>>> from keras_mtl import data
>>> with tempfile.TemporaryDirectory() as folder:
...     batches = data.multi_digits("test", batch_size=32, data_dir=folder)
...     sorted(batches.element_spec[1])
['left', 'right', 'sum']
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from keras_mtl.data._audio_folder import from_audio_folder
from keras_mtl.data._check import Checked, check
from keras_mtl.data._dataframe import from_dataframe
from keras_mtl.data._image_folder import from_image_folder
from keras_mtl.data._labels import MISSING
from keras_mtl.data._leaks import Leaks, find_leaks
from keras_mtl.data._missing import mask_missing
from keras_mtl.data._mix import mix
from keras_mtl.data._text_lines import from_text_lines
from keras_mtl.data._tfds import from_tfds

if TYPE_CHECKING:
    import tensorflow as tf


def multi_digits(
    split: str, *, batch_size: int, data_dir: str | os.PathLike[str] | None = None, shuffle_seed: int | None = None
) -> tf.data.Dataset:
    """Images of two overlapping handwritten digits, with the class of each and their sum: MultiMNIST in small.

    A builder of TensorFlow Datasets makes them of the digits that scikit-learn carries, so that nothing is downloaded.
    No source digit is in two splits. The first call prepares the data, which takes seconds. Needs the extras `data`
    and `demo`.

    Args:
        split: `"train"` (6000 examples), `"validation"` (1500), `"test"` (1500), or a slice of one: `"train[:10%]"`.
        batch_size: examples in a batch, at least 1. The last batch holds what remains.
        data_dir: the folder where TensorFlow Datasets keeps its data. Defaults to its own default.
        shuffle_seed: an integer of at least 0 for a new order in each epoch that this seed determines. Defaults to
            None: the order of the files.

    Returns:
        A `tf.data.Dataset` of `(image, {"left": ..., "right": ..., "sum": ...})`: uint8 `(batch, 20, 28, 1)` of 0 to
        255, int64 `(batch,)` of 0 to 9 twice, and float32 `(batch,)` of 0 to 18.

    Raises:
        ValueError: if there is no such split, or an argument is out of its range.
        ImportError: if an extra is not installed.

    Example:

    >>> import tempfile
    >>> from keras_mtl import data
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     image, labels = next(iter(data.multi_digits("test", batch_size=32, data_dir=folder)))
    >>> image.shape
    TensorShape([32, 20, 28, 1])
    """
    from keras_mtl.data._multi_digits import load  # needs an extra

    return load(split, batch_size=batch_size, data_dir=data_dir, shuffle_seed=shuffle_seed)


__all__ = [
    "MISSING",
    "Checked",
    "Leaks",
    "check",
    "find_leaks",
    "from_audio_folder",
    "from_dataframe",
    "from_image_folder",
    "from_text_lines",
    "from_tfds",
    "mask_missing",
    "mix",
    "multi_digits",
]
