"""The head of a task whose classes have an order: one score, and thresholds that cut it into classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mtl._checks import check_integer
from keras_mtl._registry import serializable
from keras_mtl.heads._dense import hidden_layers, pool

# Keeps neighbouring thresholds apart, so that no class has the probability 0.
_LEAST_STEP = 1e-3


def ordinal_head(
    features: Any, name: str, *, num_classes: int, hidden_units: Sequence[int] = (), dropout: float = 0.0
) -> Any:
    """Hidden layers with ReLU, a score, and the probabilities of ordered classes.

    Args:
        features: a tensor `(batch, channels)`, or a map, which is pooled.
        name: the name of the output layer, and the beginning of the names of the others.
        num_classes: the number of classes, at least 3.
        hidden_units: units of each hidden layer. Defaults to none.
        dropout: share of units dropped before the score in training. Defaults to 0.

    Returns:
        Probabilities `(batch, num_classes)`.

    Example:

    >>> import keras
    >>> from keras_mtl import heads
    >>> heads.ordinal_head(keras.Input((64,)), "grade", num_classes=5).shape
    (None, 5)
    """
    x = hidden_layers(pool(features, f"{name}_pool"), name, hidden_units=hidden_units, dropout=dropout)
    score = keras.layers.Dense(1, use_bias=False, name=f"{name}_score")(x)
    logits = OrdinalLogits(num_classes, dtype="float32", name=f"{name}_logits")(score)
    # The logits are logarithms of probabilities, which the softmax leaves as they are. Losses that find it above their
    # input use the logits.
    return keras.layers.Activation("softmax", dtype="float32", name=name)(logits)


@serializable
class OrdinalLogits(keras.layers.Layer):
    """Logarithms of the probabilities of ordered classes, from a score: the proportional-odds model.

    Source: P. McCullagh, "Regression Models for Ordinal Data", Journal of the Royal Statistical Society B, 1980.

    Args:
        num_classes: the number of classes, at least 3.
        **kwargs: the arguments of `keras.layers.Layer`.

    Raises:
        ValueError: if `num_classes` is out of range.

    Example:

    >>> import numpy as np
    >>> from keras import ops
    >>> from keras_mtl import heads
    >>> [round(float(p), 3) for p in ops.exp(heads.OrdinalLogits(4)(np.zeros((1, 1))))[0]]
    [0.25, 0.25, 0.25, 0.25]
    """

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = check_integer(num_classes, "num_classes", minimum=3)

    def build(self, input_shape: Any) -> None:
        """Creates the thresholds, at first such that all classes are as probable at a score of 0."""
        shares = np.arange(1, self.num_classes) / self.num_classes
        thresholds = np.log(shares / (1 - shares))
        steps = np.log(np.expm1(np.diff(thresholds) - _LEAST_STEP))  # whose softplus the steps are
        for name, values in (("first", thresholds[:1]), ("steps", steps)):
            setattr(self, name, self.add_weight(values.shape, keras.initializers.Constant(values), name=name))
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """The logarithms.

        Args:
            inputs: scores `(batch, 1)`.

        Returns:
            A tensor `(batch, num_classes)`.
        """
        steps = ops.softplus(self.steps) + _LEAST_STEP
        thresholds = ops.concatenate([self.first, self.first + ops.cumsum(steps)])
        distance = thresholds - inputs  # [batch, num_classes - 1]
        up_to, beyond = ops.log_sigmoid(distance), ops.log_sigmoid(-distance)
        # Between thresholds a < b: s(b) - s(a) = s(b) s(-a) (1 - exp(a - b)), which cancels nothing.
        between = up_to[:, 1:] + beyond[:, :-1] + ops.log(-ops.expm1(-steps))
        return ops.concatenate([up_to[:, :1], between, beyond[:, -1:]], axis=-1)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """The shape of the logarithms."""
        return (input_shape[0], self.num_classes)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "num_classes": self.num_classes}
