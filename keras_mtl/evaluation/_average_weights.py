"""One model of the mean weights of several."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_mtl._checks import check_one_of
from keras_mtl.evaluation._architecture import check_architecture
from keras_mtl.evaluation._delta_m import delta_m
from keras_mtl.evaluation._members import check_members
from keras_mtl.model import MultiTaskModel

_LOG = logging.getLogger(__name__)


def average_weights(
    models: Sequence[Any], method: str = "uniform", validation_data: Any = None, *, name: str | None = None
) -> MultiTaskModel:
    """Makes one model of the mean weights of several of one architecture: a model soup, at the cost of one model.

    When to use: the members were fine-tuned from the same weights, with other seeds, rates or orders of the data, or
    are checkpoints of one training, so that they are close. Members that were trained from different random weights
    have nothing in common, and their mean predicts nothing; then `Ensemble` is meant.

    `"uniform"` takes all members. `"greedy"` scores the members on validation data, begins with the best, and goes
    through the others from better to worse: one is taken in if the score of the mean is not lower with it than without.
    The result is at least as good as the best member on those data, which is why they should not be the ones that the
    result is judged by. The score is `delta_m` of the primary metrics against the best value of each task among the
    members: each task counts by its relative change. Which members were taken is logged by `logging`, at level INFO.

    All weights of floating point are averaged, moving statistics of batch normalization among them. Those are then
    means of statistics, and not the statistics of the mean weights: where that matters, run a pass over the training
    data with `training=True` afterwards. Integers, and the states of random generators, are the first member's.

    Source: M. Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
    increasing inference time", ICML 2022. There, the score is the accuracy of one task.

    Args:
        models: the members, at least one: a `MultiTaskModel`, or the path of a file, of a whole model (`.keras`) or of
            weights (`.weights.h5`). One of them is a model, or the file of one, which files of weights are read into.
        method: `"uniform"` or `"greedy"`. Defaults to `"uniform"`.
        validation_data: with `"greedy"`, what `evaluate` takes as `x`: a batched data set of `(inputs, {label:
            values})`, or a tuple of arrays `(inputs, {label: values})`.
        name: the name of the new model. Defaults to that of the first member.

    Returns:
        A new `MultiTaskModel`, not compiled. The members are left as they are.

    Raises:
        ValueError: if the members differ in tasks, inputs or architecture, one has weights that are not finite, a file
            is of no such model, or `method` and `validation_data` do not go together. From `"greedy"`, too: if the best
            value of a metric is 0, by which relative changes have no meaning.

    Example:

    >>> import keras_mtl as mtl
    >>> model = mtl.build_model("mlp", [mtl.tasks.Regression("a"), mtl.tasks.Regression("b")], input_shape=(3,))
    >>> other = mtl.MultiTaskModel.from_config(model.get_config())
    >>> mean = mtl.evaluation.average_weights([model, other])
    >>> bool(abs(mean.get_weights()[0] - (model.get_weights()[0] + other.get_weights()[0]) / 2).max() < 1e-6)
    True
    """
    check_one_of(method, "method", ("uniform", "greedy"))
    if (method == "greedy") != (validation_data is not None):
        raise ValueError(
            f"Parameter `validation_data` is for method='greedy', and needed there. Received: method={method!r} and "
            f"{'no data' if validation_data is None else 'data'}."
        )
    template, values = _members(models)
    result = _copy(template)
    if method == "uniform":
        _assign(result, _mean(values, template))
    else:
        _assign(result, _greedy(values, result, validation_data))
    return result if name is None else _renamed(result, name)


def _members(models: Any) -> tuple[MultiTaskModel, list[list[np.ndarray]]]:
    """The first model, and the values of the weights of all members."""
    if not isinstance(models, Sequence) or isinstance(models, str) or not models:
        raise ValueError(f"Parameter `models` should be a list of at least one model or file. Received: {models!r}")
    found = [_loaded(model, index) for index, model in enumerate(models)]
    whole = [model for model in found if isinstance(model, MultiTaskModel)]
    if not whole:
        raise ValueError(
            "Parameter `models` should have a model, or the `.keras` file of one, to read files of weights into. "
            f"Received: {list(map(str, models))}"
        )
    check_members(whole)
    template = whole[0]
    for model in whole[1:]:
        check_architecture(template, model)
    scratch: MultiTaskModel | None = None
    values = []
    for member in found:
        if not isinstance(member, MultiTaskModel):
            scratch = _copy(template) if scratch is None else scratch
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")  # of layers that the file has not, which would keep their weights
                    scratch.load_weights(member)
            except (ValueError, OSError, KeyError, Warning) as error:
                raise ValueError(
                    f"`{member}` should have the weights of the model {template.name!r}: {error}"
                ) from error
            member = scratch
        values.append([np.array(variable) for variable in _variables(member)])
    for index, (model, member) in enumerate(zip(models, values, strict=True)):
        floats = (np.asarray(each, "float32") for each in member if keras.backend.is_float_dtype(str(each.dtype)))
        if not all(np.isfinite(each).all() for each in floats):
            name = repr(model.name) if isinstance(model, MultiTaskModel) else f"`{model}`"
            raise ValueError(
                f"The members should have finite weights. Received: NaN or infinite ones in models[{index}], {name}, "
                "whose training has diverged. Leave it out."
            )
    return template, values


def _loaded(member: Any, index: int) -> Any:
    """A model, or the path of a file of weights."""
    if isinstance(member, MultiTaskModel):
        return member
    if not isinstance(member, (str, os.PathLike)):
        raise ValueError(
            f"Parameter `models[{index}]` should be a `MultiTaskModel` or the path of a file. Received: a "
            f"{type(member).__name__}"
        )
    path = Path(member)
    if not path.is_file():
        raise ValueError(f"Parameter `models[{index}]` should be a model or a file that is there. Received: {member!r}")
    if path.name.endswith(".weights.h5"):
        return path
    if path.suffix != ".keras":
        raise ValueError(
            f"Parameter `models[{index}]` should be a `.keras` file of a model or a `.weights.h5` file. "
            f"Received: {member!r}"
        )
    model = keras.saving.load_model(path, compile=False)
    if not isinstance(model, MultiTaskModel):
        raise ValueError(
            f"Parameter `models[{index}]` should be the file of a `MultiTaskModel`. Received: {member!r}, of a "
            f"{type(model).__name__}"
        )
    return model


def _variables(model: MultiTaskModel) -> list[keras.Variable]:
    """The weights of the layers, without what belongs to a balancer, and without the states of random generators."""
    return keras.Model(model.input, model.output).weights


def _copy(model: MultiTaskModel) -> MultiTaskModel:
    """A model of its own with the same weights and vocabularies, by way of a file: a config alone lacks the latter."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        MultiTaskModel(model.input, model.output, model.tasks, name=model.name).save(path)
        return keras.saving.load_model(path, compile=False)


