"""Experts, gates over them and what the gates make of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from keras_mtl._checks import check_integer, check_integers, check_name
from keras_mtl._registry import serializable
from keras_mtl.heads import pool

Shape = Sequence[int | None]


@serializable
class Experts(keras.layers.Layer):
    """Several small networks of the same shape on the same input, computed together.

    Each expert is a stack of dense layers. Those of all experts at one depth are one operation: first a single
    multiplication by the kernels side by side, then batched ones. Neither tracing nor the number of variables grows
    with the number of experts. Each expert's kernels are drawn as a `Dense` layer of its own would draw them, Glorot
    uniform, and its biases begin at zero.

    Args:
        num_experts: how many experts there are, at least 1.
        units: units of each dense layer of an expert, at least one layer. Defaults to `(64,)`.
        activation: of every layer, as in `keras.layers.Dense`. Defaults to `"relu"`.
        **kwargs: the arguments of `keras.layers.Layer`.

    Input: vectors `(batch, channels)`. Output: `(batch, num_experts, units[-1])`.

    Raises:
        ValueError: if an argument is out of range, or the input is no vector.

    Example:

    >>> import keras
    >>> from keras_mtl import sharing
    >>> experts = sharing.Experts(4, units=(16, 8))
    >>> experts(keras.Input((32,))).shape
    (None, 4, 8)
    """

    def __init__(
        self, num_experts: int, units: int | Sequence[int] = (64,), activation: Any = "relu", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.num_experts = check_integer(num_experts, "num_experts")
        self.units = check_expert_units(units, "units")
        self.activation = keras.activations.get(activation)

    def build(self, input_shape: Shape) -> None:
        """Creates the weights.

        Depth 0 has the experts' kernels side by side, `[channels, num_experts * units]`; deeper ones have them stacked,
        `[num_experts, inputs, units]`. Biases are `[num_experts, units]`.
        """
        size = input_shape[-1]
        if len(input_shape) != 2 or size is None:
            raise ValueError(
                f"Experts read vectors (batch, channels) of a known number of channels. Received: an input of shape "
                f"{tuple(input_shape)}. Pool it first."
            )
        self.kernels, self.biases = [], []
        for depth, units in enumerate(self.units):
            limit = math.sqrt(6 / (size + units))  # Glorot's, by the inputs and units of one expert
            shape = (self.num_experts, size, units) if depth else (size, self.num_experts * units)
            initializer = keras.initializers.RandomUniform(-limit, limit)
            self.kernels.append(self.add_weight(shape=shape, initializer=initializer, name=f"kernel_{depth}"))
            shape = (self.num_experts, units)
            self.biases.append(self.add_weight(shape=shape, initializer="zeros", name=f"bias_{depth}"))
            size = units
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """The output of each expert."""
        x = ops.reshape(ops.matmul(inputs, self.kernels[0]), (-1, self.num_experts, self.units[0]))
        x = self.activation(x + self.biases[0])  # [batch, num_experts, units]
        if len(self.units) == 1:
            return x
        # Experts first: a batched multiplication with the examples first is 10 times slower on a CPU.
        x = ops.transpose(x, (1, 0, 2))
        for kernel, bias in zip(self.kernels[1:], self.biases[1:], strict=True):
            x = self.activation(ops.matmul(x, kernel) + ops.expand_dims(bias, 1))
        return ops.transpose(x, (1, 0, 2))

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        """A vector for each expert."""
        return (input_shape[0], self.num_experts, self.units[-1])

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {
            **super().get_config(),
            "num_experts": self.num_experts,
            "units": list(self.units),
            "activation": keras.activations.serialize(self.activation),
        }


class BaseGate(keras.layers.Layer):
    """What gates have in common: they weigh experts for a task.

    Args:
        num_experts: how many experts are weighed, at least 1.
        task: the name of the task that the gate serves, or `"shared"`.
        level: the position of the gate's level of experts, from 0. Defaults to 0.
        **kwargs: the arguments of `keras.layers.Layer`.

    Output: weights `(batch, num_experts)`.
    """

    #: What the layer's output is to someone who looks at what was learnt.
    shows: ClassVar[str] = "gates"

    def __init__(self, num_experts: int, task: str, level: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_experts = check_integer(num_experts, "num_experts")
        self.task = check_name(task, "task")
        self.level = check_integer(level, "level", minimum=0)

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        """A weight for each expert."""
        return (input_shape[0], self.num_experts)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        own = {"num_experts": self.num_experts, "task": self.task, "level": self.level}
        return {**super().get_config(), **own}


@serializable
class Gate(BaseGate):
    """A softmax over the experts: `softmax(x W)`, without a bias."""

    def build(self, input_shape: Shape) -> None:
        """Creates the kernel `[channels, num_experts]`."""
        if self.num_experts > 1:
            self.kernel = self.add_weight(shape=(input_shape[-1], self.num_experts), name="kernel")
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """The weights of the experts, in sum 1."""
        if self.num_experts == 1:
            return ops.ones_like(inputs[:, :1])
        return ops.softmax(ops.matmul(inputs, self.kernel))


@serializable
class Mixture(keras.layers.Layer):
    """The sum of experts by a gate's weights.

    Input: weights `(batch, num_experts)`, then one or more outputs of `Experts`, `(batch, experts, units)`, in the
    order of the weights and with as many experts together. Output: `(batch, units)`.
    """

    def call(self, inputs: Sequence[Any]) -> Any:
        """The weighted sum."""
        weights, *groups = inputs
        begin, parts = 0, []
        for group in groups:
            end = begin + group.shape[1]
            parts.append(ops.matmul(ops.expand_dims(weights[:, begin:end], 1), group))  # [batch, 1, units]
            begin = end
        return ops.squeeze(sum(parts[1:], parts[0]), 1)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> tuple[int | None, ...]:
        """One vector."""
        return (input_shape[0][0], input_shape[1][-1])


def softmax_gate(vector: Any, num_experts: int, task: str, *, units: Sequence[int], name: str, level: int = 0) -> Any:
    """The weights of experts by a `Gate`, behind hidden layers with ReLU of these `units`, in float32."""
    for index, number in enumerate(units):
        vector = keras.layers.Dense(number, activation="relu", name=f"{name}_hidden_{index}")(vector)
    return Gate(num_experts, task, level, dtype="float32", name=name)(vector)


def last_vector(features: Mapping[str, Any]) -> Any:
    """The last level of a backbone, averaged to vectors."""
    *_, last = features.values()
    return pool(last, "shared_pool")


def check_expert_units(units: Any, parameter: str) -> tuple[int, ...]:
    """Returns `units` as a tuple if it gives an expert at least one layer."""
    found = check_integers(units, parameter)
    if not found:
        raise ValueError(
            f"Parameter `{parameter}` should give an expert at least one layer. Received: {parameter}={units!r}. "
            "For features without experts use sharing='hard'."
        )
    return found
