"""A training that was interrupted goes on where it was, by the callbacks of Keras that save the model."""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_mtl import engine
from keras_mtl.model._catch_up import CatchUp
from keras_mtl.model._place import Place
from keras_mtl.model._progress import Progress, counted_steps, metric_variables, restore_metrics

_LOGGER = logging.getLogger(__name__)
# Names that `keras.callbacks.BackupAndRestore` gives; tests/unit/model/test_resume.py would notice others.
_WEIGHTS, _METADATA = "latest.weights.h5", "training_metadata.json"


def resume_callbacks(
    model: Any, arguments: dict[str, Any], source: Any, given: Sequence[keras.callbacks.Callback]
) -> tuple[Track, Resume]:
    """The callback that is to be the first of all, and the one that is to be the last.

    Args:
        model: a compiled model.
        arguments: the arguments of `keras.Model.fit`, changed in place.
        source: the data as they were given.
        given: the user's callbacks.
    """
    progress = model.progress
    goes_on = progress.loaded and arguments.get("initial_epoch") == progress.epochs
    saving = (keras.callbacks.BackupAndRestore, keras.callbacks.ModelCheckpoint)
    savers = [callback for callback in given if isinstance(callback, saving)]
    kept = goes_on or bool(savers)
    if engine.has_workers(model):
        engine.check_same_training(model, _facts(arguments, source, savers))
    place = Place(model, arguments, source, kept=kept)
    if not goes_on:
        progress.reset()
        place.begin(progress, arguments.get("initial_epoch") or 0)
    track = Track(place, [callback for callback in given if isinstance(callback, keras.callbacks.BackupAndRestore)])
    return track, Resume(place, track, arguments, goes_on=goes_on)


def _facts(arguments: dict[str, Any], source: Any, savers: Sequence[Any]) -> dict[str, Any]:
    """What has to be the same on all workers, which take their steps, and save, together."""
    numbers = ("batch_size", "epochs", "initial_epoch", "steps_per_epoch", "shuffle")
    of_validation = ("validation_freq", "validation_steps", "validation_batch_size", "validation_split")
    kind: list[Any] = [type(source).__name__]
    if arguments["y"] is not None:
        kind += [tuple(np.shape(leaf)) for leaf in keras.tree.flatten((source, arguments["y"]))]
    of_savers = ("save_freq", "save_best_only", "save_weights_only", "delete_checkpoint")
    return {
        "the arguments of `fit`": {name: arguments.get(name) for name in numbers},
        "the validation": [arguments.get("validation_data") is None, *(arguments.get(name) for name in of_validation)],
        "the kind or the shape of the data": kind,
        "the callbacks that save the model": [
            [type(saver).__name__, *(str(getattr(saver, name, None)) for name in of_savers)] for saver in savers
        ],
    }


class Track(keras.callbacks.Callback):
    """The first callback: keeps the model's progress, before others save it, and mends what Keras left half-written.

    Args:
        place: the place in the data.
        backups: the user's callbacks that restore.
    """

    # Else Keras would wait for each step, for the sake of a number. Whoever saves within an epoch makes it wait anyway.
    async_safe = True

    def __init__(self, place: Place, backups: Sequence[keras.callbacks.BackupAndRestore]) -> None:
        super().__init__()
        self._place = place
        self._backups = backups
        self._folders = {Path(each.backup_dir): each for each in backups if "://" not in str(each.backup_dir)}
        self.unreadable: Path | None = None

    @property
    def folders(self) -> str:
        """Those of the backups, for messages."""
        return " or ".join(f"`{backup.backup_dir}`" for backup in self._backups)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Forgets earlier trainings, and removes notes of Keras that are cut short, or without weights.

        Of several workers, makes the folders that they share.
        """
        self.model.progress.begin_fit(Path(each.backup_dir) for each in self._backups)
        # Private: Keras leaves there the epoch of an earlier `fit` that was restored, and would begin with it again.
        # tests/unit/model/test_resume.py would notice if it were called otherwise.
        self.model._initial_epoch = None
        found = [(folder, *_held_by(folder)) for folder in self._folders]
        if engine.has_workers(self.model):
            # Before any is changed, and before Keras reads the weights, in which all workers take part. A kill may have
            # left notes in some of their folders alone.
            engine.check_same_training(self.model, {"their backups": [has_weights for _, has_weights, _ in found]})
        for folder, has_weights, notes in found:
            self._mend(folder, has_weights, notes)
            if engine.has_workers(self.model):
                # Keras looks whether it is there and then makes it, and fails where another worker was first.
                folder.mkdir(parents=True, exist_ok=True)

    def _mend(self, folder: Path, has_weights: bool, notes: str | None) -> None:
        if notes is None:
            return
        path = folder / _METADATA
        try:
            json.loads(notes)["epoch"]
            readable = True
        except (ValueError, KeyError, TypeError):
            readable = False
        if has_weights and not readable:
            self.unreadable = path
        if not has_weights or not readable:
            _LOGGER.info("`%s` is cut short, or without weights, and is removed.", path)
            path.unlink(missing_ok=True)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the epoch, or puts back what the metrics were within it: Keras has just set them to 0."""
        progress = self.model.progress
        if progress.catching_up:
            if not restore_metrics(progress, metric_variables(self.model.metrics, self.model.task_metrics)):
                warnings.warn(
                    f"The training goes on within epoch {epoch + 1}, with metrics that it did not have before, by "
                    "`metrics` or `on_nonfinite` of `compile`, say: in this epoch, those count its remaining batches.",
                    stacklevel=2,
                )
        else:
            progress.epochs, progress.batches = epoch, 0
        self._place.begin_epoch(progress, epoch)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes that there is an iterator over the data."""
        self._place.read()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the batch: of several steps at once, the last."""
        progress = self.model.progress
        if not progress.catching_up:
            progress.batches, progress.at_once = batch + 1, self.model.steps_per_execution
            progress.untrained = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes that the epoch is complete."""
        progress = self.model.progress
        if isinstance(self.model.train_function, CatchUp) and not self.model.stop_training:
            self.model.train_function.check_end()
        if progress.batches:
            progress.untrained = None  # though all of its batches may have been trained before
        progress.epochs, progress.batches, progress.catching_up, progress.metrics = epoch + 1, 0, False, {}
        self._place.end_epoch(whole=not self.model.stop_training)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Of several workers, waits for all before they remove a folder that they share."""
        if engine.has_workers(self.model):
            folders = [folder for folder, backup in self._folders.items() if backup.delete_checkpoint]
            if folders:
                engine.wait_for_all(self.model)
            for folder in folders:
                # Each removes what it finds, and what another has removed already is no failure.
                shutil.rmtree(folder, ignore_errors=True)


