"""Heads on a frozen backbone first, then more and more of the backbone, within one `fit`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_mtl._layers import layers_by_path
from keras_mtl.model import MultiTaskModel
from keras_mtl.optimizers import begin_anew
from keras_mtl.transfer._freeze import open_models, set_trainable, unchanged_if_refused
from keras_mtl.transfer._selection import backbone_of, chosen
from keras_mtl.transfer._stage import Stage


class FineTuning(keras.callbacks.Callback):
    """A callback of `fit` that trains by stages: as a rule the heads on a frozen backbone, then some of it, then all.

    Use it with a pretrained backbone, which the gradients of heads that know nothing yet would spoil. The stages follow
    each other by the number of the epoch, so that a run that is resumed, by `keras.callbacks.BackupAndRestore` or
    `initial_epoch`, goes on in the stage where it was; after the last stage's epochs, that stage goes on. The logs,
    and so the `History`, have the number of the `stage` of each epoch, from 1. At the first step of a stage that trains
    other weights, the step is traced once more.

    The balancer keeps its state from stage to stage. So does the optimizer, but that it begins anew with a stage that
    releases something, as after another `compile`: moments, sums of gradients, the count of its steps. Adam takes its
    moments to be as old as the training; those of weights that were just released are not, and their first steps would
    be of several times the learning rate. Where the optimizer's own learning rate is a schedule, which counts the
    steps, its state stays, and this is so.

    Compile the model with its backbone trainable: the stages freeze it. A layer of the backbone that is to stay frozen
    for good is left out by `backbone`. After `fit` the layers are as the last stage left them.

    Source: J. Howard and S. Ruder, "Universal Language Model Fine-tuning for Text Classification", ACL 2018, for
    gradual unfreezing; there one layer more is released in each epoch, here each stage says what is.

    Args:
        stages: the stages. If one has a learning rate, those after it need one as well.
        backbone: patterns of the layers that are the backbone, as in `freeze`. Defaults to those that lead to two or
            more tasks; needed where there are none, and where new layers, such as experts, are among them.

    Raises:
        ValueError: here for stages that do not fit together, and at the beginning of `fit`, before any training, if a
            pattern matches no layer, the optimizer does not know the weights or cannot be given a learning rate, or
            the balancer has state for each shared weight.

    Example:

    >>> import numpy as np
    >>> import keras_mtl as mtl
    >>> x = np.random.default_rng(0).normal(size=(32, 3)).astype("float32")
    >>> tasks = [mtl.tasks.Regression("a"), mtl.tasks.Regression("b")]
    >>> model = mtl.build_model(mtl.backbones.MLP((3,), units=(8, 8)), tasks)
    >>> model.compile("adam", balancer="upgrad")
    >>> stages = [mtl.transfer.Stage(1), mtl.transfer.Stage(2, layers=1, learning_rate=1e-4)]
    >>> history = model.fit(x, {"a": x[:, 0], "b": x[:, 1]}, epochs=3, verbose=0,
    ...                     callbacks=[mtl.transfer.FineTuning(stages)])
    >>> history.history["stage"]
    [1, 2, 2]
    >>> model.get_layer("dense_0").trainable, model.get_layer("dense_1").trainable
    (False, True)
    """

    def __init__(self, stages: Sequence[Stage], *, backbone: str | Sequence[str] | None = None) -> None:
        super().__init__()
        if not isinstance(stages, (list, tuple)) or not stages or not all(isinstance(each, Stage) for each in stages):
            raise ValueError(
                f"Parameter `stages` should be a list of `Stage`s, at least one. Received: stages={stages!r}"
            )
        for number, (before, stage) in enumerate(zip(stages, stages[1:], strict=False), 2):
            if before.learning_rate is not None and stage.learning_rate is None:
                raise ValueError(
                    "A stage after one with a `learning_rate` should have one as well. Received: none in stage "
                    f"{number}."
                )
        self.stages = tuple(stages)
        self.backbone = backbone
        self._stage: int | None = None  # the position of the one that is on
        self._trained: Any = None
        self._part: dict[str, keras.layers.Layer] = {}
        self._released: list[set[str]] = []
        self._step, self._last_batch = 0, -1  # of the stage, and of the epoch

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Checks everything that the stages need."""
        del logs
        self._stage = None
        _check(self.model, self.stages)
        self._part = part = backbone_of(self.model, self.backbone)
        self._released = [set(chosen(self.model, part, stage.layers, stage.blocks)) for stage in self.stages]
        known = {id(variable) for variable in self.model.optimized_variables}
        with unchanged_if_refused(self.model):
            for position in range(len(self.stages)):
                self._set_trainable(position)
                unknown = [each.path for each in self.model.trainable_variables if id(each) not in known]
                if unknown:
                    raise ValueError(
                        f"Stage {position + 1} should train weights that were trainable when the model was compiled. "
                        f"Received: {len(unknown)} others, the first being {unknown[0]!r}. Compile the model with its "
                        "backbone trainable (`transfer.unfreeze`): the stages freeze it."
                    )
            self._warn_of_cuts(int(self.params["epochs"]))

    def _warn_of_cuts(self, epochs: int) -> None:
        begin, cuts = 0, []
        for number, stage in enumerate(self.stages, 1):
            left = max(0, epochs - begin)
            if left < stage.epochs:
                cut = f"is cut to {left} of its {stage.epochs} epochs" if left else "is never reached"
                cuts.append(f"stage {number} {cut}")
            begin += stage.epochs
        if cuts:
            warnings.warn(
                f"`fit` was given epochs={epochs}, and the stages have {begin} together: {', '.join(cuts)}.",
                stacklevel=2,
            )

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Enters the stage of the epoch."""
        del logs
        self._last_batch = -1
        position, begin = self._stage_of(epoch)
        if position == self._stage:
            return
        stage = self.stages[position]
        first = self._stage is None
        self._set_trainable(position)
        trained = _trained(self.model)
        if first or trained != self._trained:
            # What `fit` calls is an attribute that it looks up at every step.
            self.model.make_train_function(force=True)
        self._stage, self._trained = position, trained
        self._step = self._steps_before(epoch - begin) if _is_schedule(stage.learning_rate) else 0
        if epoch == begin and self._releases(position) and not self.model.progress.catching_up:
            with self.model.distribute_strategy.scope():
                begin_anew(self.model.optimizer, self.model.optimized_variables)
        if stage.learning_rate is not None and not _is_schedule(stage.learning_rate):
            self.model.optimizer.learning_rate = stage.learning_rate

    def _releases(self, position: int) -> bool:
        """Whether a stage trains something that the one before does not, with an optimizer that can begin anew."""
        has_number = isinstance(self.model.optimizer.learning_rate, keras.Variable)
        return has_number and position > 0 and not self._released[position] <= self._released[position - 1]

    def _stage_of(self, epoch: int) -> tuple[int, int]:
        """The position of the stage of an epoch, and the epoch with which it begins."""
        begin = 0
        for position, stage in enumerate(self.stages[:-1]):
            if epoch < begin + stage.epochs:
                return position, begin
            begin += stage.epochs
        return len(self.stages) - 1, begin

    def _steps_before(self, epochs: int) -> int:
        """How many steps of a stage came before, in a run that is resumed within it."""
        if epochs and self.params.get("steps") is None:
            raise ValueError(
                "A stage with a learning rate schedule can be resumed if the steps of an epoch are known. Received: a "
                "data set of unknown size. Give `steps_per_epoch` to `fit`."
            )
        return epochs * int(self.params["steps"]) if epochs else 0

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Sets the learning rate, if the stage has a schedule."""
        del batch, logs
        rate: Any = self.stages[self._stage or 0].learning_rate
        if _is_schedule(rate):
            self.model.optimizer.learning_rate = float(rate(self._step))

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Counts the steps of the stage."""
        del logs
        self._step += batch - self._last_batch
        self._last_batch = batch

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Puts the number of the stage in the logs."""
        if logs is not None:
            logs["stage"] = self._stage_of(epoch)[0] + 1

    def _set_trainable(self, position: int) -> None:
        rule, released = self.stages[position].batch_normalization, self._released[position]
        open_models(self.model)
        for path, layer in self._part.items():
            set_trainable(layer, path in released, rule)


