"""Which task helps which: every pair trained together, beside each task alone."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_mtl.evaluation._gain_matrix import GainMatrix
from keras_mtl.evaluation._plan import Found, Plan, make_plan
from keras_mtl.evaluation._runs import Job, carry_out
from keras_mtl.model import MultiTaskModel
from keras_mtl.tasks import Task


def affinity(
    build: Callable[[Sequence[Task]], MultiTaskModel],
    tasks: Sequence[Any],
    train: Any,
    validation: Any,
    *,
    epochs: int,
    balancer: Any = "equal",
    optimizer: Any = "adam",
    seed: int = 0,
    folder: str | os.PathLike[str] | None = None,
    workers: int = 1,
    verbose: Any = 1,
) -> GainMatrix:
    """Trains each task alone and each pair of tasks together, and gives what each gains by each other one.

    When to use: to find out which tasks to train together, where `T * (T + 1) / 2` trainings for T tasks are
    affordable. `callbacks.TaskAffinity` estimates it in one joint training. `group_tasks` makes groups of either.

    Every model begins from the same seed, sees the same data for the same number of epochs, and has an optimizer of the
    same configuration. Metrics are those of the last epoch. Each pair is trained once, so that small gains may be
    chance.

    Source: T. Standley, A. Zamir, D. Chen, L. Guibas, J. Malik, S. Savarese, "Which Tasks Should Be Learned Together in
    Multi-task Learning?", ICML 2020, which predicts the value of larger groups from that of the pairs.

    Args:
        build: makes a model for the tasks that it is given: a new one, sharing no weights, at each call.
        tasks: the tasks, at least two.
        train: a `tf.data.Dataset` of `(inputs, {label: values})`, batched, or a function that makes one for the tasks
            that it is given. Of a data set, all examples are used for all models, with the labels of their tasks. A
            function gives exactly repeatable orders, where the data set shuffles, and may leave out examples.
        validation: the same, for the metrics that are compared. What is reported at the end should be measured on
            others.
        epochs: passes over the training data for each model.
        balancer: of the pairs: a name, an instance or a list, of balancers for two tasks. Defaults to `"equal"`.
        optimizer: a name, config or instance, copied for each model. Defaults to `"adam"`.
        seed: of Python, NumPy and TensorFlow, before each model is built and trained. Defaults to 0.
        folder: where each result is kept, as JSON, as soon as it is there. Another call with the same folder does what
            is left. Results of other settings are refused: of another `build`, `train` or `validation` by name, or by
            the structure and number of batches of a data set, other tasks, `epochs`, `balancer`, `optimizer`, `seed` or
            dtype policy. What a function does, and what the data are, is not compared. Defaults to None: nothing is
            kept.
        workers: how many processes train at the same time. With more than one, `build`, `train` and `validation` are
            functions that other processes can import, and the program that calls this keeps to
            `if __name__ == "__main__":`. Defaults to 1: this process.
        verbose: whether progress is shown. Defaults to 1.

    Returns:
        A `GainMatrix`, of row i onto column j: the gain of j by being trained together with i.

    Raises:
        ValueError: before any training: if an argument is out of range, the balancer cannot balance two tasks, a data
            set lacks the labels of a task, the folder has results of other settings, a function cannot be sent to
            another process, or `build`, which is called for the first task and the first two to see it, returns no
            `MultiTaskModel` of the tasks that it is given, or one that trains weights which were there before.

    Example:

    >>> import numpy as np, tensorflow as tf
    >>> import keras_mtl as mtl
    >>> x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    >>> data = tf.data.Dataset.from_tensor_slices((x, {"a": x[:, 0], "b": x[:, 0], "c": x[:, 1]})).batch(16)
    >>> tasks = [mtl.tasks.Regression(name) for name in "abc"]
    >>> build = lambda tasks: mtl.build_model("mlp", tasks, input_shape=(3,))
    >>> found = mtl.evaluation.affinity(build, tasks, data, data, epochs=1, verbose=0)
    >>> found.gains["validation"].shape
    (3, 3)
    """
    plan = make_plan(
        build,
        tasks,
        train,
        {"validation": validation},
        epochs=epochs,
        optimizer=optimizer,
        balancer=balancer,
        seed=seed,
    )
    found_tasks = plan.get_tasks()
    names = [task.name for task in found_tasks]
    sets = [(name,) for name in names] + list(itertools.combinations(names, 2))

    def jobs(found: Mapping[str, Found]) -> list[Job]:
        return [Job(group, [_run(group)]) for group in sets if _run(group) not in found]

    def check() -> None:
        for group in (found_tasks[:1], found_tasks[:2]):  # only a second call shows that `build` keeps what it made
            plan.build_for(group)

    found = carry_out(plan, "affinity", train_together, jobs, check, folder=folder, workers=workers, verbose=verbose)
    metrics = np.empty((len(names), len(names)))
    for row, source in enumerate(names):
        for column, target in enumerate(names):
            group = tuple(name for name in names if name in (source, target))
            metrics[row, column] = found[_run(group)]["validation"][target]
    return GainMatrix("trained together with", found_tasks, {"validation": metrics})


def _run(names: Sequence[str]) -> str:
    return "+".join(names)


def train_together(plan: Plan, names: Sequence[str]) -> Iterator[tuple[str, Found]]:
    """One model of the tasks of these names."""
    model = plan.build_for([task for task in plan.get_tasks() if task.name in names])
    yield _run(names), plan.train_and_judge(model)
