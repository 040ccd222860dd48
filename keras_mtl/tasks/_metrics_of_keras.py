"""Keras' own metrics, by whatever Keras lets them be named, with names that stay the same in the logs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import keras


def check_metrics(metrics: Any) -> None:
    """Raises a `ValueError` unless `metrics` is a list of metrics, names and configs."""
    if not isinstance(metrics, (list, tuple)):
        raise ValueError(f"Parameter `metrics` should be a list. Received: metrics={metrics!r}")
    if not all(isinstance(one, (str, Mapping, keras.metrics.Metric)) for one in metrics):
        raise ValueError(
            "Parameter `metrics` should hold `keras.metrics.Metric`s, names of their classes or configs. Received: "
            f"metrics={metrics!r}"
        )


def keras_metric(identifier: Any) -> keras.metrics.Metric:
    """The metric that Keras knows by an instance, the name of a class, a config or a function.

    Keras numbers the metrics of a process, `precision_1`, and the keys of the logs with them: by a name, the metric is
    called after its class alone.

    Raises:
        ValueError: if there is no such metric.
    """
    metric = keras.metrics.get(identifier)
    if isinstance(identifier, str) and isinstance(metric, keras.metrics.Metric):
        is_alias = identifier.islower()  # "mse"
        name = identifier if is_alias else re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(metric).__name__).lower()
        return type(metric).from_config({**metric.get_config(), "name": name})
    if callable(metric) and not isinstance(metric, keras.metrics.Metric):
        name = identifier if isinstance(identifier, str) else getattr(metric, "__name__", "metric")
        return keras.metrics.MeanMetricWrapper(metric, name=name)
    if not isinstance(metric, keras.metrics.Metric):
        raise ValueError(
            f"A metric should be a `keras.metrics.Metric`, the name of a class, a config or a function. Received: "
            f"{identifier!r}"
        )
    return metric
