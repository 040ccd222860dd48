"""Many trainings under one budget: one after the other or in processes, each kept in a file as soon as it is done."""

from __future__ import annotations

import concurrent.futures
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import keras

from keras_mtl._checks import check_integer
from keras_mtl._files import replacing
from keras_mtl.balancers import Balancer, Fixed, get_pair
from keras_mtl.evaluation._compare import only
from keras_mtl.model import MultiTaskModel
from keras_mtl.tasks import Task, get_all

#: What a run found: by part of the data, the primary metric by task.
Found = dict[str, dict[str, float]]

_SETTINGS = "settings.json"


@dataclass(frozen=True)
class Plan:
    """What all runs have in common, in a form that can be sent to another process.

    Args:
        build: makes a model for some tasks.
        tasks: configs of all tasks.
        train: a data set, or a function that makes one for some tasks.
        parts: by name, the data on which a model is judged, in the same form.
        epochs: passes over the training data.
        optimizer: a config.
        balancer: a name, a config or a list of these.
        seed: before each model is built and trained.
        policy: the dtype policy of the layers.
    """

    build: Callable[[Sequence[Task]], MultiTaskModel]
    tasks: Sequence[Any]
    train: Any
    parts: Mapping[str, Any]
    epochs: int
    optimizer: Any
    balancer: Any
    seed: int
    policy: str

    def get_tasks(self) -> tuple[Task, ...]:
        """All tasks."""
        return get_all(list(self.tasks))

    def build_for(self, tasks: Sequence[Task]) -> MultiTaskModel:
        """A new model, from the seed."""
        keras.utils.set_random_seed(self.seed)
        return self.build(tasks)

    def train_and_judge(self, model: MultiTaskModel) -> Found:
        """Trains a model with a new optimizer, and judges it."""
        everyone = self.get_tasks()
        keras.utils.set_random_seed(self.seed)
        # A weight says what a task counts among others: alone, each counts 1.
        alone = len(model.tasks) == 1
        balancer = Fixed({model.tasks[0].name: 1.0}) if alone else _deserialized(self.balancer)
        model.compile(keras.optimizers.deserialize(self.optimizer), balancer=balancer)
        model.fit(_data(self.train, model.tasks, everyone), epochs=self.epochs, verbose=0)
        found = {}
        for part, source in self.parts.items():
            logs = model.evaluate(_data(source, model.tasks, everyone), verbose=0, return_dict=True)
            found[part] = {task.name: float(logs[f"{task.name}_{task.primary_metric}"]) for task in model.tasks}
        return found

    def settings(self, kind: str) -> dict[str, Any]:
        """What is written down beside the results, so that other runs do not come among them."""
        sources = {"train": self.train, **self.parts}
        found = {
            "kind": kind,
            "build": _name_of(self.build),
            "tasks": self.tasks,
            "data": {name: _description(source) for name, source in sources.items()},
            **{key: getattr(self, key) for key in ("epochs", "optimizer", "balancer", "seed", "policy")},
        }
        return json.loads(json.dumps(found, default=str))


@dataclass(frozen=True)
class Job:
    """Runs that are done in one process, one after the other.

    Args:
        argument: what the work is done on.
        runs: the names of the runs, in the order in which they are done.
    """

    argument: Any
    runs: Sequence[str]


#: Does the runs of a job, and yields the name of each with what it found.
Work = Callable[[Plan, Any], Iterator[tuple[str, Found]]]


def make_plan(
    build: Any,
    tasks: Any,
    train: Any,
    parts: Mapping[str, Any],
    *,
    epochs: Any,
    optimizer: Any,
    balancer: Any,
    seed: Any,
) -> Plan:
    """A plan from a user's arguments.

    Raises:
        ValueError: if one is out of range, there are fewer than two tasks, or data are neither a data set nor a function.
    """
    found = get_all(tasks)
    if len(found) < 2:
        raise ValueError(f"Parameter `tasks` should have at least two tasks. Received: {[task.name for task in found]}")
    if not callable(build):
        raise ValueError(f"Parameter `build` should be a function from tasks to a model. Received: build={build!r}")
    for name, source in {"train": train, **parts}.items():
        if not callable(source) and not hasattr(source, "element_spec"):
            raise ValueError(
                f"Parameter `{name}` should be a batched `tf.data.Dataset`, or a function that makes one for the tasks "
                f"that it is given. Received: a {type(source).__name__}"
            )
    names, weights, losses = ([getattr(task, key) for task in found] for key in ("name", "weight", "loss"))
    if not isinstance(balancer, Fixed):  # which has weights for all tasks, and is refused by each pair
        for part in get_pair(_deserialized(_serialized(balancer))):
            if part is not None:
                part.bind(names, weights, losses)
    return Plan(
        build=build,
        tasks=[keras.saving.serialize_keras_object(task) for task in found],
        train=train,
        parts=dict(parts),
        epochs=check_integer(epochs, "epochs"),
        optimizer=keras.optimizers.serialize(keras.optimizers.get(optimizer)),
        balancer=_serialized(balancer),
        seed=check_integer(seed, "seed", minimum=0),
        policy=keras.config.dtype_policy().name,
    )


