"""A metric that counts each label of an example by itself."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_mtl._registry import serializable


@serializable
class LabelwiseMetric(keras.metrics.Metric):
    """Another metric, over the labels instead of the examples, so that each label may be missing on its own.

    `tasks.MultiLabelClassification` makes one of each metric that averages over the labels of an example.

    Args:
        metric: a `keras.metrics.Metric` of values `(batch, ...)` that are means over the last axis, or its config.
        name: the name of this one. Defaults to that of `metric`.
        dtype: of the state. Defaults to that of `metric`.

    Raises:
        ValueError: if it is no metric.

    Example:

    >>> import keras
    >>> from keras_mtl import metrics
    >>> metric = metrics.LabelwiseMetric(keras.metrics.BinaryAccuracy())
    >>> metric.update_state([[1.0, 0.0]], [[0.9, 0.8]], sample_weight=[[1.0, 0.0]])
    >>> float(metric.result())
    1.0
    """

    def __init__(self, metric: Any, name: str | None = None, dtype: Any = None) -> None:
        metric = keras.saving.deserialize_keras_object(metric) if isinstance(metric, dict) else metric
        if not isinstance(metric, keras.metrics.Metric):
            raise ValueError(f"Parameter `metric` should be a `keras.metrics.Metric`. Received: metric={metric!r}")
        super().__init__(name=name or metric.name, dtype=dtype or metric.dtype)
        self.metric = metric

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch.

        Args:
            y_true: labels `(batch, num_labels)`.
            y_pred: predictions of that shape.
            sample_weight: None, or a tensor of that shape or `(batch,)`.
        """
        if sample_weight is not None:
            weights = ops.cast(sample_weight, self.dtype)
            weights = ops.expand_dims(weights, -1) if len(weights.shape) == 1 else weights
            sample_weight = ops.reshape(weights * ops.ones(ops.shape(y_pred), dtype=self.dtype), (-1,))
        labels, predictions = (ops.reshape(ops.convert_to_tensor(value), (-1, 1)) for value in (y_true, y_pred))
        self.metric.update_state(labels, predictions, sample_weight)

    def result(self) -> Any:
        """The other metric's result."""
        return self.metric.result()

    def reset_state(self) -> None:
        """Forgets what was counted."""
        self.metric.reset_state()

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "metric": keras.saving.serialize_keras_object(self.metric)}
