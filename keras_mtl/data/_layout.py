"""What the examples of a mixture look like: the inputs and labels that any of its data sets has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_mtl.data._labels import Labelled, by_label, check_keys, common_dtype, example_shape, holding

Specs = dict[Any, Any]  # by key; by None where inputs are one tensor


class Layout:
    """The keys, shapes and dtypes of a mixture's inputs and labels.

    Args:
        datasets: unbatched data sets of `(inputs, {label: value})`, by name.
        tasks: the tasks.
        same_shapes: whether all examples are of one shape, for they meet in a batch.

    Raises:
        ValueError: if a data set yields something else, has a label that no task takes, labels of another shape or
            dtype, or inputs that do not go with those of another, or a task has no labels.
    """

    def __init__(self, datasets: Mapping[str, tf.data.Dataset], tasks: Sequence[Any], *, same_shapes: bool) -> None:
        self._tasks = by_label(tasks)
        self._inputs: dict[str, Specs] = {}
        self._labels: dict[str, Specs] = {}
        for name, dataset in datasets.items():
            self._inputs[name], self._labels[name] = _parsed(name, dataset.element_spec)
            check_keys(self._labels[name], self._tasks, f"Data set {name!r}")
            for key, spec in self._labels[name].items():
                for task in self._tasks[key]:
                    _check_label(name, spec, task)
        unserved = [key for key in self._tasks if not any(key in labels for labels in self._labels.values())]
        if unserved:
            raise ValueError(
                f"Each task should have labels in a data set. Received: no labels {unserved} (of tasks "
                f"{[task.name for key in unserved for task in self._tasks[key]]}) in the data sets {list(datasets)}"
            )
        self._check_forms()
        self._label_targets = {key: self._label_target(key, same_shapes) for key in self._tasks}
        keys = dict.fromkeys(key for specs in self._inputs.values() for key in specs)
        self._input_targets = {key: self._input_target(key, same_shapes) for key in keys}

    def fill(self, x: Any, y: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Examples of one data set `(number, ...)` with the inputs and labels of all."""
        number = tf.shape(next(iter(y.values())))[0]
        labels = {}
        for key, (shape, dtype, value) in self._label_targets.items():
            if key not in y:
                labels[key] = tf.fill([number, *shape], tf.constant(value, dtype))
            else:
                is_column = len(y[key].shape) == len(shape) + 2  # (number, ..., 1)
                labels[key] = tf.cast(tf.squeeze(y[key], -1) if is_column else y[key], dtype)
        if not isinstance(x, Mapping):
            return x, labels
        inputs = {
            key: x[key] if key in x else tf.fill([number, *spec.shape], tf.zeros((), spec.dtype))
            for key, spec in self._input_targets.items()
        }
        return inputs, labels

    def _check_forms(self) -> None:
        forms = {name: sorted(specs, key=str) for name, specs in self._inputs.items()}
        single = [name for name, keys in forms.items() if keys == [None]]
        if single and len(single) < len(forms):
            other = next(name for name in forms if name not in single)
            raise ValueError(
                f"Inputs should be one tensor in all data sets, or dicts by the names of the model's inputs in all. "
                f"Received: one tensor in data set {single[0]!r}, a dict of {forms[other]} in data set {other!r}"
            )

    def _label_target(self, key: str, same_shapes: bool) -> tuple[tuple[int | None, ...], Any, int | float]:
        tasks, having = self._tasks[key], {name: specs[key] for name, specs in self._labels.items() if key in specs}
        dtype = common_dtype([_numpy_dtype(spec) for spec in having.values()])
        value: int | float = 0
        own = example_shape(tasks[0])
        shapes = {name: _without_column(spec.shape, own) for name, spec in having.items()}
        merged = _merged("labels", key, shapes, same_shapes)
        shape = tuple(size if fixed is None else fixed for fixed, size in zip(own, merged, strict=True))
        if len(having) < len(self._labels):
            dtype, value = holding(dtype, tasks)
            lacking = next(name for name in self._labels if name not in having)
            _check_known("labels", key, shape, lacking, having)
        return shape, tf.dtypes.as_dtype(dtype), value

    def _input_target(self, key: Any, same_shapes: bool) -> tf.TensorSpec:
        having = {name: specs[key] for name, specs in self._inputs.items() if key in specs}
        (first, expected), *others = having.items()
        for name, spec in others:
            if type(spec) is not type(expected) or spec.dtype != expected.dtype:
                raise ValueError(
                    f"Inputs{_of(key)} should be alike in all data sets. Expected, as in {first!r}: {expected}. "
                    f"Received, in {name!r}: {spec}"
                )
        shape = _merged("inputs", key, {name: spec.shape for name, spec in having.items()}, same_shapes)
        if len(having) < len(self._inputs):
            lacking = next(name for name in self._inputs if name not in having)
            if not isinstance(expected, tf.TensorSpec):
                raise ValueError(
                    f"Data set {lacking!r} lacks inputs {key!r}, which are {expected} in {first!r}, and only dense "
                    "tensors are filled in. Add them by `map`."
                )
            _check_known("inputs", key, shape, lacking, having)
        return tf.TensorSpec(shape, expected.dtype)