def _is_schedule(rate: Any) -> bool:
    return isinstance(rate, keras.optimizers.schedules.LearningRateSchedule)


def _trained(model: keras.Model) -> tuple[Any, ...]:
    """What a step is traced for."""
    flags = tuple((id(layer), layer.trainable) for layer in layers_by_path(model).values())
    return flags, tuple(id(variable) for variable in model.trainable_variables)


def _check(model: Any, stages: Sequence[Stage]) -> None:
    """Raises a `ValueError` if a model cannot be trained by stages."""
    if not isinstance(model, MultiTaskModel):
        raise ValueError(f"`FineTuning` should be a callback of a `MultiTaskModel`. Received: a {type(model).__name__}")
    if any(stage.learning_rate is not None for stage in stages) and not isinstance(
        model.optimizer.learning_rate, keras.Variable
    ):
        raise ValueError(
            "Stages with a `learning_rate` need an optimizer that has a number as its learning rate. Received: one "
            "with a schedule. Give it a number, and the schedule to a stage."
        )
    optimizer: Any = model.optimizer
    while optimizer is not None:
        if optimizer.use_ema:
            raise ValueError(
                "`FineTuning` should have an optimizer that keeps no averages of the weights: Keras would set frozen "
                "ones to theirs. Received: use_ema=True. Leave it out."
            )
        optimizer = getattr(optimizer, "inner_optimizer", None)
    for balancer in (model.loss_balancer, model.gradient_balancer):
        if balancer is not None and balancer.keeps_gradients:
            raise ValueError(
                f"The balancer `{type(balancer).__name__}` has a number for each shared weight that is trained, and "
                "the stages train other ones. Use another balancer, or compile and fit once for each stage."
            )
