"""What the engine asks of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import keras

from keras_mtl.balancers import DirectionBalancer, LossBalancer
from keras_mtl.engine._partition import Partition
from keras_mtl.engine._task_losses import TaskLosses
from keras_mtl.tasks import Task


class TrainableModel(Protocol):
    """A compiled multi-task model, as the steps see it."""

    tasks: Sequence[Task]
    task_losses: TaskLosses
    task_loss_tracker: keras.metrics.Metric
    on_nonfinite: str | None
    fault_counter: Any
    loss_balancer: LossBalancer
    gradient_balancer: DirectionBalancer | None
    optimizer: keras.optimizers.Optimizer
    partition: Partition
    trainable_variables: Sequence[keras.Variable]
    non_trainable_variables: Sequence[keras.Variable]
    losses: Sequence[Any]
    metrics: Sequence[keras.metrics.Metric]
    distribute_strategy: Any
    jit_compile: bool
    run_eagerly: bool
    steps_per_execution: int

    def __call__(self, x: Any, training: bool) -> dict[str, Any]:
        """Predictions by task."""

    def stateless_call(self, trainable: Any, non_trainable: Any, x: Any, training: bool) -> tuple[Any, Any]:
        """Predictions by task with other weights, and the state afterwards."""

    @property
    def output(self) -> dict[str, Any]:
        """Symbolic outputs by task."""

    def train_step(self, data: Any) -> dict[str, Any]:
        """One update of the weights from the batch of a replica."""

    def test_step(self, data: Any) -> dict[str, Any]:
        """One batch of evaluation, of a replica."""

    def reset_metrics(self) -> None:
        """Sets the metrics back to where they began."""

    @property
    def task_metrics(self) -> Sequence[tuple[str, keras.metrics.Metric, bool]]:
        """Tasks, metrics of theirs, and whether they count sample weights."""

    def get_metrics_result(self) -> dict[str, Any]:
        """The logs so far."""
