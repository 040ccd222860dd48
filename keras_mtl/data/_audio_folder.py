"""Audio clips in folders, or in a table of paths, as batches."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_mtl._checks import check_integer
from keras_mtl.data._augment import Augment, augmented, check_augment
from keras_mtl.data._batches import Prepare
from keras_mtl.data._columns import ClassNames
from keras_mtl.data._file_list import Reading, list_files, read_files


def from_audio_folder(
    folder: str | os.PathLike[str],
    *,
    batch_size: int,
    num_samples: int,
    sample_rate: int = 16000,
    labels: str | Sequence[str] | Mapping[str, str] | None = None,
    table: str | os.PathLike[str] | None = None,
    path_column: str = "path",
    tasks: Sequence[Any] | None = None,
    class_names: ClassNames | None = None,
    prepare: Prepare | None = None,
    augment: Augment | None = None,
    shuffle_seed: int | None = None,
    cache: str | os.PathLike[str] | None = None,
    on_unreadable: str = "raise",
) -> tf.data.Dataset:
    """Batches of audio clips whose labels are the folders that they lie in, or columns of a table of paths.

    Args:
        folder: where the clips are: WAV files of 16-bit samples. Their channels are averaged.
        batch_size: clips in a batch, at least 1. The last batch holds what remains.
        num_samples: how long each clip is to be, in samples, at least 1: a longer one is cut at its end, a shorter one
            filled up with silence.
        sample_rate: samples a second that each file should have; another rate counts as unreadable. Defaults to 16000.
        labels: as in `from_image_folder`.
        table: as in `from_image_folder`.
        path_column: the column of the paths. Defaults to `"path"`.
        tasks: as in `from_image_folder`.
        class_names: as in `from_image_folder`.
        prepare: a function of `(clip, {label: value})` of one example that returns both, within `tf.data` and before
            the cache. Defaults to None.
        augment: a layer or a function of clips `(batch, num_samples)`, or a list of these, after the cache. Defaults to
            None.
        shuffle_seed: an integer of at least 0 for a new order in each epoch that this seed determines. Defaults to
            None: the order of the names, or of the table.
        cache: None, `"memory"`, or the path of a file: decoded clips are kept after the first pass. Defaults to None.
        on_unreadable: `"raise"`: a file that is no such clip ends the reading with an error that names it; `"skip"`: it
            is left out, logged and counted. Defaults to `"raise"`.

    Returns:
        A `tf.data.Dataset` of `(clips, {label: values})`: float32 `(batch, num_samples)` of -1 to 1, and labels
        `(batch,)`. Its attributes: `class_names`, by label; `unreadable`, a list of the files that were skipped so far.

    Raises:
        ValueError: if an argument is out of its range, there is no clip, or labels are not as they should be.

    Example:

    >>> import pathlib, tempfile
    >>> import tensorflow as tf
    >>> from keras_mtl import data
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for word in ("no", "yes"):
    ...         (pathlib.Path(folder) / word).mkdir()
    ...         tf.io.write_file(f"{folder}/{word}/0.wav", tf.audio.encode_wav(tf.zeros((100, 1)), 16000))
    ...     dataset = data.from_audio_folder(folder, labels="word", num_samples=160, batch_size=2)
    ...     clips, y = next(iter(dataset))
    >>> clips.shape, y["word"].numpy().tolist()
    (TensorShape([2, 160]), [0, 1])
    """
    num_samples = check_integer(num_samples, "num_samples")
    sample_rate = check_integer(sample_rate, "sample_rate")
    steps = check_augment(augment, boxes=False, images=False)
    files = list_files(
        folder,
        labels,
        table=table,
        path_column=path_column,
        tasks=tasks,
        class_names=class_names,
        suffixes=(".wav",),
    )

    def decode(path: Any) -> Any:
        clip, rate = tf.audio.decode_wav(tf.io.read_file(path), desired_samples=num_samples)
        check = tf.debugging.Assert(rate == sample_rate, ["sample rate", rate])
        with tf.control_dependencies([check]):
            return tf.ensure_shape(tf.reduce_mean(clip, axis=-1), (num_samples,))

    def finish(batches: tf.data.Dataset) -> tf.data.Dataset:
        def apart(clips: Any, labels: Any) -> Any:
            for step in steps:
                clips = step(clips, training=True) if isinstance(step, keras.Layer) else step(clips)
            return clips, labels

        return augmented(batches, apart if steps else None)

    return read_files(
        files,
        Reading(f"WAV file of {sample_rate} samples a second", decode, tf.zeros((num_samples,))),
        batch_size=batch_size,
        shuffle_seed=shuffle_seed,
        cache=cache,
        prepare=prepare,
        on_unreadable=on_unreadable,
        finish=finish,
    )
