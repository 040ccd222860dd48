"""Stops a training at the first step in which a task's loss or gradient is not finite."""

from __future__ import annotations

from typing import Any

import keras


def raise_on_fault(model: Any, where: str) -> None:
    """Raises an error if a task was left out since the counter began.

    Args:
        model: a compiled model.
        where: the step, as the message has it.

    Raises:
        FloatingPointError: if so. The weights are those before the step: none was trained on since, of several too.
    """
    counts = keras.ops.convert_to_numpy(model.fault_counter.total)
    tasks = [task.name for task, count in zip(model.tasks, counts, strict=True) if count > 0]
    if tasks:
        model.fault_counter.reset_state()
        names = " and ".join(map(repr, tasks))
        raise FloatingPointError(
            f"The loss or the gradient of task {names} was not finite in {where}. The weights are those before it. "
            "Look at the labels and inputs of that batch, lower the learning rate, or pass on_nonfinite='skip' to "
            "`compile` to leave the task out of such steps."
        )


class RaiseOnFault(keras.callbacks.Callback):
    """Looks at the counter after each step, or after each call of several."""

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """No epoch has begun."""
        self._epoch, self._next = 0, 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the epoch."""
        self._epoch, self._next = epoch, 0

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Raises if a task was left out."""
        first, self._next = self._next + 1, batch + 1
        steps = f"step {first}" if first == self._next else f"one of the steps {first} to {self._next}"
        raise_on_fault(self.model, f"{steps} of epoch {self._epoch + 1}")
