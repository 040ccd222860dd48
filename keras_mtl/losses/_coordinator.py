"""What the balanced losses of one model share: one of them after the other, Keras asks for each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mtl.balancers import LossBalancer

_NO_CALLBACK = (
    "Balanced losses are trained by only together with their callback. Give it to `fit`: callbacks=[callback]; before "
    "a `train_on_batch` call its `on_train_batch_begin(0)`, after it its `on_train_batch_end(0)`."
)


class Coordinator:
    """Collects the losses of a step, and adds to the total what is missing to the balanced one.

    Keras' total is the sum of what the losses return, and of what the model's layers add. Each loss returns its plain
    value, through which no gradient flows. With the last of them, the difference between the balanced total and the
    plain sum is added, and all gradients flow through that: by a layer of the model, the balancer, if it is attached,
    and otherwise by the last loss, whose log it then is in.

    Args:
        balancer: the balancer.
        names: the names of the tasks.
        weights: what each task counts.
        losses: the loss of each task.
    """

    def __init__(
        self,
        balancer: LossBalancer,
        names: Sequence[str],
        weights: Sequence[float],
        losses: Sequence[keras.losses.Loss],
    ) -> None:
        self.balancer = balancer
        self.attached = False
        self.num_tasks = len(names)
        balancer.bind(names, weights, losses)
        # In evaluation the losses count with these alone.
        self._plain_weights = [float(weight) for weight in balancer.preference(self.num_tasks)]
        self._training = False
        self._collected: dict[int, tuple[Any, Any, Any]] = {}
        # Sums over an epoch, [num_tasks]: of losses times counts, and of counts.
        self._sums = keras.Variable(np.zeros((2, self.num_tasks)), trainable=False, dtype=balancer.compute_dtype)

    def begin_step(self) -> None:
        """From now on until `end_step` the losses are trained by."""
        self._training = True
        self._collected = {}

    def end_step(self) -> None:
        """From now on the losses are evaluated."""
        self._training = False
        self._collected = {}

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Within it the losses are evaluated, and afterwards what they were before."""
        before = self._training, self._collected
        self.end_step()
        try:
            yield
        finally:
            self._training, self._collected = before

    def begin_epoch(self) -> None:
        """Forgets the losses of the epoch before."""
        self._sums.assign(np.zeros((2, self.num_tasks)))

    def end_epoch(self) -> None:
        """Tells the balancer the mean losses of the epoch, if it asks for them."""
        if self.balancer.needs_epoch_end:
            sums, counts = ops.unstack(ops.convert_to_tensor(self._sums), num=2)
            self.balancer.on_epoch_end(ops.divide_no_nan(sums, counts), counts > 0)

    def collect(self, index: int, value: Any, active: Any, count: Any) -> Any:
        """What the loss returns for its value.

        Args:
            index: the number of the task.
            value: its loss in the batch, a scalar.
            active: whether it has a label in the batch, a boolean scalar.
            count: of how many examples, or labels, it is the loss.
        """
        plain = ops.stop_gradient(value) if self._training else without_gradient(value, _NO_CALLBACK)
        if not self._training and set(self._plain_weights) == {1.0}:
            return plain
        if index in self._collected:
            self._collected = {}  # a step that broke off
        self._collected[index] = (value if self._training else plain, active, count)
        if len(self._collected) < self.num_tasks:
            return plain
        losses, actives, counts = zip(*(self._collected[task] for task in range(self.num_tasks)), strict=True)
        self._collected = {}
        total = self._balanced(losses, actives, counts) if self._training else _weighted(losses, self._plain_weights)
        difference = total - ops.cast(sum(ops.stop_gradient(loss) for loss in losses), total.dtype)
        if self.attached:
            self.balancer.add_loss(difference)
            return plain
        return plain + ops.cast(difference, plain.dtype)

    def _balanced(self, losses: Sequence[Any], actives: Sequence[Any], counts: Sequence[Any]) -> Any:
        dtype = self.balancer.compute_dtype
        values = ops.stop_gradient(ops.stack([ops.cast(loss, dtype) for loss in losses]))
        active = ops.stack([ops.convert_to_tensor(item, dtype="bool") for item in actives])
        if self.balancer.needs_epoch_end:
            sizes = ops.where(active, ops.stack([ops.cast(count, dtype) for count in counts]), 0.0)
            self._sums.assign(ops.convert_to_tensor(self._sums) + ops.stack([sizes * values, sizes]))
        total = _weighted(losses, ops.unstack(self.balancer(values, active), num=self.num_tasks))
        return total + ops.cast(self.balancer.regularization(active), total.dtype)


def _weighted(losses: Sequence[Any], weights: Sequence[Any]) -> Any:
    return sum(loss * ops.cast(weight, loss.dtype) for loss, weight in zip(losses, weights, strict=True))


def without_gradient(value: Any, message: str) -> Any:
    """The value; who asks for its gradient gets a `ValueError` with the message."""

    @ops.custom_gradient
    def identity(argument: Any) -> Any:
        def gradient(*upstream: Any, **_: Any) -> Any:
            raise ValueError(message)

        return argument, gradient

    return identity(value)
