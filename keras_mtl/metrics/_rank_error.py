"""How far a predicted class is from the right one, where classes are ordered."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_mtl._registry import serializable


@serializable
class RankError(keras.metrics.Mean):
    """The mean absolute error in ranks, where classes are ordered.

    The predicted rank is the median of the predicted distribution: the first class up to which the probabilities sum to
    at least a half.

    Args:
        name: the name of the metric. Defaults to `"rank_error"`.
        dtype: of the sums. Defaults to `keras.config.floatx()`.

    Example:

    >>> from keras_mtl import metrics
    >>> metric = metrics.RankError()
    >>> metric.update_state([0, 2], [[0.2, 0.2, 0.6], [0.1, 0.3, 0.6]])
    >>> float(metric.result())
    1.0
    """

    def __init__(self, name: str = "rank_error", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch.

        Args:
            y_true: class indices `(batch,)` or `(batch, 1)`.
            y_pred: probabilities `(batch, num_classes)`.
            sample_weight: None, or a tensor `(batch,)` or `(batch, 1)`.
        """
        below = ops.cumsum(ops.cast(y_pred, self.dtype), axis=-1)[:, :-1] < 0.5
        rank = ops.sum(ops.cast(below, self.dtype), axis=-1)
        error = ops.abs(rank - ops.reshape(ops.cast(y_true, self.dtype), (-1,)))
        weights = None if sample_weight is None else ops.reshape(ops.cast(sample_weight, self.dtype), (-1,))
        super().update_state(error, weights)
