"""What every task is: a name, a head, a loss, metrics, a weight and what its labels look like."""

from __future__ import annotations

import abc
import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_mtl import heads
from keras_mtl._checks import check_integers, check_name, check_number
from keras_mtl._registry import Registry


class Task(abc.ABC):
    """Something to predict.

    The kinds of task extend this class: they say how the output looks, what it is trained and judged by, and which
    labels are valid.

    Args:
        name: names the model's output, its logs (`{name}_loss`) and its serving signature: letters, digits and
            underscores, beginning with a letter.
        hidden_units: units of each hidden layer of the task's head. Defaults to none.
        dropout: share of units dropped before the head's output layer in training, 0 <= dropout < 1. Defaults to 0.
        weight: what the task counts among the others, a number of at least 0. Defaults to 1. What a balancer makes of
            it stands in the balancer's documentation; under `"equal"` the loss is multiplied by it.
        label: the key of the task's labels in the data. Defaults to `name`.
        loss: a `keras.losses.Loss`, its name or config, in place of the kind's own.
        metrics: further metrics (instances, names or configs) beside the kind's own.

    Raises:
        ValueError: if an argument is out of range.
    """

    #: The class of the task's own metric: the one that results are compared by.
    primary_metric_class: type[keras.metrics.Metric]
    #: The name of that metric in the logs: `{task name}_{primary_metric}`.
    primary_metric: str
    #: Whether more of that metric is better.
    higher_is_better: bool
    #: How many numbers the task predicts for an example.
    num_outputs: int
    #: The activation of the output.
    activation: str
    #: The shape of the label of one example. Where it is `()`, labels of `(1,)` will do too.
    label_shape: tuple[int, ...] = ()
    #: The dtype that labels usually have.
    label_dtype: str = "float32"

    def __init__(
        self,
        name: str,
        *,
        hidden_units: int | Sequence[int] = (),
        dropout: float = 0.0,
        weight: float = 1.0,
        label: str | None = None,
        loss: Any = None,
        metrics: Sequence[Any] = (),
    ) -> None:
        self.name = check_name(name, "name")
        self.hidden_units = check_integers(hidden_units, "hidden_units")
        self.dropout = check_number(dropout, "dropout", below=1.0)
        self.weight = check_number(weight, "weight")
        if label is not None and (not isinstance(label, str) or not label):
            raise ValueError(f"Parameter `label` should be a key of the labels. Received: label={label!r}")
        self.label = self.name if label is None else label
        self._loss = None if loss is None else keras.losses.get(loss)
        if self._loss is not None and not isinstance(self._loss, keras.losses.Loss):
            raise ValueError(
                f"Parameter `loss` should be a `keras.losses.Loss`, the name of its class ('MeanSquaredError', not "
                f"'mse') or its config. Received: loss={loss!r}"
            )
        if not isinstance(metrics, (list, tuple)):
            raise ValueError(f"Parameter `metrics` should be a list. Received: metrics={metrics!r}")
        self._metrics = [_metric(metric) for metric in metrics]
        names = [metric.name for metric in self.metrics]
        if len(set(names)) < len(names):
            raise ValueError(
                f"The metrics of task {self.name!r} should have different names. Received: {names}, the kind's own "
                "among them. Give an instance with a `name`."
            )

    @abc.abstractmethod
    def default_loss(self) -> keras.losses.Loss:
        """The kind's own loss."""

    @abc.abstractmethod
    def valid(self, labels: Any) -> Any:
        """Which labels the task admits: booleans of the shape of `labels`, an array or tensor `(batch, ...)`."""

    @property
    @abc.abstractmethod
    def valid_labels(self) -> str:
        """What those labels should do, in words: "be from 0 to 1"."""

    @abc.abstractmethod
    def check_dtype(self, dtype: np.dtype) -> None:
        """Raises a `ValueError` if labels of this dtype cannot be the task's."""

    @property
    def loss(self) -> keras.losses.Loss:
        """What the task is trained by."""
        return self.default_loss() if self._loss is None else self._loss

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Fresh metrics: the kind's own, then those that were asked for."""
        asked_for = [type(metric).from_config(metric.get_config()) for metric in self._metrics]
        return [self.primary_metric_class(name=self.primary_metric), *asked_for]

    def head(self, features: Any) -> Any:
        """The task's layers: from features `(batch, ..., channels)` to its prediction `(batch, num_outputs)`."""
        return heads.dense_head(
            features,
            self.name,
            units=self.num_outputs,
            activation=self.activation,
            hidden_units=self.hidden_units,
            dropout=self.dropout,
        )

    def check_shape(self, shape: Sequence[int | None]) -> None:
        """Raises a `ValueError` if labels of this shape, batch dimension included, cannot be the task's."""
        allowed = [(), (1,)] if self.label_shape == () else [self.label_shape]
        received = tuple(shape[1:])
        if len(shape) == 0 or not any(_fits(received, example) for example in allowed):
            expected = " or ".join(str(("batch", *example)).replace("'", "") for example in allowed)
            raise self.label_error(f"have shape {expected}", f"shape {tuple(shape)}")

    def check_labels(self, values: np.ndarray) -> None:
        """Raises a `ValueError` if labels `(batch, ...)` have values that the task does not admit."""
        wrong = values[~np.asarray(self.valid(values))]
        if wrong.size:
            some = ", ".join(str(value) for value in np.unique(wrong)[:10])
            raise self.label_error(self.valid_labels, f"{some} ({wrong.size} of {values.size} labels)")

    def label_error(self, expected: str, received: str, mend: str = "") -> ValueError:
        """The error for labels that cannot be the task's."""
        return ValueError(
            f"Labels {self.label!r} of task {self.name!r} ({type(self).__name__}) should {expected}. "
            f"Received: {received}.{' ' if mend else ''}{mend}"
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {
            "name": self.name,
            "hidden_units": list(self.hidden_units),
            "dropout": self.dropout,
            "weight": self.weight,
            "label": self.label,
            "loss": None if self._loss is None else keras.saving.serialize_keras_object(self._loss),
            "metrics": [keras.saving.serialize_keras_object(metric) for metric in self._metrics],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Task:
        """A task from what `get_config` returned."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


def _metric(identifier: Any) -> keras.metrics.Metric:
    metric = keras.metrics.get(identifier)
    if isinstance(identifier, str) and isinstance(metric, keras.metrics.Metric):
        # Keras numbers the metrics of a process, `precision_1`, and the keys of the logs with them.
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(metric).__name__).lower()
        metric = type(metric).from_config({**metric.get_config(), "name": name})
    if not isinstance(metric, keras.metrics.Metric):
        raise ValueError(
            f"Parameter `metrics` should hold `keras.metrics.Metric`s, names of their classes or configs. "
            f"Received: {identifier!r}"
        )
    return metric


def _fits(received: tuple[int | None, ...], expected: tuple[int, ...]) -> bool:
    return len(received) == len(expected) and all(r in (None, e) for r, e in zip(received, expected, strict=True))


registry: Registry[Task] = Registry("task kind", Task)
