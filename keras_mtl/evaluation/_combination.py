"""The layer with which an ensemble makes one prediction of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_mtl._registry import serializable

_SMALLEST = 1e-7


@serializable
class Combination(keras.layers.Layer):
    """Combines several predictions of one task.

    Args:
        activation: that of the task's output: `"softmax"` or `"sigmoid"` for classes, anything else for numbers.
        logits: whether the predictions of classes are logits. Then the combination is of the probabilities, and given
            as logits again. Defaults to False.
        weights: what each prediction counts, non-negative numbers of sum 1.
        vote: whether each prediction of classes counts as one vote for the most probable class. Defaults to False.
        **kwargs: as in `keras.layers.Layer`.
    """

    def __init__(
        self,
        activation: str,
        *,
        logits: bool = False,
        weights: Sequence[float] = (),
        vote: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.activation = activation
        self.logits = logits
        self.shares = [float(weight) for weight in weights]
        self.vote = vote

    def call(self, predictions: Sequence[Any]) -> Any:
        """The combined prediction, of the shape of each of them."""
        of_classes = self.activation in ("softmax", "sigmoid")
        found = [self._probabilities(ops.cast(each, self.compute_dtype)) for each in predictions]
        if of_classes and self.vote:
            found = [self._votes(each) for each in found]
        terms = [share * each for share, each in zip(self.shares, found, strict=True)]
        combined = terms[0]
        for term in terms[1:]:
            combined = combined + term
        return self._logits(combined) if of_classes and self.logits else combined

    def _probabilities(self, prediction: Any) -> Any:
        if not self.logits:
            return prediction
        return ops.softmax(prediction) if self.activation == "softmax" else ops.sigmoid(prediction)

    def _votes(self, probabilities: Any) -> Any:
        if self.activation == "softmax":
            size = probabilities.shape[-1]
            return ops.one_hot(ops.argmax(probabilities, axis=-1), size, dtype=self.compute_dtype)
        return ops.cast(probabilities > 0.5, self.compute_dtype)

    def _logits(self, probabilities: Any) -> Any:
        bounded = ops.clip(probabilities, _SMALLEST, 1 - _SMALLEST)
        return ops.log(bounded) if self.activation == "softmax" else ops.log(bounded) - ops.log1p(-bounded)

    def compute_output_shape(self, input_shape: Sequence[Any]) -> Any:
        """That of the first prediction."""
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {
            **super().get_config(),
            "activation": self.activation,
            "logits": self.logits,
            "weights": self.shares,
            "vote": self.vote,
        }