def _parsed(name: str, spec: Any) -> tuple[Specs, Specs]:
    is_pair = isinstance(spec, tuple) and len(spec) == 2 and isinstance(spec[1], Mapping) and len(spec[1]) > 0
    inputs: Specs = {}
    if is_pair:
        inputs = dict(spec[0]) if isinstance(spec[0], Mapping) else {None: spec[0]}
    if not inputs or not all(isinstance(part, tf.TypeSpec) for part in (*inputs.values(), *spec[1].values())):
        raise ValueError(
            f"Data set {name!r} should yield (inputs, {{label: value}}) of one example each, where inputs are a tensor "
            f"or a dict of tensors. Received elements like: {spec}"
        )
    return inputs, dict(spec[1])


def _check_label(name: str, spec: Any, task: Labelled) -> None:
    shape = spec.shape
    expected = example_shape(task)
    is_column = task.label_shape == () and shape.rank == len(expected) + 1 and shape[-1] == 1
    wrong_rank = shape.rank is None or (shape.rank != len(expected) and not is_column)
    try:
        if not isinstance(spec, tf.TensorSpec):
            raise ValueError(f"Labels {task.label!r} of task {task.name!r} should be dense. Received: {spec}.")
        if wrong_rank:
            raise ValueError(
                f"Labels {task.label!r} of task {task.name!r} should be of one example, of shape {expected}. "
                f"Received: shape {shape}. A data set of batches: pass `dataset.unbatch()`."
            )
        task.check_shape((None, *shape))
        task.check_dtype(_numpy_dtype(spec))
    except ValueError as error:
        raise ValueError(f"Data set {name!r}: {error}") from None


def _without_column(shape: tf.TensorShape, example: tuple[int | None, ...]) -> tf.TensorShape:
    """`(..., 1)` as `(...)`, where that is the shape of an example's labels."""
    return shape[:-1] if shape.rank == len(example) + 1 else shape


def _merged(kind: str, key: Any, shapes: Mapping[str, tf.TensorShape], same_shapes: bool) -> tf.TensorShape:
    """The shape of all, with None where they differ or do not say."""
    (first, expected), *others = shapes.items()
    merged = expected
    for name, other in others:
        ranks_differ = other.rank != merged.rank
        if ranks_differ or (same_shapes and not other.is_compatible_with(merged)):
            raise ValueError(
                f"{kind.capitalize()}{_of(key)} should have one shape in all data sets"
                f"{', for they meet in a batch' if not ranks_differ else ''}. Expected, as in {first!r}: {expected}. "
                f"Received, in {name!r}: {other}"
            )
        merged = merged.merge_with(other) if same_shapes else merged.most_specific_compatible_shape(other)
    return merged


def _check_known(kind: str, key: Any, shape: Any, lacking: str, having: Mapping[str, Any]) -> None:
    if None in tuple(shape):
        raise ValueError(
            f"Data set {lacking!r} lacks {kind}{_of(key)}, whose sizes should be known to fill them in. Received, in "
            f"{next(iter(having))!r}: shape {shape}. Set it by `map` and `tf.ensure_shape`."
        )


def _numpy_dtype(spec: Any) -> np.dtype:
    return np.dtype(spec.dtype.as_numpy_dtype)


def _of(key: Any) -> str:
    return "" if key is None else f" {key!r}"
