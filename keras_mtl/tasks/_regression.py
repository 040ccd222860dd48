"""One or several numbers."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mtl._checks import check_integer
from keras_mtl.tasks._base import Task, registry


class Numbers(Task):
    """A task that predicts numbers, for an example or for each place in it: see its arguments at `Task`."""

    primary_metric_class = keras.metrics.MeanAbsoluteError
    primary_metric = "mae"
    higher_is_better = False
    activation = "linear"

    def default_loss(self) -> keras.losses.Loss:
        """The mean squared error."""
        return keras.losses.MeanSquaredError()

    def check_dtype(self, dtype: np.dtype) -> None:
        """Raises unless the dtype is a number."""
        if dtype.kind not in "iuf":
            raise self.label_error("be of an integer or float dtype", f"dtype {dtype}")

    def valid(self, labels: Any) -> Any:
        """Finite numbers."""
        return ops.isfinite(ops.cast(labels, "float32"))

    @property
    def valid_labels(self) -> str:
        """The range, in words."""
        return "be finite numbers"


@registry.register("regression")
class Regression(Numbers):
    """One or several numbers: an age, or, with `num_outputs=4`, a box.

    The output is `(batch, num_outputs)`; labels are finite numbers of the same shape, or `(batch,)` where
    `num_outputs` is 1. An example is missing if one of its numbers is NaN. Trained by the mean squared error, compared
    by the mean absolute error.

    A box is four numbers, its edges or its centre and size, as shares of the image's height and width:
    `Regression("head", num_outputs=4, loss="Huber")`.

    Args:
        name: see `Task`.
        num_outputs: how many numbers are predicted. Defaults to 1.
        **kwargs: the other arguments of `Task`.

    Raises:
        ValueError: if an argument is out of range.

    Example:

    >>> from keras_mtl import tasks
    >>> task = tasks.Regression("age", weight=0.5)
    >>> task.primary_metric, task.higher_is_better
    ('mae', False)
    """

    def __init__(self, name: str, num_outputs: int = 1, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self.num_outputs = check_integer(num_outputs, "num_outputs")
        self.label_shape = () if self.num_outputs == 1 else (self.num_outputs,)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "num_outputs": self.num_outputs}
