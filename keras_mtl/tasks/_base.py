"""What every task is: a name, a head, a loss, metrics, a weight and what its labels look like."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mtl import heads
from keras_mtl._checks import check_integers, check_name, check_number
from keras_mtl._registry import Registry
from keras_mtl.losses import Masked
from keras_mtl.tasks._metrics_of_keras import check_metrics, keras_metric


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
        loss: a `keras.losses.Loss`, its name or config, in place of the kind's own, with a value for each label. Labels
            of a class that it ignores, by its `ignore_class`, count as missing, for the metrics, too. It is computed
            of a label 0 in the place of missing ones, and should be defined there: an error relative to the label has
            a gradient of NaN, unless it guards its division, `keras.ops.divide_no_nan`.
        metrics: further metrics (instances, names or configs) beside the kind's own. Kinds whose labels are classes
            know `"precision"`, `"recall"`, `"f1"` and `"average_precision"` too, averaged over the classes.

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
    #: How many axes of a prediction, after that of the batch, are places, each with a label of its own: 1 for
    #: sequences, 2 for images. Their sizes are the data's.
    num_place_axes: int = 0
    #: The shape of the label of one example, or of one place. Where it is `()`, labels of `(1,)` will do too.
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
        check_metrics(metrics)
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

    @property
    def reads_maps(self) -> bool:
        """Whether the head reads feature maps `(batch, ..., channels)`, and cannot do with vectors."""
        return self.num_place_axes > 0

    @property
    def reads_levels(self) -> bool:
        """Whether the head reads the maps of several levels of a backbone, as a list, the finest first."""
        return False

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """The shape of the prediction of one example, None where the size is the data's."""
        return (*[None] * self.num_place_axes, self.num_outputs)

    def own_metrics(self) -> list[keras.metrics.Metric]:
        """Fresh metrics of the kind itself, the primary one first."""
        return [self.primary_metric_class(name=self.primary_metric)]

    def named_metric(self, name: str) -> keras.metrics.Metric | None:
        """The metric that a name stands for with the task's labels, or None where Keras' own is meant.

        Args:
            name: such as `"precision"`.
        """
        del name
        return None

    def adapted(self, loss: keras.losses.Loss) -> keras.losses.Loss:
        """A loss as the task applies it to its labels.

        Args:
            loss: the kind's own, or one that was given in its place.
        """
        return loss

    def metric(self, identifier: Any) -> keras.metrics.Metric:
        """A metric for the task from an instance, the name of a class, a config or a function.

        Args:
            identifier: as anywhere in Keras, and the names that `Task` lists. `"accuracy"` is the accuracy that fits
                the task's labels.

        Raises:
            ValueError: if there is no such metric, or the task knows no accuracy.
        """
        if isinstance(identifier, str) and identifier in ("accuracy", "acc"):
            if self.accuracy_class is None:
                raise ValueError(f"The task {self.name!r} ({type(self).__name__}) has no accuracy. Name another one.")
            return self.accuracy_class(name=identifier)
        named = self.named_metric(identifier) if isinstance(identifier, str) else None
        if named is not None:
            return named
        return keras_metric(identifier)

    def missing(self, labels: Any) -> Any:
        """Which labels are missing: NaN, and -1 where labels are classes.

        Args:
            labels: an array or tensor `(batch, ...)`.

        Returns:
            Booleans `(batch,)`: where a label is of several numbers, it is missing if one of them is. For tasks that
            predict something for each place, `(batch, ...)` over the places.
        """
        absent = Masked.absent(labels, self.missing_label)
        within = tuple(range(1 + self.num_label_axes, len(labels.shape)))
        return ops.any(absent, axis=within) if within else absent

    def filled(self, labels: Any, missing: Any) -> Any:
        """The labels with a valid one, 0, in the place of those that are missing: a NaN would spoil all gradients.

        Args:
            labels: a tensor `(batch, ...)`.
            missing: what `missing` said of it.
        """
        if len(labels.shape) > len(missing.shape):
            missing = ops.reshape(missing, (*ops.shape(missing), *[1] * (len(labels.shape) - len(missing.shape))))
        return ops.where(missing, ops.zeros((), dtype=labels.dtype), labels)

    @property
    def loss(self) -> keras.losses.Loss:
        """What the task is trained by."""
        return self.adapted(self.plain_loss)

    @property
    def plain_loss(self) -> keras.losses.Loss:
        """The loss that it was given, or the kind's own, before `adapted`."""
        return self.default_loss() if self._loss is None else self._loss

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Fresh metrics: the kind's own, then those that were asked for."""
        asked_for = [type(metric).from_config(metric.get_config()) for metric in self._metrics]
        return [*self.own_metrics(), *asked_for]

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

    def check_features(self, features: Any) -> None:
        """Raises a `ValueError` if a head that reads feature maps is given something else.

        Args:
            features: a tensor, or a list of tensors.
        """
        rank = 2 + self.num_place_axes
        found = list(features) if isinstance(features, (list, tuple)) else [features]
        if not found or any(len(one.shape) != rank for one in found):
            named = ", ".join(("batch", *_AXES[self.num_place_axes], "channels"))
            raise ValueError(
                f"The task {self.name!r} ({type(self).__name__}) reads features ({named}). Received: features of shape "
                f"{', '.join(str(tuple(one.shape)) for one in found) or '()'}. Give the model a backbone that ends in "
                "such features (name the layer as `features`), and an architecture that hands them on, as 'hard', "
                "'independent' and 'cross_stitch' do, and mixtures of experts do not."
            )

    def check_shape(self, shape: Sequence[int | None]) -> None:
        """Raises a `ValueError` if labels of this shape, batch dimension included, cannot be the task's."""
        allowed = [(), (1,)] if self.label_shape == () else [self.label_shape]
        received, places = tuple(shape[1:]), self.output_shape[: self.num_place_axes]
        if len(shape) == 0 or not any(_fits(received, (*places, *example)) for example in allowed):
            named = [size or axis for size, axis in zip(places, _AXES[self.num_place_axes], strict=True)]
            expected = " or ".join(str(("batch", *named, *example)).replace("'", "") for example in allowed)
            raise self.label_error(f"have shape {expected}", f"shape {tuple(shape)}")

    def check_output(self, shape: Sequence[int | None]) -> None:
        """Raises a `ValueError` if a prediction of this shape, batch dimension included, cannot be the task's."""
        if len(shape) == 0 or not _fits(tuple(shape[1:]), self.output_shape):
            places = [size or axis for size, axis in zip(self.output_shape, _AXES[self.num_place_axes], strict=False)]
            expected = str(("batch", *places, self.num_outputs)).replace("'", "")
            raise ValueError(f"The output of task {self.name!r} should have shape {expected}. Received: {tuple(shape)}")

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


#: What places are called in messages, by the number of their axes.
_AXES: dict[int, tuple[str, ...]] = {0: (), 1: ("length",), 2: ("height", "width")}


def _fits(received: tuple[int | None, ...], expected: tuple[int | None, ...]) -> bool:
    pairs = zip(received, expected, strict=False)
    return len(received) == len(expected) and all(r is None or e is None or r == e for r, e in pairs)


registry: Registry[Task] = Registry("task kind", Task)
