"""Data for some of the tasks, used with a model of all: the labels that are not there are missing ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_mtl.data._labels import Labelled, by_label, check_keys, example_shape, holding


class _Filling(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype
    value: int | float


def mask_missing(
    data: Any, tasks: Sequence[Any], *, batched: bool = True, shapes: Mapping[str, Sequence[int]] | None = None
) -> Any:
    """Adds missing labels for the tasks whose labels the data lack.

    Use it to train, judge or go on training a model of several tasks with data for some of them: `fit` and `evaluate`
    want the labels of all. Labels that are there stay as they are. To make one stream of several data sets, use `mix`,
    which adds the missing labels itself.

    Args:
        data: a `tf.data.Dataset` of `(inputs, {label: values})` or `(inputs, {label: values}, sample_weight)`, or such
            a tuple of arrays.
        tasks: the tasks of the model.
        batched: whether an element of a data set is a batch, as for `fit`, or one example. Defaults to True.
        shapes: the shape of the label of one example, by label, for tasks whose labels have a size that the data
            decide (a segmentation of 64 x 64 pixels: `{"mask": (64, 64)}`). Defaults to none.

    Returns:
        Data of the same kind with the labels of all tasks. Missing ones are NaN in the label's usual dtype where that
        is a float, and -1 where it is an integer.

    Raises:
        ValueError: if the data are of another form, have a label that no task takes or of another shape or dtype, or
            the shape of a label that they lack is not known.

    Example:

    >>> import numpy as np
    >>> from keras_mtl import data, tasks
    >>> kinds = [tasks.Classification("breed", 37), tasks.Regression("age")]
    >>> x, y = data.mask_missing((np.zeros((2, 4)), {"breed": np.array([3, 7])}), kinds)
    >>> y["age"]
    array([nan, nan], dtype=float32)
    """
    keyed = by_label(tasks)
    spec = data.element_spec if isinstance(data, tf.data.Dataset) else data
    if not isinstance(spec, tuple) or len(spec) not in (2, 3) or not isinstance(spec[1], Mapping):
        raise ValueError(
            "Parameter `data` should be a `tf.data.Dataset` of (inputs, {label: values}), with or without sample "
            f"weights, or such a tuple of arrays. Received: {_described(data, spec)}"
        )
    check_keys(spec[1], keyed, "Parameter `data`")
    is_dataset = isinstance(data, tf.data.Dataset)
    for key, labels in spec[1].items():
        _check_label(labels, keyed[key], batched or not is_dataset)
    fillings = {key: _filling(key, keyed[key], shapes or {}) for key in keyed if key not in spec[1]}
    unknown = sorted(set(shapes or {}) - set(keyed))
    if unknown:
        raise ValueError(f"Parameter `shapes` should have keys among {sorted(keyed)}. Received: {unknown}")

    if not is_dataset:
        size = len(next(iter(tf.nest.flatten((data[1], data[0])))))
        added = {key: np.full((size, *fill.shape), fill.value, fill.dtype) for key, fill in fillings.items()}
        return (data[0], {**data[1], **added}, *data[2:])

    def fill(x: Any, y: Any, *rest: Any) -> tuple[Any, ...]:
        lead = [tf.shape(next(iter(tf.nest.flatten((y, x)))))[0]] if batched else []
        added = {
            key: tf.fill([*lead, *filling.shape], tf.constant(filling.value, filling.dtype))
            for key, filling in fillings.items()
        }
        return (x, {**y, **added}, *rest)

    return data.map(fill)


def _check_label(labels: Any, tasks: Sequence[Labelled], batched: bool) -> None:
    shape, dtype = labels.shape, labels.dtype
    for task in tasks:
        if getattr(shape, "rank", len(np.shape(labels))) is not None:
            try:
                task.check_shape(tuple(shape) if batched else (None, *shape))
            except ValueError as error:
                raise ValueError(f"{error} Elements that are examples, and no batches, need `batched=False`.") from None
        task.check_dtype(np.dtype(getattr(dtype, "as_numpy_dtype", dtype)))


def _filling(key: str, tasks: Sequence[Labelled], shapes: Mapping[str, Sequence[int]]) -> _Filling:
    shape = tuple(shapes.get(key, example_shape(tasks[0])))
    if any(size is None for size in shape):
        raise ValueError(
            f"The labels {key!r} of task {tasks[0].name!r} have shape {shape}, whose sizes the data decide: without "
            f"any, give them by `shapes={{{key!r}: ...}}`."
        )
    for task in tasks:
        task.check_shape((None, *shape))
    dtype, value = holding(np.dtype(tasks[0].label_dtype), tasks)
    return _Filling(tuple(int(size) for size in shape if size is not None), dtype, value)


def _described(data: Any, spec: Any) -> str:
    return f"elements like {spec}" if spec is not data else f"{type(data).__name__}"
