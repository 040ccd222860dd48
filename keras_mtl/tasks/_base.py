"""What every task is: a name, a head, a loss, metrics, a weight and what its labels look like."""

from __future__ import annotations

import abc
import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

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
    #: What `"accuracy"` means for the task, or None.
    accuracy_class: type[keras.metrics.Metric] | None = None
    #: The label that stands for a missing one, beside NaN; None if there is none.
    missing_label: int | None = None
    #: How many axes of a label, after that of the batch, hold labels of their own, each of which may be missing.
    num_label_axes: int = 0

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
        if not all(isinstance(one, (str, Mapping, keras.metrics.Metric)) for one in metrics):
            raise ValueError(
                "Parameter `metrics` should hold `keras.metrics.Metric`s, names of their classes or configs. Received: "
                f"metrics={metrics!r}"
            )
        self._metrics = [self.metric(metric) for metric in metrics]
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
        """Which labels the task admits: booleans of the shape of `labels`, an array or tensor `(batch, ...)`.

        What it says of labels that are missing does not count.
        """

    @property
    @abc.abstractmethod
    def valid_labels(self) -> str:
        """What those labels should do, in words: "be from 0 to 1"."""

    @abc.abstractmethod
    def check_dtype(self, dtype: np.dtype) -> None:
        """Raises a `ValueError` if labels of this dtype cannot be the task's."""

    def metric(self, identifier: Any) -> keras.metrics.Metric:
        """A metric for the task from an instance, the name of a class, a config or a function.

        Args:
            identifier: as anywhere in Keras. `"accuracy"` is the accuracy that fits the task's labels.

        Raises:
            ValueError: if there is no such metric, or the task knows no accuracy.
        """
        if isinstance(identifier, str) and identifier in ("accuracy", "acc"):
            if self.accuracy_class is None:
                raise ValueError(f"The task {self.name!r} ({type(self).__name__}) has no accuracy. Name another one.")
            return self.accuracy_class(name=identifier)
        metric = keras.metrics.get(identifier)
        if isinstance(identifier, str) and isinstance(metric, keras.metrics.Metric):
            # Keras numbers the metrics of a process, `precision_1`, and the keys of the logs with them.
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

    def missing(self, labels: Any) -> Any:
        """Which labels are missing: NaN, and -1 where labels are classes.

        Args:
            labels: an array or tensor `(batch, ...)`.

        Returns:
            Booleans `(batch,)`: where a label is of several numbers, it is missing if one of them is. For tasks that
            predict something for each place, `(batch, ...)` over the places.
        """
        dtype = keras.backend.standardize_dtype(labels.dtype)
        absent = ops.isnan(labels) if "float" in dtype else ops.zeros_like(labels, dtype="bool")
        if self.missing_label is not None and not dtype.startswith(("uint", "bool")):
            absent = ops.logical_or(absent, ops.equal(labels, self.missing_label))
        within = tuple(range(1 + self.num_label_axes, len(labels.shape)))
        return ops.any(absent, axis=within) if within else absent

    def filled(self, labels: Any, missing: Any) -> Any:
        """The labels with a valid one, 0, in the place of those that are missing: a NaN would spoil all gradients.

        Args:
            labels: a tensor `(batch, ...)`.
            missing: what `missing` said of it.
        """
        rank = len(labels.shape) - len(missing.shape)
        missing = ops.reshape(missing, (*ops.shape(missing), *[1] * rank))
        return ops.where(missing, ops.zeros((), dtype=labels.dtype), labels)

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
        present = ~np.asarray(self.missing(values))
        wrong = values[present][~np.asarray(self.valid(values[present]))]
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


def _fits(received: tuple[int | None, ...], expected: tuple[int, ...]) -> bool:
    return len(received) == len(expected) and all(r in (None, e) for r, e in zip(received, expected, strict=True))


registry: Registry[Task] = Registry("task kind", Task)
