"""Tells a balancer of the mean losses of an epoch."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_mtl.balancers import LossBalancer


class EpochEnd(keras.callbacks.Callback):
    """Calls the balancer's `on_epoch_end` before other callbacks save its state.

    Args:
        balancer: the loss balancer of the model.
        tasks: the tasks' names.
    """

    def __init__(self, balancer: LossBalancer, tasks: list[str]) -> None:
        super().__init__()
        self._balancer = balancer
        self._tasks = tasks

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Hands on the training losses of the epoch. One of exactly 0 is that of a task without a label."""
        if logs is None or "loss" not in logs:
            return  # data without a batch, of which Keras warns
        losses = np.asarray([logs[f"{task}_loss"] for task in self._tasks], self._balancer.compute_dtype)
        self._balancer.on_epoch_end(losses, np.isfinite(losses) & (losses != 0))