def carry_out(
    plan: Plan,
    kind: str,
    work: Work,
    jobs: Callable[[Mapping[str, Found]], Sequence[Job]],
    *,
    folder: Any,
    workers: Any,
    verbose: Any,
) -> dict[str, Found]:
    """Does all runs that are not in the folder yet.

    Args:
        plan: what they have in common.
        kind: what they are for.
        work: a function that can be imported.
        jobs: what is left to do, from what was found already.
        folder: where results are kept, or None.
        workers: the number of processes; 1 is this one.
        verbose: whether progress is shown.

    Returns:
        What was found, by run.

    Raises:
        ValueError: if the folder has results of other settings, or the plan cannot be sent to another process.
    """
    check_integer(workers, "workers")
    if workers > 1:
        _check_sendable(plan)
    path = None if folder is None else Path(folder)
    found = {} if path is None else _taken_up(path, plan.settings(kind))
    left = list(jobs(found))
    names = [name for job in left for name in job.runs]
    bar = keras.utils.Progbar(len(names), unit_name="run") if verbose and names else None
    count = 0

    def done(results: Mapping[str, Found]) -> None:
        nonlocal count
        found.update(results)
        count += len(results)
        if bar is not None:
            bar.update(count)

    if workers == 1:
        for job in left:
            for name, result in work(plan, job.argument):
                _keep(path, name, result)
                done({name: result})
        return found
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(min(workers, max(len(left), 1)), mp_context=context) as pool:
        futures = [pool.submit(_in_process, plan, work, job, path) for job in left]
        try:
            for future in concurrent.futures.as_completed(futures):
                done(future.result())
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return found


def _in_process(plan: Plan, work: Work, job: Job, path: Path | None) -> dict[str, Found]:
    """A job in a process of its own."""
    keras.config.set_dtype_policy(plan.policy)
    found = {}
    for name, result in work(plan, job.argument):
        _keep(path, name, result)
        found[name] = result
    keras.backend.clear_session()
    return found


def _keep(path: Path | None, name: str, result: Found) -> None:
    if path is not None:
        with replacing(path / f"{name}.json", overwrite=True) as new:
            new.write_text(json.dumps({"run": name, "time": time.time(), "found": result}, indent=2), encoding="utf-8")


def _taken_up(path: Path, settings: Mapping[str, Any]) -> dict[str, Found]:
    """What a folder has already, after a check that it is of these settings."""
    if not (path / _SETTINGS).is_file():
        if path.exists() and (not path.is_dir() or os.listdir(path)):
            raise ValueError(
                f"Parameter `folder` should be a folder that is not there yet, is empty, or has results of the same "
                f"settings. Received: `{path}`, which has no {_SETTINGS}."
            )
        with replacing(path / _SETTINGS, overwrite=False) as new:
            new.write_text(json.dumps(settings, indent=2), encoding="utf-8")
        return {}
    before = json.loads((path / _SETTINGS).read_text(encoding="utf-8"))
    different = [key for key in settings if before.get(key) != settings[key]]
    if different:
        key = different[0]
        raise ValueError(
            f"The results in `{path}` were made with other settings: {different} differ. There: {key}="
            f"{before.get(key)!r}. Received: {key}={settings[key]!r}. Choose another folder, or the same settings."
        )
    found = {}
    for file in sorted(path.glob("*.json")):
        if file.name != _SETTINGS:
            result = json.loads(file.read_text(encoding="utf-8"))
            if result["run"] != file.stem:
                raise ValueError(f"`{file}` should have the run {file.stem!r}. Received: {result['run']!r}")
            found[file.stem] = result["found"]
    return found


def _check_sendable(plan: Plan) -> None:
    for name, source in {"train": plan.train, **plan.parts}.items():
        if not callable(source):
            raise ValueError(
                f"With several workers, parameter `{name}` should be a function that makes a data set for the tasks that "
                "it is given: a data set itself cannot be sent to another process. Received: a "
                f"{type(source).__name__}. Give a function, or workers=1."
            )
    for name, function in {"build": plan.build, "train": plan.train, **plan.parts}.items():
        try:
            ForkingPickler.dumps(function)
        except Exception as error:  # whatever an object's own code raises
            raise ValueError(
                f"With several workers, parameter `{name}` should be a function that other processes can import: one at "
                f"the top of a module, no lambda and none within another function. Received: {function!r} ({error}). "
                "Move it to a module, or give workers=1."
            ) from error


def _data(source: Any, subset: Sequence[Task], tasks: Sequence[Task]) -> Any:
    return source(subset) if callable(source) else only(source, subset, tasks)


def _name_of(function: Any) -> str:
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def _description(source: Any) -> dict[str, Any]:
    if callable(source):
        return {"function": _name_of(source)}
    return {"elements": str(source.element_spec), "batches": int(source.cardinality())}


def _serialized(balancer: Any) -> Any:
    if isinstance(balancer, (list, tuple)):
        return [_serialized(part) for part in balancer]
    return keras.saving.serialize_keras_object(balancer) if isinstance(balancer, Balancer) else balancer


def _deserialized(balancer: Any) -> Any:
    if isinstance(balancer, list):
        return [_deserialized(part) for part in balancer]
    return keras.saving.deserialize_keras_object(balancer) if isinstance(balancer, dict) else balancer
