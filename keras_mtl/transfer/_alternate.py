"""Training on a source task and a target task in turn."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keras_mtl import engine
from keras_mtl._checks import check_integer, check_integers
from keras_mtl.model import MultiTaskModel
from keras_mtl.tasks import Task
from keras_mtl.transfer._copy_weights import carry, correspondence
from keras_mtl.transfer._words import warn_of_other_words

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Alternation:
    """What `alternate` saw, by round.

    Args:
        source: the metrics of the source model on its validation data, after each round.
        target: those of the target model.
        stopped_early: whether it stopped because neither gained.

    Example:

    >>> from keras_mtl.transfer import Alternation
    >>> found = Alternation([{"price_mae": 0.5}, {"price_mae": 0.4}], [{"size_mae": 2.0}, {"size_mae": 1.5}], False)
    >>> found.history
    {'source_price_mae': [0.5, 0.4], 'target_size_mae': [2.0, 1.5]}
    """

    source: Sequence[Mapping[str, float]]
    target: Sequence[Mapping[str, float]]
    stopped_early: bool

    @property
    def history(self) -> dict[str, list[float]]:
        """Each metric by round, as in the `history` of a Keras `History`."""
        sides = {"source": self.source, "target": self.target}
        return {
            f"{side}_{key}": [found[key] for found in rounds] for side, rounds in sides.items() for key in rounds[0]
        }


def alternate(
    source: MultiTaskModel,
    target: MultiTaskModel,
    source_data: Any,
    target_data: Any,
    *,
    source_validation: Any,
    target_validation: Any,
    rounds: int = 5,
    epochs: int | Sequence[int] = 1,
    shared: str | Sequence[str] | Mapping[str, str] | None = None,
    patience: int = 1,
    verbose: Any = 0,
) -> Alternation:
    """Trains two models in turn, and carries the weights that they share from each to the other.

    Use it where source and target tasks have data of their own and are to help each other through one backbone. A
    round is: train the source model, carry the shared weights to the target model, train that, and carry them back;
    then both are evaluated, with the same shared weights. It ends early when no primary metric of a task of either was
    better than in all rounds before. Each model keeps its optimizer and balancer throughout. Vocabularies are not
    carried: a warning names layers that read other words in the target than in the source.

    Args:
        source: a compiled model of the source tasks.
        target: a compiled model of the target tasks, not the same.
        source_data: what `source.fit` takes: a data set that yields `(inputs, {label: values})`, or a tuple of arrays,
            `(inputs, {label: values})` or `(inputs, {label: values}, sample weights)`.
        target_data: the same for `target`.
        source_validation: what `source.evaluate` takes, in the same form.
        target_validation: the same for `target`.
        rounds: the largest number of rounds. Defaults to 5.
        epochs: per turn: a number, or one for the source and one for the target. Defaults to 1.
        shared: a path or paths of the layers to carry, which both models have, nested models included, or a dict by
            path in the target of paths in the source. Defaults to all layers of the same path and shapes.
        patience: how many rounds without a gain end it. Defaults to 1.
        verbose: as in `fit`. Defaults to 0.

    Returns:
        An `Alternation`. The models have the weights of the last round.

    Raises:
        ValueError: before any training, if an argument is out of range, a model is not compiled, the models share no
            layers or one of `shared` in part, a task's primary metric is not among the compiled ones, or data do not
            fit the tasks.

    Example:

    >>> import numpy as np
    >>> import keras_mtl as mtl
    >>> x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    >>> backbone = mtl.backbones.MLP((3,), units=(8,))
    >>> models = [mtl.build_model(backbone, [mtl.tasks.Regression(name)]) for name in ("price", "size")]
    >>> for model in models:
    ...     model.compile("adam")
    >>> prices, sizes = (x, {"price": x[:, 0]}), (x, {"size": x[:, 0] + x[:, 1]})
    >>> found = mtl.transfer.alternate(
    ...     *models, prices, sizes, source_validation=prices, target_validation=sizes, rounds=2, patience=2
    ... )
    >>> sorted(found.history)
    ['source_loss', 'source_price_loss', 'source_price_mae', 'target_loss', 'target_size_loss', 'target_size_mae']
    """
    check_integer(rounds, "rounds")
    check_integer(patience, "patience")
    turns = check_integers(epochs, "epochs")
    turns = turns * 2 if len(turns) == 1 else turns
    if len(turns) != 2:
        raise ValueError(f"Parameter `epochs` should be one number, or two. Received: epochs={epochs!r}")
    _check_models(source, target)
    to_target = _shared(source, target, shared)
    to_source = {other: own for own, other in to_target.items()}
    given = (source_data, source_validation, target_data, target_validation)
    names = ("source_data", "source_validation", "target_data", "target_validation")
    of_source, source_held, of_target, target_held = (
        _arguments(model, data, name)
        for model, data, name in zip((source,) * 2 + (target,) * 2, given, names, strict=True)
    )
    sides = [
        (source, target, to_target, of_source, source_held, turns[0]),
        (target, source, to_source, of_target, target_held, turns[1]),
    ]
    warn_of_other_words(source, target, to_target, stacklevel=2)
    found: list[list[dict[str, float]]] = [[], []]
    rounds_without_gain = 0
    for number in range(1, rounds + 1):
        for model, other, carried, data, _, turn in sides:
            model.fit(**data, epochs=turn, verbose=verbose)
            carry(model, other, carried)
        for metrics, (model, _, _, _, validation, _) in zip(found, sides, strict=True):
            metrics.append(model.evaluate(**validation, verbose=0, return_dict=True))
        _logger.info("Round %d of %d: source %s, target %s", number, rounds, found[0][-1], found[1][-1])
        gained = any(_gained(model, metrics) for metrics, (model, *_) in zip(found, sides, strict=True))
        rounds_without_gain = 0 if gained else rounds_without_gain + 1
        if rounds_without_gain == patience and number < rounds:
            return Alternation(found[0], found[1], stopped_early=True)
    return Alternation(found[0], found[1], stopped_early=False)


def _check_models(source: Any, target: Any) -> None:
    for model, parameter in ((source, "source"), (target, "target")):
        if not isinstance(model, MultiTaskModel) or not model.compiled:
            raise ValueError(
                f"Parameter `{parameter}` should be a `MultiTaskModel` that is compiled. Received: "
                f"{parameter}={model!r}"
            )
        missing = {_primary(task) for task in model.tasks} - {
            f"{task}_{metric.name}" for task, metric, _ in model.task_metrics
        }
        if missing:
            raise ValueError(
                f"Parameter `{parameter}` should be compiled with the primary metric of each task, by which gains are "
                f"told. Received: metrics without {sorted(missing)}. Compile without `metrics`, or with these too."
            )
    if source is target:
        raise ValueError("Parameters `source` and `target` should be two models. Received: the same model twice.")


def _shared(source: Any, target: Any, shared: Any) -> dict[str, str]:
    """The layers to carry: paths in the source by paths in the target."""
    if shared is None:
        return correspondence(source, target, "name")[0]
    paths = [shared] if isinstance(shared, str) else shared
    by = dict(paths) if isinstance(paths, Mapping) else {path: path for path in paths}
    found, left = correspondence(source, target, by)
    if left:
        raise ValueError(
            "Parameter `shared` should have layers that are of the same shapes in both models. Received: "
            f"shared={shared!r}, of which the layers {left} of the target have no such counterpart."
        )
    if len(set(found.values())) < len(found):
        raise ValueError(
            "Parameter `shared` should lead each layer of the target to another one of the source. Received: "
            f"shared={shared!r}"
        )
    return found


def _arguments(model: MultiTaskModel, data: Any, parameter: str) -> dict[str, Any]:
    """The arguments of `fit` and `evaluate`, once the labels are checked."""
    if isinstance(data, list) or (isinstance(data, tuple) and len(data) not in (2, 3)):
        raise ValueError(
            f"Parameter `{parameter}` should be a data set, or a tuple of inputs, labels by key and, as a third, "
            f"sample weights. Received: a {type(data).__name__} of {len(data)}"
        )
    found = dict(zip(("x", "y", "sample_weight"), data if isinstance(data, tuple) else (data,), strict=False))
    try:
        engine.checked(model.tasks, found["x"], found.get("y"), in_pipeline=False)
    except ValueError as error:
        raise ValueError(
            f"Parameter `{parameter}` should fit the tasks of the model {model.name!r}: {error}"
        ) from error
    return found


def _primary(task: Task) -> str:
    """The name of a task's primary metric in the logs."""
    return f"{task.name}_{task.primary_metric}"


def _gained(model: MultiTaskModel, metrics: Sequence[Mapping[str, float]]) -> bool:
    """Whether a primary metric is better in the last round than in all before, of which some may be NaN."""
    for task in model.tasks:
        *before, last = (found[_primary(task)] for found in metrics)
        known = [value for value in before if not math.isnan(value)]
        first = not before or (not known and not math.isnan(last))
        if first or (known and (last > max(known) if task.higher_is_better else last < min(known))):
            return True
    return False
