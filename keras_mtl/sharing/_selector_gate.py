"""Gates that select some of the experts, by a smooth binary encoding."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mtl._checks import check_integer, check_number
from keras_mtl._registry import serializable
from keras_mtl.sharing._experts import BaseGate, Shape

# Below it, a logarithm counts as one of it.
_LEAST = 1e-6


def smooth_step(x: Any, gamma: float) -> Any:
    """A cubic from 0 at `-gamma / 2` to 1 at `gamma / 2`, flat at both ends and beyond."""
    x = ops.clip(x / gamma, -0.5, 0.5)
    return 0.5 + 1.5 * x - 2.0 * x * x * x


def encode(bits: Any) -> Any:
    """The probability of each number whose binary digits, the first the highest, are 1 with these probabilities.

    Args:
        bits: a tensor `[..., num_bits]`.

    Returns:
        A tensor `[..., 2 ** num_bits]`.
    """
    found = ops.ones_like(bits[..., :1])
    for position in range(bits.shape[-1]):
        bit = bits[..., position : position + 1]
        pairs = ops.stack([found * (1.0 - bit), found * bit], axis=-1)
        found = ops.reshape(pairs, (*ops.shape(bits)[:-1], 2 ** (position + 1)))
    return found


def reachable(codes: Any, num_experts: int) -> Any:
    """What selectors give to experts, and not to codes without one.

    A selector that has settled on such a code, from where no gradient moves it, gives all to an expert instead.

    Args:
        codes: the probability of each number for each selector, `[..., num_selectors, 2 ** num_bits]`.
        num_experts: how many of the numbers, from 0 on, are experts.

    Returns:
        A tensor `[..., num_selectors, num_experts]`.
    """
    found, beyond = codes[..., :num_experts], codes[..., num_experts:]
    if not beyond.shape[-1]:
        return found
    settled = ops.cast(ops.equal(beyond, 1.0), beyond.dtype)
    return found + ops.concatenate([settled, ops.zeros_like(found[..., beyond.shape[-1] :])], axis=-1)


def one_after_another(selectors: Any) -> Any:
    """What selectors give to experts when each leaves alone what those before it have taken.

    Of what a selector gives to an expert, the part that the ones before it have taken goes to the next expert, and so
    on for as many steps as there are selectors before it. So those that have settled are on different experts.

    Args:
        selectors: what each gives to each expert by itself, `[..., num_selectors, num_experts]`.

    Returns:
        A tensor of that shape, in which each selector gives as much in sum.
    """
    taken = ops.zeros_like(selectors[..., 0, :])
    found = []
    for position in range(selectors.shape[-2]):
        given, moving = ops.zeros_like(taken), selectors[..., position, :]
        for _ in range(position):
            stays = moving * ops.maximum(1.0 - taken - given, 0.0)
            given = given + stays
            moving = ops.roll(moving - stays, 1, axis=-1)
        given = given + moving
        taken = taken + given
        found.append(given)
    return ops.stack(found, axis=-2)


class BaseSelectorGate(BaseGate):
    """What gates of selectors have in common.

    Args:
        num_experts: how many experts there are, at least 2.
        task: the name of the task that the gate serves.
        k: how many experts are selected, from 1 to `num_experts`.
        gamma: the width of the smooth step, above 0.
        entropy: the strength of what drives selectors to settle, at least 0.
        level: as in `BaseGate`.
        **kwargs: the arguments of `keras.layers.Layer`.
    """

    def __init__(
        self,
        num_experts: int,
        task: str,
        k: int = 2,
        gamma: float = 1.0,
        entropy: float = 0.3,
        level: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_experts, task, level, **kwargs)
        self.k, self.gamma, self.entropy = check_selection(num_experts, k, gamma, entropy)
        self.num_bits = math.ceil(math.log2(num_experts))

    def add_uniform(self, shape: tuple[int | None, ...], limit: float, name: str, **kwargs: Any) -> Any:
        """A weight drawn from `-limit` to `limit`."""
        # An initializer of its own: one that is used again draws the same numbers.
        initializer = keras.initializers.RandomUniform(-limit, limit)
        return self.add_weight(shape=shape, initializer=initializer, name=name, **kwargs)

    def selectors(self, logits: Any) -> Any:
        """What each selector gives to each expert by itself, `[..., k, num_experts]`, from `[..., k, num_bits]`."""
        return reachable(encode(smooth_step(logits, self.gamma)), self.num_experts)

    def penalty(self, selectors: Any) -> Any:
        """What selectors add to the loss, a scalar: where they depend on the example, in mean."""
        total = ops.zeros_like(selectors[..., 0, 0])
        if self.num_experts < 2**self.num_bits:
            total = total + ops.sum(1.0 / ops.maximum(ops.sum(selectors, axis=-1), _LEAST) - 1.0, axis=-1)
        if self.entropy:
            entropy = -ops.sum(selectors * ops.log(ops.maximum(selectors, _LEAST)), axis=(-2, -1))
            total = total + self.entropy * entropy
        return ops.mean(total)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "k": self.k, "gamma": self.gamma, "entropy": self.entropy}


@serializable
class SelectorGate(BaseSelectorGate):
    """The same selection for every example: of the input only the size of the batch matters."""

    def build(self, input_shape: Shape) -> None:
        """Creates the selectors' logits `[k, num_bits]` and, if there are several, those of their shares `[k]`."""
        self.selector_logits = self.add_uniform(
            (self.k, self.num_bits),
            self.gamma / 100,
            "selector_logits",
            regularizer=lambda logits: self.penalty(self.selectors(logits)),
        )
        if self.k > 1:
            self.share_logits = self.add_uniform((self.k,), 0.05, "share_logits")
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """The weights of the experts."""
        return ops.broadcast_to(self._weights_of_experts(), (ops.shape(inputs)[0], self.num_experts))

    def learnt(self) -> dict[str, np.ndarray]:
        """The weights of the experts, `{"gates": array [num_experts]}`."""
        return {"gates": ops.convert_to_numpy(self._weights_of_experts())}

    def _weights_of_experts(self) -> Any:
        selected = one_after_another(self.selectors(ops.convert_to_tensor(self.selector_logits)))
        if self.k == 1:
            return selected[0]
        return ops.matmul(ops.softmax(ops.convert_to_tensor(self.share_logits)), selected)


