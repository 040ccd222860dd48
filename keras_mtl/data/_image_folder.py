"""Images in folders, or in a table of paths, as batches."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from keras_mtl._checks import check_one_of
from keras_mtl.data._augment import Augment, augmentation, augmented, check_augment
from keras_mtl.data._batches import Prepare, check_size
from keras_mtl.data._columns import ClassNames
from keras_mtl.data._file_list import Reading, list_files, read_files

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif")


def from_image_folder(
    folder: str | os.PathLike[str],
    *,
    batch_size: int,
    image_size: tuple[int, int],
    labels: str | Sequence[str] | Mapping[str, str] | None = None,
    table: str | os.PathLike[str] | None = None,
    path_column: str = "path",
    tasks: Sequence[Any] | None = None,
    class_names: ClassNames | None = None,
    channels: int = 3,
    prepare: Prepare | None = None,
    augment: Augment | None = None,
    shuffle_seed: int | None = None,
    cache: str | os.PathLike[str] | None = None,
    on_unreadable: str = "raise",
) -> tf.data.Dataset:
    """Batches of images whose labels are the folders that they lie in, or columns of a table of paths.

    Images are read, decoded and resized in parallel, and batches are made ahead of the step.

    Args:
        folder: where the images are: JPEG, PNG, BMP or GIF (its first frame).
        batch_size: images in a batch, at least 1. The last batch holds what remains.
        image_size: the height and the width to which images are resized, without regard to their proportions.
        labels: without a `table`, the name of the label that the folders are, or one for each level of folders,
            `["alphabet", "character"]`. With one, the columns that are labels, or the column of each label. Defaults to
            None, with a table and `tasks` only: the columns by the names of the tasks' labels.
        table: a CSV file with a header, of paths relative to `folder` and of labels. An empty cell is a missing
            label. Defaults to None: folders.
        path_column: the column of the paths. Defaults to `"path"`.
        tasks: the tasks, whose labels then have their dtype and their missing label. Defaults to None: integers and
            names are classes, and other numbers are numbers.
        class_names: the names of the classes by label, in the order of their indices. Defaults to None: the names that
            there are, sorted. For other data than those of training, give the ones of training.
        channels: 3 for colours, 1 for shades of grey. Defaults to 3.
        prepare: a function of `(image, {label: value})` of one example that returns both, within `tf.data` and before
            the cache. Defaults to None.
        augment: a Keras preprocessing layer or a function of `{"images": ...}`, or a list of these, for each batch,
            after the cache. Give it for training data only. Defaults to None.
        shuffle_seed: an integer of at least 0 for a new order in each epoch that this seed determines. Defaults to
            None: the order of the names, or of the table.
        cache: None, `"memory"`, or the path of a file: decoded images are kept after the first pass. Defaults to None.
        on_unreadable: `"raise"`: a file that is no image ends the reading with an error that names it; `"skip"`: it is
            left out, logged and counted. Defaults to `"raise"`.

    Returns:
        A `tf.data.Dataset` of `(images, {label: values})`: uint8 `(batch, height, width, channels)` of 0 to 255,
        float32 after an augmentation, and labels `(batch,)`. Its attributes: `class_names`, by label; `unreadable`, a
        list of the files that were skipped so far.

    Raises:
        ValueError: if an argument is out of its range, there is no image, or labels are not as they should be.

    Example:

    >>> import pathlib, tempfile
    >>> import keras, numpy as np
    >>> from keras_mtl import data
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for breed in ("beagle", "pug"):
    ...         (pathlib.Path(folder) / breed).mkdir()
    ...         keras.utils.save_img(f"{folder}/{breed}/0.png", np.zeros((8, 6, 3)))
    ...     dataset = data.from_image_folder(folder, labels="breed", image_size=(4, 4), batch_size=2)
    ...     image, y = next(iter(dataset))
    >>> image.shape, y["breed"].numpy().tolist(), dataset.class_names
    (TensorShape([2, 4, 4, 3]), [0, 1], {'breed': ['beagle', 'pug']})
    """
    size = check_size(image_size, "image_size")
    check_one_of(channels, "channels", (1, 3))
    steps = check_augment(augment, boxes=False)
    files = list_files(
        folder,
        labels,
        table=table,
        path_column=path_column,
        tasks=tasks,
        class_names=class_names,
        suffixes=SUFFIXES,
    )

    def decode(path: Any) -> Any:
        content = tf.io.read_file(path)
        if channels == 1:
            has_own = tf.strings.regex_full_match(path, r"(?i).*\.(bmp|gif)")
            image = tf.cond(
                has_own, lambda: _grey(content), lambda: tf.io.decode_image(content, 1, expand_animations=False)
            )
        else:
            image = tf.io.decode_image(content, channels, expand_animations=False)
        return resized(tf.ensure_shape(image, (None, None, channels)), size)

    return read_files(
        files,
        Reading("image", decode, tf.zeros((*size, channels), "uint8")),
        batch_size=batch_size,
        shuffle_seed=shuffle_seed,
        cache=cache,
        prepare=prepare,
        on_unreadable=on_unreadable,
        finish=lambda batches: augmented(batches, augmentation(steps, [], []) if steps else None),
    )


def _grey(content: Any) -> Any:
    """A BMP or GIF in shades of grey, `(height, width, 1)`, which TensorFlow decodes in its own channels only."""
    image = tf.io.decode_image(content, channels=0, expand_animations=False)
    is_grey = tf.equal(tf.shape(image)[-1], 1)
    return tf.cond(is_grey, lambda: image, lambda: tf.image.rgb_to_grayscale(image[..., :3]))


def resized(image: Any, size: tuple[int, int], method: str = "bilinear") -> Any:
    """An image of integers resized, in its dtype.

    Args:
        image: `(height, width, channels)`.
        size: its new height and width.
        method: of `tf.image.resize`.
    """
    found = tf.image.resize(image, size, method)
    return found if found.dtype == image.dtype else tf.cast(tf.round(found), image.dtype)
