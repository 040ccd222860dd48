"""The search space of a multi-task model."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import keras_tuner

from keras_mtl import backbones, balancers
from keras_mtl import sharing as sharings
from keras_mtl._checks import check_integer, check_integers, check_number
from keras_mtl.model import MultiTaskModel, build_model
from keras_mtl.tasks import Task, get_all


class MultiTaskHyperModel(keras_tuner.HyperModel):
    """A search space of multi-task models for any tuner of keras-tuner: heads, task weights, learning rate.

    The hyperparameters are `{task}_hidden_units`, one of `hidden_units`; `{task}_weight`, within `task_weights`, on a
    log scale; and `learning_rate`, within `learning_rate`, on a log scale. By default each is what the task or the
    optimizer has, or the nearest that is allowed.

    The first task's weight is not searched. Only the ratios of weights matter between tasks: a common factor does what
    the learning rate does, or under Adam nothing, and would cost the search a dimension.

    Use `DeltaM` as the objective. The total loss is refused where task weights are searched, as the smallest weights
    would win; so is an objective that no log bears, before the first epoch. Everything is made anew for each trial:
    weights, tasks, balancer, optimizer. A tuner's own arguments `optimizer`, `loss` and `metrics` have no place here,
    for they compile the model again, without the balancer. To search for more, extend the class and its `build`.

    Args:
        backbone: a name as for `build_model`, a `backbones.Backbone` or its config, or a function without arguments
            that returns a new `keras.Model` at each call. A model is refused: all trials would train its weights.
        tasks: the tasks: instances, or configs.
        sharing: a name, an instance or a config. Defaults to `"hard"`.
        balancer: as in `MultiTaskModel.compile`. Defaults to `"equal"`. Where it sets the weights by itself, pass
            `task_weights=None`.
        input_shape: with the name of a backbone: the shape of one input.
        weights: with the name of an architecture: `"imagenet"`, None (random), or the path of a weights file.
        features: the name of the backbone's layer whose output the tasks read. Defaults to the backbone's output.
        hidden_units: the sizes to choose from for the hidden layer of each head, integers of at least 0, where 0 is no
            hidden layer. A single integer fixes the size; None keeps each task's own layers. Defaults to
            `(0, 32, 64, 128)`.
        task_weights: the lowest and the highest weight, more than 0, of every task but the first. A single number fixes
            them; None keeps each task's own. Defaults to `(0.1, 10.0)`.
        learning_rate: the lowest and the highest learning rate, more than 0. A single number fixes it; None keeps the
            optimizer's own, and its schedule. Defaults to `(1e-4, 1e-2)`.
        optimizer: a name, config or instance, which is copied for each trial. Defaults to `"adam"`.
        name: the name of the search space.
        tunable: as in `keras_tuner.HyperModel`. Defaults to True.

    Raises:
        ValueError: if an argument is out of range, or a name is unknown. From `fit`: if the objective is refused.

    Example:

    >>> import keras_tuner
    >>> from keras_mtl import tasks, tuning
    >>> kinds = [tasks.Regression("age"), tasks.Regression("height", weight=0.5)]
    >>> hypermodel = tuning.MultiTaskHyperModel("mlp", kinds, input_shape=(20,), hidden_units=None)
    >>> model = hypermodel.build(hp := keras_tuner.HyperParameters())
    >>> {name: round(value, 4) for name, value in hp.values.items()}
    {'height_weight': 0.5, 'learning_rate': 0.001}
    """

    def __init__(
        self,
        backbone: Any,
        tasks: Sequence[Any],
        sharing: Any = "hard",
        *,
        balancer: Any = "equal",
        input_shape: Sequence[int] | None = None,
        weights: str | None = None,
        features: str | None = None,
        hidden_units: int | Sequence[int] | None = (0, 32, 64, 128),
        task_weights: float | Sequence[float] | None = (0.1, 10.0),
        learning_rate: float | Sequence[float] | None = (1e-4, 1e-2),
        optimizer: Any = "adam",
        name: str | None = None,
        tunable: bool = True,
    ) -> None:
        super().__init__(name=name, tunable=tunable)
        self.tasks = get_all(tasks)
        self.features = features
        self.hidden_units = None if hidden_units is None else check_integers(hidden_units, "hidden_units", minimum=0)
        if self.hidden_units is not None:
            check_integer(len(self.hidden_units), "len(hidden_units)")
        self.task_weights = _check_range(task_weights, "task_weights")
        self.learning_rate = _check_range(learning_rate, "learning_rate")
        if self._searches_weights and not self.tasks[0].weight:
            raise ValueError(
                "The first task's weight is what those of the others are searched in relation to, and should not be 0. "
                f"Received: weight=0 for {self.tasks[0].name!r}. Put another task first, or pass task_weights=None."
            )
        deep = [task.name for task in self.tasks if len(task.hidden_units) > 1]
        if self.hidden_units is not None and deep:
            raise ValueError(
                f"A search over `hidden_units` gives each head one hidden layer or none, and the heads of {deep} have "
                f"more. Received: hidden_units={self.hidden_units}. Pass hidden_units=None to keep the heads."
            )
        self._make_backbone = _backbone_maker(backbone, input_shape, weights)
        self._last_backbone: Callable[[], keras.Model | None] = lambda: None
        self._sharing = sharings.get(sharing)
        parts = [part for part in balancers.get_pair(balancer) if part is not None]
        if self._searches_weights and any(isinstance(part, balancers.Fixed) and part.task_weights for part in parts):
            raise ValueError(
                "The balancer `Fixed` has weights of its own, and those of the tasks are not used. Pass "
                "task_weights=None to keep its weights, or balancer='equal' to search."
            )
        self._balancer = [keras.saving.serialize_keras_object(part) for part in parts]
        self._optimizer = keras.optimizers.serialize(keras.optimizers.get(optimizer))
        self._new_optimizer(keras_tuner.HyperParameters())

    def build(self, hp: keras_tuner.HyperParameters) -> MultiTaskModel:
        """A new compiled model with the values that `hp` chooses."""
        tasks = [self._variant(task, hp) for task in self.tasks]
        model = build_model(self._new_backbone(), tasks, self._sharing, features=self.features)
        model.compile(self._new_optimizer(hp), balancer=self._balancer)
        return model

    def fit(self, hp: keras_tuner.HyperParameters, model: MultiTaskModel, *args: Any, **kwargs: Any) -> Any:
        """Trains the model, once it is clear that its logs will have what the tuner's objective needs."""
        given = inspect.signature(keras.Model.fit).bind_partial(model, *args, **kwargs).arguments
        validates = given.get("validation_data") is not None or bool(given.get("validation_split"))
        # A hypermodel is not told the objective, but the tuner's callback that saves the best epoch holds it.
        for callback in given.get("callbacks") or ():
            objective = getattr(callback, "objective", None)
            if isinstance(objective, keras_tuner.Objective):
                self._check_objective(objective, validates)
        return super().fit(hp, model, *args, **kwargs)

    @property
    def _searches_weights(self) -> bool:
        return len(self.tasks) > 1 and self.task_weights is not None and len(self.task_weights) > 1

    def _variant(self, task: Task, hp: keras_tuner.HyperParameters) -> Task:
        config = task.get_config()
        if self.hidden_units is not None:
            units = sum(task.hidden_units)  # of the one layer, or 0
            own = min(self.hidden_units, key=lambda size: abs(size - units))
            if len(self.hidden_units) > 1:
                own = hp.Choice(f"{task.name}_hidden_units", list(self.hidden_units), default=own)
            config["hidden_units"] = _layers(own)
        if self.task_weights is not None and task is not self.tasks[0]:
            config["weight"] = _choose(hp, f"{task.name}_weight", self.task_weights, task.weight)
        return type(task).from_config(config)

    def _new_backbone(self) -> keras.Model:
        model = self._make_backbone()
        if not isinstance(model, keras.Model) or model is self._last_backbone():
            # A fatal error, because a tuner goes on after any other.
            raise keras_tuner.errors.FatalValueError(
                "The function `backbone` should return a new `keras.Model` at each call, so that trials share no "
                f"weights. Received: {model!r}" + (" again" if isinstance(model, keras.Model) else "")
            )
        self._last_backbone = weakref.ref(model)
        return model

    def _new_optimizer(self, hp: keras_tuner.HyperParameters) -> keras.optimizers.Optimizer:
        optimizer = keras.optimizers.deserialize(self._optimizer)
        if self.learning_rate is not None:
            own = float(optimizer.learning_rate.numpy())
            try:
                optimizer.learning_rate = _choose(hp, "learning_rate", self.learning_rate, own)
            except TypeError as error:
                raise ValueError(
                    "The optimizer has a schedule, which leaves no learning rate to set. Pass learning_rate=None to "
                    f"keep the schedule, or an optimizer without. Received: learning_rate={self.learning_rate}"
                ) from error
        return optimizer

    def _check_objective(self, objective: keras_tuner.Objective, validates: bool) -> None:
        prefixes = ("", "val_") if validates else ("",)
        totals = {f"{prefix}loss" for prefix in prefixes}
        others = {f"{prefix}{log}" for prefix in prefixes for log in _task_logs(self.tasks)}
        if not objective.has_value(dict.fromkeys(totals | others, 0.0)):
            raise keras_tuner.errors.FatalValueError(
                f"The objective {objective} should be made of what is logged. Received: logs of "
                f"{sorted(totals | others)}."
                + ("" if validates else " Logs that begin with `val_` need validation data: pass some to `search`.")
            )
        if self._searches_weights and not objective.has_value(dict.fromkeys(others, 0.0)):
            raise keras_tuner.errors.FatalValueError(
                f"The objective {objective} is made of the total loss, which the task weights multiply: the smallest "
                f"weights would win. Pass objective=tuning.DeltaM(tasks, baselines), or task_weights=None to leave the "
                f"weights as they are. Received: task_weights={self.task_weights}"
            )


