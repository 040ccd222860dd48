"""A class for each token."""

from __future__ import annotations

from typing import Any

import keras

from keras_mtl import heads
from keras_mtl.tasks._base import registry
from keras_mtl.tasks._class_indices import ClassIndices


@registry.register("sequence_tagging")
class SequenceTagging(ClassIndices):
    """A class for each token of a sequence: parts of speech, names in a text, states of a signal.

    The output is a probability for each class, `(batch, length, num_classes)`; labels are class indices, `(batch,
    length)`, with or without an axis of 1 at the end, of an integer dtype. Tokens labelled -1 do not count, nor those
    that the mask of the features leaves out, as `Embedding(mask_zero=True)` does with padding: the loss is the mean
    over the others. Trained by the cross-entropy, compared by the accuracy over the tokens.

    The head reads features `(batch, length, channels)` of the labels' length, and looks at each token by itself.

    Args:
        name: see `Task`.
        num_classes: the number of classes, at least 2.
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
    >>> tasks.SequenceTagging("part_of_speech", num_classes=17).head(keras.Input((None, 64))).shape
    (None, None, 17)
    """

    primary_metric_class = keras.metrics.SparseCategoricalAccuracy
    primary_metric = "accuracy"
    higher_is_better = True
    num_place_axes = 1
    num_label_axes = 1

    def head(self, features: Any) -> Any:
        """The layers over each token, from features `(batch, length, channels)`."""
        self.check_features(features)
        return heads.token_head(
            features,
            self.name,
            units=self.num_outputs,
            activation=self.activation,
            hidden_units=self.hidden_units,
            dropout=self.dropout,
        )
