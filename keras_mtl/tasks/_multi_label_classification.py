"""Several labels of an example, each of which may be there or not."""

from __future__ import annotations

from typing import Any

import keras

from keras_mtl._checks import check_integer
from keras_mtl.losses import LabelwiseCrossentropy, LabelwiseLoss
from keras_mtl.metrics import AveragePrecision, LabelwiseMetric
from keras_mtl.tasks._base import registry
from keras_mtl.tasks._yes_or_no import YesOrNo


@registry.register("multi_label_classification")
class MultiLabelClassification(YesOrNo):
    """`num_labels` labels that do not exclude each other: attributes of a face, assays of a molecule.

    The output is a probability for each label, and labels are numbers from 0 to 1, both `(batch, num_labels)`. Each
    label may be missing on its own (-1 or NaN), and the loss is the mean over those that there are. Trained by the
    binary cross-entropy, compared by the mean average precision; the accuracy at a threshold of 0.5 is logged beside
    it.

    Args:
        name: see `Task`.
        num_labels: the number of labels, at least 1.
        class_weights: a pair of finite numbers of at least 0, by which the loss of labels 0 and 1 is multiplied, or a
            list of such pairs, one for each label. Defaults to None: all count alike.
        label_smoothing: how far labels are moved towards 0.5 in the kind's own loss, from 0 to 1. Defaults to 0.
        **kwargs: the other arguments of `Task`. A `loss` is applied to each label by itself, and so are metrics that
            average over the labels of an example.

    Raises:
        ValueError: if an argument is out of range, or `label_smoothing` goes with a `loss`.

    Example:

    >>> from keras_mtl import tasks
    >>> [metric.name for metric in tasks.MultiLabelClassification("assays", num_labels=12).metrics]
    ['mean_average_precision', 'accuracy']
    """

    primary_metric_class = AveragePrecision
    primary_metric = "mean_average_precision"
    num_label_axes = 1

    def __init__(self, name: str, num_labels: int, **kwargs: Any) -> None:
        self.num_labels = self.num_outputs = check_integer(num_labels, "num_labels")
        self.label_shape = (self.num_labels,)
        super().__init__(name, **kwargs)

    def default_loss(self) -> keras.losses.Loss:
        """The binary cross-entropy of each label."""
        return LabelwiseCrossentropy(label_smoothing=self.label_smoothing)

    def adapted(self, loss: keras.losses.Loss) -> keras.losses.Loss:
        """A loss of each label by itself, with the weights of 0 and 1.

        Args:
            loss: the kind's own, or one that was given in its place.
        """
        own = isinstance(loss, (LabelwiseCrossentropy, LabelwiseLoss))
        return super().adapted(loss if own else LabelwiseLoss(loss))

    def own_metrics(self) -> list[keras.metrics.Metric]:
        """The mean average precision, and the accuracy."""
        precision = AveragePrecision(self.num_labels, multi_label=True, name=self.primary_metric)
        return [precision, self.metric("accuracy")]

    def metric(self, identifier: Any) -> keras.metrics.Metric:
        """A metric for the task, as `Task.metric` finds it, over the labels instead of the examples.

        Args:
            identifier: as there.
        """
        metric = super().metric(identifier)
        return LabelwiseMetric(metric) if isinstance(metric, keras.metrics.MeanMetricWrapper) else metric

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "num_labels": self.num_labels}