def _renamed(model: MultiTaskModel, name: str) -> MultiTaskModel:
    return MultiTaskModel(model.input, model.output, model.tasks, name=name)


def _mean(values: Sequence[Sequence[np.ndarray]], template: MultiTaskModel) -> list[np.ndarray]:
    """The means of what is floating point; of anything else, the first. In double precision on the way."""
    floating = [keras.backend.is_float_dtype(variable.dtype) for variable in _variables(template)]
    return [
        np.mean([np.asarray(each, "float64") for each in column], axis=0) if is_float else column[0]
        for is_float, column in zip(floating, zip(*values, strict=True), strict=True)
    ]


def _assign(model: MultiTaskModel, values: Sequence[np.ndarray]) -> None:
    for variable, value in zip(_variables(model), values, strict=True):
        variable.assign(value)


def _greedy(values: Sequence[Sequence[np.ndarray]], result: MultiTaskModel, validation_data: Any) -> list[np.ndarray]:
    """The mean of those members that do not hurt, `result` being the model in which means are tried."""
    judge = MultiTaskModel(result.input, result.output, result.tasks)
    judge.compile("sgd")
    data = validation_data if isinstance(validation_data, (tuple, list)) else (validation_data,)

    def metrics(chosen: Sequence[int]) -> dict[str, float]:
        _assign(result, _mean([values[index] for index in chosen], result))
        logs = judge.evaluate(*data, verbose=0, return_dict=True)
        return {task.name: float(logs[f"{task.name}_{task.primary_metric}"]) for task in result.tasks}

    found = [metrics([index]) for index in range(len(values))]
    better = {task.name: task.higher_is_better for task in result.tasks}
    best = {task: (max if better[task] else min)(each[task] for each in found) for task in better}
    scores = [delta_m(each, best, better) for each in found]
    first, *others = sorted(range(len(values)), key=lambda index: -scores[index])
    chosen, score = [first], scores[first]
    for index in others:
        with_it = delta_m(metrics([*chosen, index]), best, better)
        if with_it >= score:
            chosen, score = [*chosen, index], with_it
    _LOG.info("Members of the average, the best first: %s, of the scores %s; together %s", chosen, scores, score)
    return _mean([values[index] for index in chosen], result)
