"""Multi-task models against single-task models of the same make, under the same budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from keras_mtl._checks import check_integer
from keras_mtl.balancers import Balancer, Fixed, get_pair
from keras_mtl.evaluation._new_model import new_model
from keras_mtl.evaluation._report import SINGLE_TASK, Report, Result
from keras_mtl.model import MultiTaskModel
from keras_mtl.tasks import Task, get_all


def compare(
    build: Callable[[Sequence[Task]], MultiTaskModel],
    tasks: Sequence[Any],
    train: Any,
    validation: Any,
    test: Any,
    *,
    balancers: Mapping[str, Any] | Sequence[str] = ("equal",),
    epochs: int,
    optimizer: Any = "adam",
    seed: int = 0,
    callbacks: Callable[[str], Sequence[keras.callbacks.Callback]] | None = None,
    verbose: Any = 0,
) -> Report:
    """Trains a multi-task model under each balancer, and a single-task model for each task, all in the same way.

    Every model begins from the same seed, has the same make, sees the same data for the same number of epochs, and has
    an optimizer of the same configuration. Metrics are those of the last epoch.

    Args:
        build: makes a model for the tasks that it is given: a new one, sharing no weights, at each call.
        tasks: the tasks.
        train: a `tf.data.Dataset` of `(inputs, {label: values})`, batched.
        validation: the same, for selecting a model.
        test: the same, for the figures that are reported.
        balancers: what to try: names, or a dict of names, instances or lists by the name in the report. Defaults to
            `"equal"` alone.
        epochs: passes over the training data for each model.
        optimizer: a name, config or instance, copied for each model. Defaults to `"adam"`.
        seed: of Python, NumPy and TensorFlow, before each model is built. Defaults to 0.
        callbacks: makes the callbacks of a model's `fit` from its name: `"single-task left"`, or that of its balancer.
        verbose: as in `fit`. Defaults to 0.

    Returns:
        A `Report`.

    Raises:
        ValueError: before any training: if a balancer or task is unknown, or `build`, which is called for the first
            task and for all to see it, returns no `MultiTaskModel` of the tasks, or one that trains weights which were
            there before.

    Example:

    >>> import numpy as np, tensorflow as tf
    >>> import keras_mtl as mtl
    >>> x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    >>> data = tf.data.Dataset.from_tensor_slices((x, {"a": x[:, 0], "b": x[:, 1]})).batch(16)
    >>> tasks = [mtl.tasks.Regression("a"), mtl.tasks.Regression("b")]
    >>> build = lambda tasks: mtl.build_model("mlp", tasks, input_shape=(3,))
    >>> report = mtl.evaluation.compare(build, tasks, data, data, data, balancers=["equal"], epochs=1)
    >>> report.best.name, sorted(report.single_task)
    ('equal', ['a', 'b'])
    """
    found = get_all(tasks)
    check_integer(epochs, "epochs")
    candidates = _candidates(balancers)
    for candidate in candidates.values():
        for part in get_pair(_copy(candidate)):
            if part is not None:
                part.bind([task.name for task in found], [task.weight for task in found], [task.loss for task in found])
    optimizer_config = keras.optimizers.serialize(keras.optimizers.get(optimizer))

    def train_one(name: str, subset: Sequence[Task], balancer: Any) -> Result:
        model = new_model(build, subset, seed)
        num_parameters = model.count_params()
        with model.distribute_strategy.scope():
            model.compile(keras.optimizers.deserialize(optimizer_config), balancer=_copy(balancer))
        data = [only(dataset, subset) for dataset in (train, validation, test)]
        begin = time.perf_counter()
        history = model.fit(
            data[0],
            validation_data=data[1],
            epochs=epochs,
            callbacks=list(callbacks(name)) if callbacks else None,
            verbose=verbose,
        )
        seconds = time.perf_counter() - begin
        logs = {task.name: f"{task.name}_{task.primary_metric}" for task in subset}
        scores = model.evaluate(data[2], verbose=0, return_dict=True)
        return Result(
            name=name,
            validation={task: history.history[f"val_{key}"][-1] for task, key in logs.items()},
            test={task: scores[key] for task, key in logs.items()},
            num_parameters=num_parameters,
            seconds=seconds,
            history=history.history,
            model=model,
        )

    for group in (found[:1], found):  # only a second call shows that `build` keeps what it made
        new_model(build, group, seed)
    # A weight says what a task counts among others: alone, each counts 1.
    singles = {task.name: train_one(f"{SINGLE_TASK} {task.name}", [task], Fixed({task.name: 1.0})) for task in found}
    multi = [train_one(name, found, balancer) for name, balancer in candidates.items()]
    return Report(found, singles, multi)


def _candidates(balancers: Any) -> dict[str, Any]:
    """What is to be tried, by its name in the report."""
    if isinstance(balancers, Mapping):
        found = dict(balancers)
    elif isinstance(balancers, (list, tuple)) and all(isinstance(name, str) for name in balancers):
        found = {name: name for name in balancers}
    else:
        found = {}
    if not found or len(found) < len(balancers):
        raise ValueError(
            "Parameter `balancers` should be a list of different names of balancers, at least one, or a dict of "
            f"balancers, or lists of them, by the name in the report. Received: {balancers!r}"
        )
    return found


def _copy(balancer: Any) -> Any:
    """A balancer with no state of an earlier model."""
    if isinstance(balancer, (list, tuple)):
        return [_copy(part) for part in balancer]
    if isinstance(balancer, Balancer):
        return type(balancer).from_config(balancer.get_config())
    return balancer


def only(dataset: Any, subset: Sequence[Task]) -> Any:
    """The data set with the labels of some tasks alone."""
    labels = {task.label for task in subset}

    def keep(x: Any, *rest: Any) -> tuple[Any, ...]:
        """Labels, and sample weights if they are by label too."""
        return x, *(
            {key: value for key, value in part.items() if key in labels} if isinstance(part, Mapping) else part
            for part in rest
        )

    return dataset.map(keep)
