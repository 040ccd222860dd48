"""What the logs say of each task by itself, added up in one variable for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


class _OfTasks(keras.metrics.Metric):
    """Numbers for each task, in one variable.

    A metric of Keras' own for each would make several operations a task of every step.

    Args:
        names: what the results are called in the logs.
        name: of the metric.
    """

    def __init__(self, names: Sequence[str], name: str) -> None:
        super().__init__(name=name)
        self.names = list(names)
        self.total = self.add_variable((len(self.names),), "zeros", name="total")

    def _by_name(self, values: Any) -> dict[str, Any]:
        return dict(zip(self.names, ops.unstack(values, len(self.names)), strict=True))


class TaskSums(_OfTasks):
    """A sum for each task."""

    def update_state(self, values: Any) -> None:
        """Adds a number for each task, `[num_tasks]`."""
        self.total.assign(self.total + ops.cast(values, self.total.dtype))

    def result(self) -> dict[str, Any]:
        """The sums by name."""
        return self._by_name(ops.convert_to_tensor(self.total))


class TaskMeans(_OfTasks):
    """A mean for each task; 0 of what has no weight."""

    def __init__(self, names: Sequence[str], name: str) -> None:
        super().__init__(names, name)
        self.count = self.add_variable((len(self.names),), "zeros", name="count")

    def update_state(self, values: Any, counts: Any) -> None:
        """Adds a sum of values and the sum of their weights for each task, `[num_tasks]`."""
        self.total.assign(self.total + ops.cast(values, self.total.dtype))
        self.count.assign(self.count + ops.cast(counts, self.count.dtype))

    def result(self) -> dict[str, Any]:
        """The means by name."""
        return self._by_name(ops.divide_no_nan(self.total, self.count))
