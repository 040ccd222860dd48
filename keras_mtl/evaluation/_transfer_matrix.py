"""Which task prepares for which: trained on one, fine-tuned on another."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_mtl.evaluation._gain_matrix import GainMatrix
from keras_mtl.evaluation._plan import Found, Plan, make_plan
from keras_mtl.evaluation._runs import Job, carry_out
from keras_mtl.model import MultiTaskModel
from keras_mtl.tasks import Task


def transfer_matrix(
    build: Callable[[Sequence[Task]], MultiTaskModel],
    tasks: Sequence[Any],
    train: Any,
    validation: Any,
    test: Any,
    *,
    epochs: int,
    optimizer: Any = "adam",
    seed: int = 0,
    folder: str | os.PathLike[str] | None = None,
    workers: int = 1,
    verbose: Any = 1,
) -> GainMatrix:
    """Trains on each task, fine-tunes on each other one, and gives what that gains over training from nothing.

    When to use: to choose the task on which to pretrain for another one, whose labels are few. For training at the same
    time there is `affinity`.

    For each source, one model of all tasks is built from the seed, and what leads to the source's output is trained.
    From there, with a new optimizer and the target's own head as it was initialized, what leads to the target's output
    is trained for as many epochs, for each target anew. What a task gains is judged against the same model trained on
    the target alone, from nothing, for the same number of epochs: the source's training comes on top, as it does where
    a pretrained model is taken from a shelf. `T * T` trainings for T tasks. Metrics are those of the last epoch. Each
    pair is trained once, so that small gains may be chance.

    Source: A. Zamir, A. Sax, W. Shen, L. Guibas, J. Malik, S. Savarese, "Taskonomy: Disentangling Task Transfer
    Learning", CVPR 2018. There, the source's encoder is frozen, and gains are ranks over test images; here all is
    fine-tuned, and gains are relative changes of each target's primary metric.

    Args:
        build: makes a model for the tasks that it is given, all of them: a new one at each call, whose tasks share
            weights.
        tasks: the tasks, at least two.
        train: a `tf.data.Dataset` of `(inputs, {label: values})`, batched, or a function that makes one for the tasks
            that it is given, of which there is one at a time. A function gives exactly repeatable orders, where the
            data set shuffles, and may leave out examples.
        validation: the same, for choosing by.
        test: the same, for the figures that are reported.
        epochs: passes over the training data, of the source's and of the target's training.
        optimizer: a name, config or instance, copied for each training. Defaults to `"adam"`.
        seed: of Python, NumPy and TensorFlow, before each model is built and trained. Defaults to 0.
        folder: as in `affinity`. What is kept is what was found and no weights: where targets of a source are left, the
            source is trained again.
        workers: as in `affinity`. A source and its targets are done in one process.
        verbose: whether progress is shown. Defaults to 1.

    Returns:
        A `GainMatrix`, of row i onto column j: the gain of j by being fine-tuned from i.

    Raises:
        ValueError: before any training: if an argument is out of range, the tasks share no weights, a data set lacks
            the labels of a task, the folder has results of other settings, a function cannot be sent to another
            process, or `build`, which is called twice to see it, returns no `MultiTaskModel` of the tasks that it is
            given, or one that trains weights which were there before.

    Example:

    >>> import numpy as np, tensorflow as tf
    >>> import keras_mtl as mtl
    >>> x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    >>> data = tf.data.Dataset.from_tensor_slices((x, {"a": x[:, 0], "b": -x[:, 0]})).batch(16)
    >>> tasks = [mtl.tasks.Regression("a"), mtl.tasks.Regression("b")]
    >>> build = lambda tasks: mtl.build_model("mlp", tasks, input_shape=(3,))
    >>> found = mtl.evaluation.transfer_matrix(build, tasks, data, data, data, epochs=1, verbose=0)
    >>> found.gains["test"].shape
    (2, 2)
    """
    parts = {"validation": validation, "test": test}
    plan = make_plan(build, tasks, train, parts, epochs=epochs, optimizer=optimizer, balancer="equal", seed=seed)
    found_tasks = plan.get_tasks()
    names = [task.name for task in found_tasks]

    def jobs(found: Mapping[str, Found]) -> list[Job]:
        left = []
        for source in names:
            targets = [name for name in names if name != source and _run(source, name) not in found]
            if targets or source not in found:
                left.append(Job((source, targets), [source, *(_run(source, target) for target in targets)]))
        return left

    def check() -> None:
        for _ in range(2):  # only a second call shows that `build` keeps what it made
            _whole(plan)

    found = carry_out(
        plan, "transfer_matrix", transfer_from, jobs, check, folder=folder, workers=workers, verbose=verbose
    )
    metrics = {
        part: np.array(
            [
                [found[source if source == target else _run(source, target)][part][target] for target in names]
                for source in names
            ]
        )
        for part in parts
    }
    return GainMatrix("fine-tuned from", found_tasks, metrics)


def _run(source: str, target: str) -> str:
    return f"{source}-{target}"


def _whole(plan: Plan) -> MultiTaskModel:
    """A new model of all tasks.

    Raises:
        ValueError: if they share no weights.
    """
    whole = plan.build_for(plan.get_tasks())
    if not whole.partition.shared_layers:
        raise ValueError(
            "What is learnt on one task comes to another by shared weights, and no weight of the model that `build` "
            f"makes leads to two outputs. Received: tasks {[task.name for task in whole.tasks]}."
        )
    return whole


def transfer_from(plan: Plan, argument: tuple[str, Sequence[str]]) -> Iterator[tuple[str, Found]]:
    """Trains on one task, and from there on others, each from the same state."""
    source, targets = argument
    whole = _whole(plan)
    with whole.distribute_strategy.scope():
        alone = {
            task.name: MultiTaskModel(whole.input, {task.name: whole.output[task.name]}, [task]) for task in whole.tasks
        }
    yield source, plan.train_and_judge(alone[source])
    # Random states too, so that a target does not depend on those before it.
    variables = keras.Model(whole.input, whole.output).variables
    after = [np.array(variable) for variable in variables]
    for target in targets:
        for variable, value in zip(variables, after, strict=True):
            variable.assign(value)
        yield _run(source, target), plan.train_and_judge(alone[target])
