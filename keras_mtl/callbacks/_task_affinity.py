"""Which task helps which, measured in one joint training."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_mtl._checks import check_integer, check_number
from keras_mtl.model import MultiTaskModel


class TaskAffinity(keras.callbacks.Callback):
    """Measures, while tasks are trained together, by how much a step on one task's loss lowers the loss of another.

    When to use: with more than a few tasks, to find out in one joint training which of them should be trained together.
    `evaluation.group_tasks` makes groups of the result; `evaluation.affinity`, which trains every pair, is what it
    stands in for.

    Every `every` steps, before the step, on its batch: for each task i the shared parameters take a step on the loss of
    i alone, and the losses of all tasks are computed with them. The affinity of i onto j is
    `(L_j(before) - L_j(after)) / |L_j(before)|`; more than 0 means that i helped j, for losses below 0 too. (The paper
    has `1 - L_j(after) / L_j(before)`, the same for losses above 0.) `affinity` is the mean over all measurements.
    The tasks' own parameters stay where they are, units that are dropped are the same before and after, and afterwards
    weights, optimizer, balancer, moving statistics and random streams are what they were: the training is the same, bit
    for bit, with and without the callback. (Under several replicas, up to rounding: there, the step after a measurement
    is that of `train_on_batch`, another graph than that of `fit`.)

    Losses are those of the tasks, without the tasks' `weight`s, a balancer's weights or regularization. A pair of which
    one task has no label in the batch, or where the loss of j is 0 or not finite, does not count in it; neither does a
    step on a gradient that is not finite, such as one that overflows in float16. Beside `transfer.FineTuning`, the step
    is that of the stage's weights, and a stage that trains no shared weight is not measured.

    Each measurement takes, for T tasks, T passes backward and T + 1 forward, about T steps of training.

    Source: C. Fifty, E. Amid, Z. Zhao, T. Yu, R. Anil, C. Finn, "Efficiently Identifying Task Groupings for Multi-Task
    Learning", NeurIPS 2021, equation 1. As in the paper, the step is that of the training's optimizer, with the moments
    that it has. The authors' code divides the affinities by the learning rate besides, which changes nothing as long as
    that is constant. Where one measures less often than in every step, the paper too takes the mean over those.

    Args:
        every: steps from one measurement to the next, the first being before the first step. Defaults to None:
            `5 * (T + 1)` for T tasks, so that all measurements take some 20 % of the time of training. Under
            `steps_per_execution` it is rounded up to whole executions, and the first batch of one is measured.
        learning_rate: of a step of plain gradient descent in place of the optimizer's, a number of more than 0. For
            optimizers whose moments, which are of all tasks, hide what the one task does, and those of which not every
            step is one: with `gradient_accumulation_steps` or `ema_overwrite_frequency`. Defaults to None: the
            optimizer's step.
        log: whether the means so far stand in the logs of each epoch, as `affinity_{i}_to_{j}`, and so in the history.
            Defaults to False.

    Attributes:
        affinity: the means, `[num_tasks, num_tasks]`, of row i onto column j: NaN for a pair that was never measured.
        counts: the number of measurements of each pair, `[num_tasks, num_tasks]`.
        tasks: the tasks' names, in the order of rows and columns.

    Several calls of `fit` of one model are one training, until `reset` is called; with another model it begins anew.
    `keras.callbacks.BackupAndRestore` brings back models and no callbacks: save `get_state()` for a training that is
    taken up in another process, and give it to `set_state` before `fit`.

    Raises:
        ValueError: if an argument is out of range; from `fit`, before any training, if the model is no compiled
            `MultiTaskModel` whose tasks share trainable weights.

    Example:

    >>> import numpy as np
    >>> import keras_mtl as mtl
    >>> model = mtl.build_model("mlp", [mtl.tasks.Regression("a"), mtl.tasks.Regression("b")], input_shape=(3,))
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).normal(size=(64, 3))
    >>> callback = mtl.callbacks.TaskAffinity(every=2)
    >>> history = model.fit(x, {"a": x[:, 0], "b": x[:, 1]}, batch_size=16, verbose=0, callbacks=[callback])
    >>> callback.tasks, callback.affinity.shape, callback.counts.tolist()
    (('a', 'b'), (2, 2), [[2, 2], [2, 2]])
    """

    def __init__(self, every: int | None = None, learning_rate: float | None = None, log: bool = False) -> None:
        super().__init__()
        self.every = None if every is None else check_integer(every, "every")
        self.learning_rate = None if learning_rate is None else check_number(learning_rate, "learning_rate")
        if self.learning_rate == 0:
            raise ValueError("Parameter `learning_rate` should be more than 0. Received: learning_rate=0")
        self.log = log
        self.tasks: tuple[str, ...] = ()
        self._measured: Any = None  # the model
        self._look_ahead: Any = None
        self._made_for: Any = None  # what was trained: new with every train function that is made
        self.reset()

    @property
    def affinity(self) -> np.ndarray:
        """The mean affinities so far, `[num_tasks, num_tasks]`, of row i onto column j."""
        means = np.full(self._sums.shape, np.nan)
        return np.divide(self._sums, self.counts, out=means, where=self.counts > 0)

    def reset(self) -> None:
        """Forgets what was measured."""
        number = len(self.tasks)
        self._sums = np.zeros((number, number))
        self.counts = np.zeros((number, number), int)
        self._until_next = 0

    def get_state(self) -> dict[str, Any]:
        """What was measured, as lists and numbers that can be written as JSON."""
        return {
            "tasks": list(self.tasks),
            "sums": self._sums.tolist(),
            "counts": self.counts.tolist(),
            "until_next": self._until_next,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Takes up what `get_state` returned, for the next `fit`.

        Raises:
            ValueError: if it is not such a state.
        """
        keys = {"tasks", "sums", "counts", "until_next"}
        if not isinstance(state, Mapping) or set(state) != keys:
            raise ValueError(f"The state should be what `get_state` returned, with the keys {sorted(keys)}.")
        shape = (len(state["tasks"]),) * 2
        sums, counts = np.array(state["sums"], float), np.array(state["counts"], int)
        if not sums.shape == counts.shape == shape:
            raise ValueError(
                f"The state of {shape[0]} tasks should have `sums` and `counts` of shape {shape}. Received: shapes "
                f"{sums.shape} and {counts.shape}. Give what `get_state` returned."
            )
        self.tasks = tuple(state["tasks"])
        self._sums, self.counts, self._until_next = sums, counts, int(state["until_next"])
        self._measured = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Checks the model, and begins anew if it is another one."""
        model = self.model
        if not isinstance(model, MultiTaskModel):
            raise ValueError(f"`TaskAffinity` is for a `MultiTaskModel`. Received: a {type(model).__name__}")
        names = tuple(task.name for task in model.tasks)
        taken_up = self._measured is None and self.tasks
        if taken_up and names != self.tasks:
            raise ValueError(
                f"The state that was set is of the tasks {list(self.tasks)}. Received: a model of the tasks "
                f"{list(names)}"
            )
        if self._measured is not model and not taken_up:
            self.tasks = names
            self.reset()
        model.check_look_ahead(self.learning_rate)
        self._measured = model

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Asks for the batch if a measurement is due."""
        self._first = batch
        if self._until_next > 0:
            return
        parts = self.model.partition
        if self._made_for is not parts:  # a callback such as `FineTuning` has frozen or released weights
            self._look_ahead = self.model.make_look_ahead(self.learning_rate) if parts.shared else None
            self._made_for = parts
        if self._look_ahead is not None:
            self.model.observe_next_batch(self._measure)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Counts the steps, of which there may be several in an execution."""
        self._until_next -= batch - self._first + 1

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the means to the logs if that was asked for."""
        if self.log and logs is not None:
            for source, row in zip(self.tasks, self.affinity, strict=True):
                logs.update(
                    {f"affinity_{source}_to_{target}": float(z) for target, z in zip(self.tasks, row, strict=True)}
                )

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Says so if there was nothing to measure."""
        if self._look_ahead is None and not self.counts.any() and self._made_for is self.model.partition:
            warnings.warn(
                "`TaskAffinity` has measured nothing, as no weight that tasks share was trained. Release some: "
                "`transfer.unfreeze`.",
                stacklevel=2,
            )

    def _measure(self, batch: Any) -> None:
        affinity, defined = self._look_ahead(batch)
        self._sums += np.where(defined, affinity, 0.0)
        self.counts += defined
        self._until_next = 5 * (len(self.tasks) + 1) if self.every is None else self.every