def _check_range(value: Any, parameter: str) -> tuple[float, ...] | None:
    """One number, or the lowest and the highest."""
    if value is None:
        return None
    given = value if isinstance(value, (tuple, list)) else (value,)
    numbers = tuple(check_number(number, parameter) for number in given)
    if len(numbers) not in (1, 2) or numbers[0] <= 0 or (len(numbers) == 2 and numbers[0] >= numbers[1]):
        raise ValueError(
            f"Parameter `{parameter}` should be (lowest, highest) with 0 < lowest < highest, one number above 0, "
            f"or None. Received: {parameter}={value!r}"
        )
    return numbers


def _layers(units: int) -> tuple[int, ...]:
    """The hidden layers of a head: one, or none for 0."""
    return (units,) if units else ()


def _choose(hp: keras_tuner.HyperParameters, name: str, values: tuple[float, ...], own: float) -> float:
    lowest, highest = values[0], values[-1]
    if lowest == highest:
        return lowest
    return hp.Float(name, lowest, highest, sampling="log", default=min(max(own, lowest), highest))


def _backbone_maker(backbone: Any, input_shape: Sequence[int] | None, weights: str | None) -> Callable[[], keras.Model]:
    arguments = {"input_shape": input_shape, "weights": weights}
    given = {parameter: value for parameter, value in arguments.items() if value is not None}
    if isinstance(backbone, str):
        return backbones.get(backbone, **given).build
    if given:
        raise ValueError(
            f"Parameters `input_shape` and `weights` go with the name of a backbone. Received: {given} and "
            f"backbone={backbone!r}. Leave them out."
        )
    if isinstance(backbone, (backbones.Backbone, dict)):
        return backbones.get(backbone).build
    if isinstance(backbone, keras.Layer) or not callable(backbone):
        raise ValueError(
            "Parameter `backbone` should be a name, a `backbones.Backbone`, or a function that returns a new "
            "`keras.Model` at each call; a model itself would hand its weights, trained, from trial to trial. "
            f"Received: {backbone!r} (of type {type(backbone).__name__})"
        )
    return backbone


def _task_logs(tasks: Iterable[Task]) -> set[str]:
    return {f"{task.name}_{log}" for task in tasks for log in ("loss", *(metric.name for metric in task.metrics))}
