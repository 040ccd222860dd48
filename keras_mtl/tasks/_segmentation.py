"""A class for each pixel."""

from __future__ import annotations

from typing import Any

import keras

from keras_mtl import heads
from keras_mtl._checks import check_one_of
from keras_mtl.metrics import MeanIoU
from keras_mtl.tasks._base import registry
from keras_mtl.tasks._class_indices import ClassIndices
from keras_mtl.tasks._decoder import DECODERS, check_levels
from keras_mtl.tasks._label_size import check_label_size


@registry.register("segmentation")
class Segmentation(ClassIndices):
    """A class for each pixel of an image.

    The output is a probability for each class, `(batch, height, width, num_classes)`; labels are class indices,
    `(batch, height, width)`, with or without an axis of 1 at the end, of an integer dtype. Pixels labelled
    `ignore_label` do not count, and the loss is the mean over the others. Trained by the cross-entropy, compared by the
    mean intersection over union; the accuracy over the pixels is logged beside it.

    The head reads feature maps: 3 x 3 convolutions with as many filters as `hidden_units` tells, one with 1 x 1 windows
    to the classes, then bilinear upsampling. Under `decoder="pyramid"` it reads the maps of all levels of the backbone,
    and fuses them first, in the size of the finest: outlines become sharper, at the cost of larger maps.

    Args:
        name: see `Task`.
        num_classes: the number of classes, at least 2.
        ignore_label: the label of pixels that do not count, an integer that is no class, such as 255. Defaults to -1.
        label_size: height and width of the labels and of the output, two positive integers. Defaults to those of the
            model's image.
        decoder: `"last"`, which reads the last level of the backbone, or `"pyramid"`, which reads all, under
            architectures that hand them on: `"hard"`, `"independent"`, `"soft"`, `"cross_stitch"`, `"nddr"` and
            `"mtan"`. The levels are those of known size: give the backbone an `input_shape`, or name its layers as
            `features`. Defaults to `"last"`.
        class_weights: a finite number of at least 0 for each class, by which the loss of its labels is multiplied.
            Defaults to None: all count alike.
        label_smoothing: the share of a label that is spread evenly over all classes in the kind's own loss, from 0 to
            1. Defaults to 0.
        **kwargs: the other arguments of `Task`.

    Raises:
        ValueError: if an argument is out of range, or `label_smoothing` goes with a `loss`.

    Example:

    >>> import keras
    >>> from keras_mtl import tasks
    >>> image = keras.Input((32, 48, 3))
    >>> features = keras.layers.Conv2D(8, 3, strides=4, padding="same")(image)
    >>> tasks.Segmentation("mask", num_classes=3).head(features).shape
    (None, 32, 48, 3)
    """

    primary_metric_class = MeanIoU
    primary_metric = "mean_iou"
    higher_is_better = True
    num_place_axes = 2
    num_label_axes = 2

    def __init__(
        self,
        name: str,
        num_classes: int,
        *,
        ignore_label: int = -1,
        label_size: Any = None,
        decoder: str = "last",
        **kwargs: Any,
    ) -> None:
        self.label_size = check_label_size(label_size)
        self.decoder = check_one_of(decoder, "decoder", DECODERS)
        super().__init__(name, num_classes, **kwargs)
        is_integer = isinstance(ignore_label, int) and not isinstance(ignore_label, bool)
        if not is_integer or 0 <= ignore_label < self.num_classes:
            raise ValueError(
                f"Parameter `ignore_label` should be an integer that is no class, none from 0 to "
                f"{self.num_classes - 1}. Received: ignore_label={ignore_label!r}"
            )
        self.ignore_label = self.missing_label = ignore_label

    @property
    def reads_levels(self) -> bool:
        """Whether it decodes a pyramid."""
        return self.decoder == "pyramid"

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """Height and width, where they are given, and the classes."""
        return (*(self.label_size or (None, None)), self.num_outputs)

    def own_metrics(self) -> list[keras.metrics.Metric]:
        """The mean intersection over union, and the accuracy."""
        return [MeanIoU(self.num_classes, name="mean_iou"), keras.metrics.SparseCategoricalAccuracy(name="accuracy")]

    def head(self, features: Any) -> Any:
        """The decoder: from a map `(batch, height, width, channels)`, or a list of maps from the finest on."""
        self.check_features(features)
        check_levels(self, features)
        return heads.map_head(
            features,
            self.name,
            units=self.num_outputs,
            activation=self.activation,
            hidden_units=self.hidden_units,
            dropout=self.dropout,
            size=self.label_size,
        )

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        size = None if self.label_size is None else list(self.label_size)
        return {**super().get_config(), "ignore_label": self.ignore_label, "label_size": size, "decoder": self.decoder}