def _held_by(folder: Path) -> tuple[bool, str | None]:
    """Whether weights are in the folder of a backup, and the notes of Keras beside them, or None."""
    notes = folder / _METADATA
    text = notes.read_text(encoding="utf-8", errors="replace") if notes.is_file() else None
    return (folder / _WEIGHTS).is_file(), text


class Resume(keras.callbacks.Callback):
    """The last callback: sees whether the model was restored, and has the training go on from there.

    Args:
        place: the place in the data.
        track: the first callback.
        arguments: those of `keras.Model.fit`.
        goes_on: whether a loaded model is to go on with the epoch that it had reached.
    """

    def __init__(self, place: Place, track: Track, arguments: dict[str, Any], *, goes_on: bool) -> None:
        super().__init__()
        self._place = place
        self._track = track
        self._initial_epoch = arguments.get("initial_epoch") or 0
        if self._initial_epoch:  # Keras would take it in the place of an epoch 0 that is restored
            arguments["initial_epoch"] = 0
        self._epochs = arguments.get("epochs", 1)
        self._goes_on = goes_on
        self._before = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Sets the epoch and the place in the data. From here on, what callbacks load has no say in them."""
        model, progress = self.model, self.model.progress
        if engine.has_workers(model):
            reached = [progress.loaded, progress.epochs, progress.batches, progress.seed]
            if not progress.loaded:  # weights of plain Keras, say, whose epoch is in the notes alone
                reached += [model._initial_epoch, self._track.unreadable is None]
            engine.check_same_training(model, {"the place where they go on, by the backup of each": reached})
        progress.begin_epochs(counted_steps(model))
        # Private, as `BackupAndRestore` does it. What it read it from is written after the weights, and may be of the
        # epoch before.
        # An epoch 0 in those notes may be one within any other epoch, too, with which a process began.
        restored = progress.epochs if progress.loaded else model._initial_epoch or None
        model._initial_epoch = self._initial_epoch if restored is None else restored
        if not progress.loaded and self._track.unreadable is not None:
            raise ValueError(
                f"The backup in `{self._track.unreadable.parent}` does not say which epoch it is of: its "
                f"`{_METADATA}` was cut short, and its weights were written without a progress, by plain Keras say. "
                "Remove the folder to begin anew, or load the weights from it and pass `initial_epoch`."
            )
        if restored is not None:
            self._tell_of_earlier(restored, progress.batches)
        if (progress.loaded or self._goes_on) and (progress.epochs, progress.batches) > (self._epochs, 0):
            self._stay(progress)
            return
        size = self._place.size((self.params or {}).get("steps"))  # a `CallbackList` of the user's own has none
        if progress.loaded or self._goes_on:
            self._go_on(progress, size)
        self._place.note(progress, size)

    def _tell_of_earlier(self, epochs: int, batches: int) -> None:
        if self._initial_epoch > epochs:
            warnings.warn(
                f"The backup is of a training that has come as far as {epochs} epochs and {batches} batches: the model "
                "has its weights now, and the training goes on from there. Received: initial_epoch="
                f"{self._initial_epoch}. To begin with that epoch, and the weights that the model had, remove the "
                f"folder of the backup before: {self._track.folders}.",
                stacklevel=2,
            )

    def _stay(self, progress: Progress) -> None:
        """Where the training is further on than it is to be, leaves all as it is, and what is saved is the same."""
        warnings.warn(
            f"The training has come as far as {progress.epochs} epochs and {progress.batches} batches already, and "
            f"nothing is trained. Received: epochs={self._epochs}. To go on with this model, give `fit` more `epochs` "
            f"and initial_epoch={progress.epochs}; a `BackupAndRestore` removes its folder at the end, as ever.",
            stacklevel=2,
        )
        if progress.batches:
            restore_metrics(progress, metric_variables(self.model.metrics, self.model.task_metrics))

    def _go_on(self, progress: Progress, size: int | None) -> None:
        self._place.check(progress, size)
        _LOGGER.info("The training goes on after %d epochs and %d batches.", progress.epochs, progress.batches)
        progress.loaded, progress.catching_up = False, progress.batches > 0
        self._before = self._place.go_to(progress)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Has the first epoch begin at its place: by now, other callbacks have made the train function anew."""
        model, batches = self.model, self.model.progress.batches
        if self._before or model.progress.catching_up:
            model.train_function = CatchUp(model, self._before, batches)
        self._before = 0
