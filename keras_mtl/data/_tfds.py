"""Splits of TensorFlow Datasets as batches, with features as inputs and labels."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Set
from typing import Any, TypeAlias

import tensorflow as tf

from keras_mtl._checks import check_integer
from keras_mtl._optional import require
from keras_mtl.data._augment import Augment, augmentation, augmented, check_augment
from keras_mtl.data._batches import Prepare, cached, check_common, check_size, prepared, shuffled
from keras_mtl.data._image_folder import resized

Path: TypeAlias = str | tuple[str, ...]


def from_tfds(
    source: Any,
    split: str,
    *,
    labels: Mapping[str, Path],
    batch_size: int,
    inputs: Path | Mapping[str, Path] = "image",
    image_size: tuple[int, int] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    prepare: Prepare | None = None,
    augment: Augment | None = None,
    shuffle_seed: int | None = None,
    shuffle_buffer: int = 1000,
    cache: str | os.PathLike[str] | None = None,
) -> tf.data.Dataset:
    """Batches of a split of TensorFlow Datasets, with some features as inputs and some as labels.

    Features that neither an input nor a label takes are not decoded. Needs the extra `data`.

    Args:
        source: the name of a data set, `"oxford_iiit_pet"`, with config and version if wanted; or a builder. It is
            downloaded and prepared if it was not.
        split: `"train"`, or a slice of one: `"train[:10%]"`.
        labels: the feature of each label: its name, or, of one within another, the names from the outside in:
            `{"breed": "label", "smiling": ("attributes", "Smiling")}`.
        batch_size: examples in a batch, at least 1. The last batch holds what remains.
        inputs: the feature that is the input, or features by the names of several inputs. Defaults to `"image"`.
        image_size: the height and the width to which images, and labels that are maps, are resized, without regard to
            their proportions: images bilinearly, labels to the nearest pixel. Defaults to None: as they are, which
            needs images of one size.
        data_dir: the folder where TensorFlow Datasets keeps its data. Defaults to its own default.
        prepare: a function of `(inputs, {label: value})` of one example that returns both, within `tf.data` and before
            the cache: to count classes from 0, for one. Defaults to None.
        augment: a Keras preprocessing layer or a function of `{"images", "segmentation_masks", "bounding_boxes"}`, or a
            list of these, for each batch, after the cache. Labels that are maps or boxes move with the pixels; a box
            that leaves the image becomes a missing label. Where labels are boxes, layers need
            `bounding_box_format="rel_yxyx"`. Inputs should be one image. Give it for training data only. Defaults to
            None.
        shuffle_seed: an integer of at least 0 for a new order in each epoch that this seed determines. Defaults to
            None: the order of the files.
        shuffle_buffer: how many examples are held to choose the next one from, where there is a `shuffle_seed`; files
            are read in a random order besides. Defaults to 1000.
        cache: None, `"memory"`, or the path of a file: decoded examples are kept after the first pass. Defaults to
            None.

    Returns:
        A `tf.data.Dataset` of `(inputs, {label: values})`. Images are as they are in the data set, mostly uint8
        `(batch, height, width, channels)`, and float32 after an augmentation; maps of one channel are
        `(batch, height, width)`. Its attribute `class_names` has the names of the classes by label, where the data set
        has some.

    Raises:
        ValueError: if an argument is out of its range, there is no such feature or split, or the split is empty.
        ImportError: if the extra is not installed.

    Example:

    >>> import tensorflow_datasets as tfds
    >>> from keras_mtl import data
    >>> pairs = {"breed": "label", "species": "species", "head": "head_bbox"}
    >>> with tfds.testing.mock_data(num_examples=4):
    ...     pets = data.from_tfds("oxford_iiit_pet", "train", labels=pairs, image_size=(32, 32), batch_size=4)
    >>> pets.element_spec[0].shape, sorted(pets.element_spec[1])
    (TensorShape([None, 32, 32, 3]), ['breed', 'head', 'species'])
    """
    check_common(batch_size, shuffle_seed, cache)
    shuffle_buffer = check_integer(shuffle_buffer, "shuffle_buffer")
    size = None if image_size is None else check_size(image_size, "image_size")
    tfds = require("tensorflow_datasets", extra="data", needed_by="data.from_tfds")
    builder = _builder(tfds, source, data_dir)
    features = builder.info.features
    if not isinstance(labels, Mapping) or not labels:
        raise ValueError(
            "Parameter `labels` should be the feature of each label, {'breed': 'label'} for one. Received: "
            f"labels={labels!r}"
        )
    x_paths: dict[str | None, tuple[str, ...]]
    if isinstance(inputs, Mapping):
        x_paths = {key: _path(features, path, f"inputs[{key!r}]", builder) for key, path in inputs.items()}
    else:
        x_paths = {None: _path(features, inputs, "inputs", builder)}
    y_paths = {key: _path(features, path, f"labels[{key!r}]", builder) for key, path in labels.items()}
    boxes = [key for key, path in y_paths.items() if isinstance(_at(features, path), tfds.features.BBoxFeature)]
    steps = check_augment(augment, boxes=bool(boxes))
    pictures = [key for key, path in x_paths.items() if isinstance(_at(features, path), tfds.features.Image)]
    places = {tuple(_at(features, x_paths[key]).shape[:2]) for key in pictures}
    maps = [key for key, path in y_paths.items() if _is_map(tfds, _at(features, path), places)]
    if steps and (len(x_paths) > 1 or not pictures):
        raise ValueError(
            f"With `augment`, there should be one input, an image. Received: inputs={inputs!r}. Augment others "
            "by `map`."
        )
    unsized = [key for key in pictures if None in _at(features, x_paths[key]).shape]
    if size is None and unsized:
        raise ValueError(
            f"Parameter `image_size` should be given, for the images of {builder.name!r} differ in size: feature "
            f"{'/'.join(x_paths[unsized[0]])!r} has shape {_at(features, x_paths[unsized[0]]).shape}. Received: None"
        )

    read_config = tfds.ReadConfig(shuffle_seed=shuffle_seed, try_autocache=False)
    decoders = tfds.decode.PartialDecoding(_nested([*x_paths.values(), *y_paths.values()]))
    try:
        examples = builder.as_dataset(
            split=split, shuffle_files=shuffle_seed is not None, read_config=read_config, decoders=decoders
        )
    except ValueError as error:  # no such split, or a slice of it that is empty
        raise ValueError(
            f"Split {split!r} of {builder.name!r} should be there, and have one example at least. Received: {error}"
        ) from error
    if not isinstance(examples, tf.data.Dataset):
        raise ValueError(f"Parameter `split` should name one split. Received: split={split!r}")
    if examples.cardinality() == 0:
        raise ValueError(f"Split {split!r} of {builder.name!r} should have one example at least. Received: none")

    def pair(example: Any) -> tuple[Any, dict[str, Any]]:
        found = {
            key: resized(_at(example, path), size) if size and key in pictures else _at(example, path)
            for key, path in x_paths.items()
        }
        y = {key: _at(example, path) for key, path in y_paths.items()}
        for key in maps:
            y[key] = _map(y[key], size)
        return (found if isinstance(inputs, Mapping) else found[None]), y

    examples = examples.map(pair, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    examples = cached(prepared(examples, prepare), cache)
    batches = shuffled(examples, shuffle_buffer, shuffle_seed).batch(batch_size)
    function = augmentation(steps, maps, boxes, next(iter(x_paths))) if steps else None
    batches = augmented(batches, function).prefetch(tf.data.AUTOTUNE)
    batches.class_names = {
        key: list(_at(features, path).names or ())
        for key, path in y_paths.items()
        if isinstance(_at(features, path), tfds.features.ClassLabel)
    }
    return batches


def _builder(tfds: Any, source: Any, data_dir: Any) -> Any:
    if isinstance(source, str):
        builder = tfds.builder(source, data_dir=data_dir)
    elif isinstance(source, tfds.core.DatasetBuilder):
        if data_dir is not None:
            raise ValueError(
                f"Parameter `data_dir` should go with the name of a data set; a builder has its own. Received: "
                f"data_dir={data_dir!r}"
            )
        builder = source
    else:
        raise ValueError(
            f"Parameter `source` should be the name of a data set or a builder of it. Received: source={source!r}"
        )
    # TFDS announces its work on the standard output, which belongs to the caller; the progress bar is on the other one.
    with contextlib.redirect_stdout(sys.stderr):
        builder.download_and_prepare()
    return builder


def _path(features: Any, path: Any, parameter: str, builder: Any) -> tuple[str, ...]:
    """The names of a feature from the outside in.

    Raises:
        ValueError: if there is no such feature, or it holds others.
    """
    names = (path,) if isinstance(path, str) else tuple(path)
    node = features
    for name in names:
        if not hasattr(node, "keys") or name not in node:
            there = list(node.keys()) if hasattr(node, "keys") else []
            raise ValueError(
                f"Parameter `{parameter}` should be a feature of {builder.name!r}. Received: {path!r}, and among "
                f"{there} there is no {name!r}"
            )
        node = node[name]
    if hasattr(node, "keys"):
        raise ValueError(
            f"Parameter `{parameter}` should be one feature. Received: {path!r}, which holds {list(node.keys())}. Name "
            f"one by {(*names, next(iter(node.keys())))}"
        )
    return names


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        tree = tree[name]
    return tree


def _nested(paths: list[tuple[str, ...]]) -> dict[str, Any]:
    """The features as TensorFlow Datasets wants them named, for these alone to be decoded."""
    found: dict[str, Any] = {}
    for *outer, last in paths:
        node = found
        for name in outer:
            node = node.setdefault(name, {})
        node[last] = True
    return found


def _is_map(tfds: Any, feature: Any, places: Set[tuple[int | None, ...]]) -> bool:
    """Whether a feature holds something for each pixel of images that have these heights and widths."""
    return isinstance(feature, tfds.features.Image) or (
        isinstance(feature, tfds.features.Tensor)
        and len(feature.shape) in (2, 3)
        and tuple(feature.shape[:2]) in places
    )


def _map(labels: Any, size: tuple[int, int] | None) -> Any:
    channels = labels if labels.shape.rank == 3 else labels[..., tf.newaxis]
    if size is not None:
        channels = resized(channels, size, "nearest")
    return tf.squeeze(channels, -1) if channels.shape[-1] == 1 else channels
