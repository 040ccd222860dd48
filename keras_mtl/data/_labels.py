"""What a data set needs to know of tasks: the keys, shapes and dtypes of their labels, and what a missing one is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np


class Missing(NamedTuple):
    """What stands for a missing label: `MISSING.class_index`, -1, for classes, and `MISSING.number`, NaN, for numbers.

    A task takes either where its labels can hold it: -1 among class indices or yes and no, NaN in every floating-point
    label. A task with an `ignore_label` takes that in place of -1. The example stays in the batch for the other tasks.

    Example:

    >>> import numpy as np
    >>> from keras_mtl import data
    >>> data.MISSING
    Missing(class_index=-1, number=nan)
    >>> breed, age = np.array([3, 7]), np.array([2.0, 5.5])
    >>> breed[0], age[1] = data.MISSING.class_index, data.MISSING.number
    """

    class_index: int = -1
    number: float = float("nan")


MISSING = Missing()


@runtime_checkable
class Labelled(Protocol):
    """What is read of a task."""

    @property
    def name(self) -> str:
        """Names the task."""

    @property
    def label(self) -> str:
        """The key of its labels."""

    @property
    def num_place_axes(self) -> int:
        """How many axes of a prediction are places, each with a label of its own."""

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """The shape of the prediction of one example, places first; None for a size that the data decide."""

    @property
    def label_shape(self) -> tuple[int, ...]:
        """The shape of the label of one example or place; where it is `()`, `(1,)` will do too."""

    @property
    def label_dtype(self) -> str:
        """The dtype that labels usually have."""

    @property
    def missing_label(self) -> int | None:
        """The integer that stands for a missing label."""

    def check_shape(self, shape: Sequence[int | None]) -> None:
        """Raises a `ValueError` for labels of another shape, that of the batch included."""

    def check_dtype(self, dtype: np.dtype) -> None:
        """Raises a `ValueError` for labels of another dtype."""


def by_label(tasks: Any) -> dict[str, list[Labelled]]:
    """The tasks by the key of their labels, which several may share.

    Raises:
        ValueError: if this is no list of at least one task.
    """
    is_list = isinstance(tasks, Sequence) and not isinstance(tasks, str) and len(tasks) > 0
    if not is_list or not all(isinstance(task, Labelled) and not isinstance(task, type) for task in tasks):
        raise ValueError(
            f"Parameter `tasks` should be a list of at least one task, `model.tasks` for one. Received: tasks={tasks!r}"
        )
    found: dict[str, list[Labelled]] = {}
    for task in tasks:
        found.setdefault(task.label, []).append(task)
    return found


def example_shape(task: Labelled) -> tuple[int | None, ...]:
    """The shape of the labels of one example, None for a size that the data decide."""
    return (*task.output_shape[: task.num_place_axes], *task.label_shape)


def holding(dtype: np.dtype, tasks: Sequence[Labelled]) -> tuple[np.dtype, int | float]:
    """The nearest dtype that can hold a missing label of all `tasks`, which share a key, and that missing label.

    Raises:
        ValueError: if there is none.
    """
    if dtype.kind == "f":
        return dtype, MISSING.number
    integers = {task.missing_label for task in tasks}
    integer = integers.pop() if len(integers) == 1 else None
    if integer is not None:
        fits = dtype.kind in "iu" and np.iinfo(dtype).min <= integer <= np.iinfo(dtype).max
        larger = np.dtype("int64" if dtype.itemsize >= 4 else "int32")
        return (dtype if fits else larger), integer
    number = np.dtype("float32")
    try:
        for task in tasks:
            task.check_dtype(number)
    except ValueError as error:
        raise ValueError(
            f"Labels {tasks[0].label!r} of dtype {dtype} are those of tasks {[task.name for task in tasks]}, and no "
            "label can be missing for all of these. Give each task labels of its own, by its argument `label`."
        ) from error
    return number, MISSING.number


def common_dtype(dtypes: Sequence[np.dtype]) -> np.dtype:
    """The dtype that labels of several data sets are brought to: the widest float among them, or integer."""
    floats = [dtype for dtype in dtypes if dtype.kind == "f"]
    if floats:
        return max(floats, key=lambda dtype: dtype.itemsize)
    widest = np.result_type(*dtypes)
    return np.dtype("int64") if widest.kind == "f" else widest  # uint64 with a signed integer


def check_keys(labels: Mapping[str, Any], tasks: Mapping[str, Any], what: str) -> None:
    """Raises if a key of `labels` is no task's."""
    unknown = sorted(set(labels) - set(tasks), key=str)
    if unknown:
        raise ValueError(
            f"{what}: the keys of the labels should be among {sorted(tasks)}. Received: {sorted(labels, key=str)}; not "
            f"expected: {unknown}. Each task takes the labels of its name, or those of its argument `label`; leave "
            "others out by `map`."
        )
