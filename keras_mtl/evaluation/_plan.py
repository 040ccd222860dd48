"""What many trainings under one budget have in common."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from typing import Any

import keras

from keras_mtl import engine
from keras_mtl._checks import check_integer
from keras_mtl.balancers import Balancer, BilevelBalancer, Fixed, get_pair
from keras_mtl.evaluation._compare import only
from keras_mtl.evaluation._new_model import new_model
from keras_mtl.model import MultiTaskModel
from keras_mtl.tasks import Task, get_all

#: What a training found: by part of the data, the primary metric by task.
Found = dict[str, dict[str, float]]


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
        return new_model(self.build, tasks, self.seed)

    def train_and_judge(self, model: MultiTaskModel) -> Found:
        """Trains a model with a new optimizer, and judges it."""
        keras.utils.set_random_seed(self.seed)
        # A weight says what a task counts among others: alone, each counts 1.
        alone = len(model.tasks) == 1
        balancer = Fixed({model.tasks[0].name: 1.0}) if alone else _deserialized(self.balancer)
        with model.distribute_strategy.scope():
            model.compile(keras.optimizers.deserialize(self.optimizer), balancer=balancer)
        model.fit(_data(self.train, model.tasks), epochs=self.epochs, verbose=0)
        found = {}
        for part, source in self.parts.items():
            logs = model.evaluate(_data(source, model.tasks), verbose=0, return_dict=True)
            found[part] = {task.name: float(logs[f"{task.name}_{task.primary_metric}"]) for task in model.tasks}
        return found

    def settings(self, kind: str) -> dict[str, Any]:
        """What is written down beside the results, so that other runs do not come among them."""
        sources = {"train": self.train, **self.parts}
        found = {
            "kind": kind,
            "build": _name_of(self.build),
            "tasks": [_with_name(task) for task in self.tasks],
            "data": {name: _description(source) for name, source in sources.items()},
            "balancer": _without_names(self.balancer),
            **{key: getattr(self, key) for key in ("epochs", "optimizer", "seed", "policy")},
        }
        return json.loads(json.dumps(found, default=str))


def _without_names(config: Any) -> Any:
    """A config without the names that Keras counts up, by which it would be another one each time."""
    if isinstance(config, (list, tuple)):
        return [_without_names(each) for each in config]
    if not isinstance(config, dict):
        return config
    is_config = isinstance(config.get("config"), dict) and "class_name" in config
    found = {key: _without_names(value) for key, value in config.items()}
    if is_config:
        found["config"] = {key: value for key, value in found["config"].items() if key != "name"}
    return found


def _with_name(config: Any) -> Any:
    """A task's config with its name, and without those of the losses and metrics in it."""
    found = _without_names(config)
    return {**found, "config": {"name": config["config"]["name"], **found["config"]}}


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
        ValueError: if one is out of range, there are fewer than two tasks, data are neither a data set nor a
            function, a data set lacks labels of a task, or the balancer cannot balance each pair of tasks.
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
        if not callable(source):
            for task in found:
                engine.checked([task], only(source, [task]), None, in_pipeline=False)
    for pair in itertools.combinations(found, 2):
        _check_balancer(_deserialized(_serialized(balancer)), pair)
    return Plan(
        build=build,
        tasks=[keras.saving.serialize_keras_object(task) for task in found],
        train=train,
        parts=dict(parts),
        epochs=check_integer(epochs, "epochs"),
        optimizer=_without_names(keras.optimizers.serialize(keras.optimizers.get(optimizer))),
        balancer=_serialized(balancer),
        seed=check_integer(seed, "seed", minimum=0),
        policy=keras.config.dtype_policy().name,
    )


def _check_balancer(balancer: Any, tasks: Sequence[Task]) -> None:
    """Raises a `ValueError` if a balancer cannot balance tasks as they are trained here."""
    names, weights, losses = ([getattr(task, key) for task in tasks] for key in ("name", "weight", "loss"))
    for part in get_pair(balancer):
        if isinstance(part, BilevelBalancer):
            raise ValueError(
                "Parameter `balancer` should need no second stream of data: there is none in trainings of pairs. "
                f"Received: `{type(part).__name__}`, which is bilevel."
            )
        if part is not None:
            part.bind(names, weights, losses)


def check_sendable(plan: Plan) -> None:
    """Raises a `ValueError` if a plan cannot be sent to another process."""
    for name, source in {"train": plan.train, **plan.parts}.items():
        if not callable(source):
            raise ValueError(
                f"With several workers, parameter `{name}` should be a function that makes a data set for the tasks "
                "that it is given: a data set itself cannot be sent to another process. Received: a "
                f"{type(source).__name__}. Give a function, or workers=1."
            )
    for name, function in {"build": plan.build, "train": plan.train, **plan.parts}.items():
        try:
            ForkingPickler.dumps(function)
        except Exception as error:  # whatever an object's own code raises
            raise ValueError(
                f"With several workers, parameter `{name}` should be a function that other processes can import: one "
                f"at the top of a module, no lambda and none within another function. Received: {function!r} "
                f"({error}). Move it to a module, or give workers=1."
            ) from error


def _data(source: Any, subset: Sequence[Task]) -> Any:
    return source(subset) if callable(source) else only(source, subset)


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