@serializable
class ExampleSelectorGate(BaseSelectorGate):
    """A selection for each example, by linear functions of the input."""

    def build(self, input_shape: Shape) -> None:
        """Creates the kernels and biases of the selectors' logits and of those of their shares."""
        self.selector_weights = self._linear("selector", input_shape[-1], self.k * self.num_bits, self.gamma / 100)
        if self.k > 1:
            self.share_weights = self._linear("share", input_shape[-1], self.k, 0.05)
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """The weights of the experts."""
        kernel, bias = self.selector_weights
        logits = ops.reshape(ops.matmul(inputs, kernel) + bias, (-1, self.k, self.num_bits))
        selectors = self.selectors(logits)
        self.add_loss(self.penalty(selectors))
        selected = one_after_another(selectors)
        if self.k == 1:
            return selected[:, 0]
        kernel, bias = self.share_weights
        shares = ops.softmax(ops.matmul(inputs, kernel) + bias)  # [batch, k]
        return ops.sum(ops.expand_dims(shares, -1) * selected, axis=1)

    def _linear(self, name: str, inputs: int | None, units: int, limit: float) -> tuple[Any, Any]:
        kernel = self.add_uniform((inputs, units), limit, f"{name}_kernel")
        return kernel, self.add_uniform((units,), limit, f"{name}_bias")


def check_selection(num_experts: Any, k: Any, gamma: Any, entropy: Any) -> tuple[int, float, float]:
    """Returns `k`, `gamma` and `entropy` if so many experts can be selected, and the numbers are in range."""
    if check_integer(k, "k") > check_integer(num_experts, "num_experts", minimum=2):
        raise ValueError(
            f"Parameter `k` should be at most the number of experts, of which it selects so many. Received: k={k}, "
            f"num_experts={num_experts}. Take fewer, or more experts."
        )
    if not check_number(gamma, "gamma"):
        raise ValueError(f"Parameter `gamma` should be above 0. Received: gamma={gamma!r}")
    return int(k), float(gamma), check_number(entropy, "entropy")
