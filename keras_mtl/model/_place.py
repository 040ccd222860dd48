"""Where in the data of `fit` a training that goes on has to begin."""

from __future__ import annotations

import logging
import math
import random
import warnings
from collections.abc import Iterator
from typing import Any

import keras

from keras_mtl import engine
from keras_mtl.model._order import note_order, order_before, order_of
from keras_mtl.model._progress import Progress

_LOGGER = logging.getLogger(__name__)


class Place:
    """The data of a training, and how to come to the place that it has reached.

    Args:
        model: a compiled model.
        arguments: the arguments of `keras.Model.fit`, changed in place.
        source: the data as they were given.
        kept: whether the training may be gone on with later, or goes on with an earlier one.
    """

    def __init__(self, model: Any, arguments: dict[str, Any], source: Any, *, kept: bool) -> None:
        self._model = model
        self._source = source
        self._order = order_of(arguments)
        self._shuffled: engine.ShuffledArrays | None = None
        # Of one stream for all epochs, how many batches an epoch takes from it; None: the data are read anew in each.
        self._per_epoch: int | None = None
        self._lost: str | None = None
        self._order_of_keras = False
        self._reading = False
        self._has_hooks = isinstance(source, keras.utils.PyDataset) and any(
            getattr(type(source), name) is not getattr(keras.utils.PyDataset, name)
            for name in ("on_epoch_begin", "on_epoch_end")
        )
        if arguments["y"] is not None:
            self._set_arrays(arguments, kept=kept)
        elif isinstance(arguments["x"], keras.utils.PyDataset):
            if arguments.get("shuffle", True):
                self._lost = (
                    "Keras draws the order of a PyDataset. Pass shuffle=False, and let it have one order for all epochs"
                )
                self._check_one_order()
        else:
            self._set_stream(model, arguments, kept=kept)
        if self._lost is None and engine.share_order(arguments["x"], arguments.get("validation_data")):
            self._lost = (
                "The training and the validation data share a `shuffle`, so that each changes the order of the other. "
                "Give each its own, or pass reshuffle_each_iteration=False to that one"
            )
        self._x = arguments["x"]

    def begin(self, progress: Progress, epoch: int) -> None:
        """Notes how the data are found, where they begin to be read with an epoch."""
        progress.start, progress.taken = epoch, self._per_epoch or 0
        progress.passes, progress.others = engine.readings(self._source)
        progress.ordered = self._lost is None and not self._order_of_keras

    def begin_epoch(self, progress: Progress, epoch: int) -> None:
        """Is told that an epoch begins."""
        if self._per_epoch is None:
            self._reading = False
        if self._shuffled is not None:
            if progress.seed is None:
                progress.seed = engine.of_first_worker(self._model, random.randrange(2**31))
            self._shuffled.begin(progress.seed, epoch)

    def read(self) -> None:
        """Is told that a batch is about to be read."""
        if not self._reading:
            engine.reading_begins(self._source)
        self._reading = True

    def end_epoch(self, *, whole: bool) -> None:
        """Is told that an epoch has ended, and whether with the end of the data."""
        if self._per_epoch is None and self._lost is None and whole:
            engine.pass_taken(self._source)

    def size(self, steps: int | None) -> int | None:
        """How many batches an epoch has, or None where that is not known.

        Args:
            steps: how many steps Keras expects in an epoch, or None.
        """
        return self._per_epoch or steps

    def check(self, progress: Progress, size: int | None) -> None:
        """Raises a `ValueError` if the place within an epoch cannot be found, or the batches there would be others.

        Keras counts the last steps of an epoch as if as many were taken at once as ever.

        Args:
            progress: how far the training has come.
            size: how many batches an epoch has from now on, or None.
        """
        at_once = self._model.steps_per_execution
        if progress.batches and progress.at_once not in (None, at_once):
            raise ValueError(
                f"The training was interrupted within an epoch, with steps_per_execution={progress.at_once}. Received: "
                f"steps_per_execution={at_once}, with which that place is not found. Compile the model as it was."
            )
        before = progress.size or progress.taken  # older files have the second alone, which is 0 for a pass
        too_many = size is not None and progress.batches > math.ceil(size / at_once) * at_once
        if progress.batches and size is not None and (too_many or (before and before != size)):
            where = f" of {before} batches" if before else f", after {progress.batches} batches"
            raise ValueError(
                f"The training was interrupted within an epoch{where}. Received: data, a batch size and a "
                f"`steps_per_epoch` by which an epoch has {size}. Give `fit` the same as before, or remove the backup "
                "to begin anew."
            )
        order = order_before(progress)
        if progress.batches and self._order.differs(order):
            raise ValueError(
                f"The training was interrupted within an epoch of {order}. Received: {self._order}, with which the "
                "rest of that epoch would have other examples. Give `fit` the same as before, or remove the backup to "
                "begin anew."
            )

    def note(self, progress: Progress, size: int | None) -> None:
        """Notes what the epochs from now on are like, for the files.

        Args:
            progress: how far the training has come.
            size: how many batches an epoch has, or None.
        """
        progress.size = size
        note_order(progress, self._order)

    def go_to(self, progress: Progress) -> int:
        """Goes to the beginning of the epoch that comes next, and returns how many batches are to be read for that."""
        epochs = progress.epochs - progress.start
        why = self._why_lost(progress, epochs)
        if why is not None:
            self._warn(progress.epochs, why)
            self.begin(progress, progress.epochs)
            return 0
        progress.taken = self._per_epoch or 0
        if self._per_epoch is not None:
            return epochs * self._per_epoch
        if hasattr(self._x, "cardinality") and self._shuffled is None:
            passes = progress.passes + epochs - engine.readings(self._source)[0]
            if passes:
                _LOGGER.info("The data are read past the %d epochs that are trained already.", passes)
            engine.read_past(self._x, passes)
            engine.reading_begins(self._source, passes)
            engine.pass_taken(self._source, passes)
        return 0

    def _why_lost(self, progress: Progress, epochs: int) -> str | None:
        """Why the place in the data cannot be found, or None.

        Args:
            progress: how far the training has come.
            epochs: those since the data began to be read.
        """
        if self._lost is not None:
            return self._lost
        if not progress.ordered:
            return (
                "Before, Keras drew the order. It is kept where `fit` has a `ModelCheckpoint` or a `BackupAndRestore` "
                "from the beginning"
            )
        if self._shuffled is not None and progress.seed is None:
            return "Before, the data had an order of their own, and from now on `fit` draws one"
        if self._has_hooks and epochs:
            return (
                "The PyDataset has an `on_epoch_begin` or `on_epoch_end` of its own, which is not called for epochs "
                "that are trained already. Where it changes the order, let that be one order for all epochs"
            )
        if progress.taken not in (None, self._per_epoch or 0) and (epochs or progress.batches):
            then, now = (
                f"{taken} batches of one stream" if taken else "a pass" for taken in (progress.taken, self._per_epoch)
            )
            return (
                f"An epoch was {then} before, and is {now} now. Give `fit` the same data and `steps_per_epoch`, and "
                "the model the same `steps_per_execution` and strategy"
            )
        passes, others = engine.readings(self._source)
        if self._per_epoch is not None:
            epochs = 0
        if others > progress.others or passes > progress.passes + epochs:
            return "This data set was read more often than that. Make it anew"
        if others < progress.others or (passes < progress.passes and (others or self._per_epoch is not None)):
            return "That training found its data set read by others. Make it anew for each `fit`"
        return None

    @staticmethod
    def _warn(epochs: int, why: str) -> None:
        warnings.warn(
            f"The training goes on after {epochs} epochs, with examples in another order than that of a training "
            f"without an interruption. {why}.",
            stacklevel=2,
        )

    def _set_arrays(self, arguments: dict[str, Any], *, kept: bool) -> None:
        if arguments.get("steps_per_epoch"):
            self._lost = "With steps_per_epoch, that is kept for a `tf.data.Dataset` only"
        if not arguments.get("shuffle", True):
            return
        if self._lost is not None:
            self._check_one_order()
            return
        weights = arguments.get("sample_weight")
        arrays = (arguments["x"], arguments["y"], *([] if weights is None else [weights]))
        if arguments.get("shuffle", True) is not True or arguments.get("validation_split"):
            self._lost = "Keras draws the order. Pass shuffle=True, and `validation_data` in place of validation_split"
        elif not engine.can_shuffle(arrays):
            self._lost = "Keras draws the order of what is neither NumPy array nor tensor"
        elif kept or engine.has_workers(self._model):
            batch_size = arguments.pop("batch_size", None) or 32
            self._shuffled = engine.ShuffledArrays(arrays, batch_size)
            if isinstance(arguments.get("validation_data"), tuple):
                arguments["validation_batch_size"] = arguments.get("validation_batch_size") or batch_size
            arguments.pop("sample_weight", None)
            arguments.update(x=self._shuffled.dataset(), y=None, shuffle=False)
        else:
            self._order_of_keras = True
        if self._lost is not None:
            self._check_one_order()

    def _check_one_order(self) -> None:
        """Raises a `ValueError` if each of several workers would draw an order of its own.

        Each takes its part of what it reads: in other orders, some examples would be left out and others come twice.
        """
        if engine.has_workers(self._model):
            raise ValueError(
                f"Several workers should read the examples in one order, and each would draw its own. {self._lost}."
            )

    def _set_stream(self, model: Any, arguments: dict[str, Any], *, kept: bool) -> None:
        x, steps, at_once = arguments["x"], arguments.get("steps_per_epoch"), model.steps_per_execution
        size = engine.number_of_batches(x)
        if not isinstance(x, Iterator) and not hasattr(x, "cardinality"):
            self._lost = f"A {type(x).__name__} is read by its own rules"
        elif steps and size is None and not isinstance(x, Iterator) and not engine.is_endless(x):
            # Where such a data set ends within an epoch, Keras begins it anew, after fewer steps than it was asked for.
            self._lost = (
                "With `steps_per_epoch`, the data set should have a known number of batches, or no end: `repeat()` it, "
                "as the last thing"
            )
        elif steps and size is None:
            self._per_epoch = math.ceil(steps / at_once) * at_once
        elif steps and (size % steps or steps % at_once):
            self._lost = "The data set should have a multiple of `steps_per_epoch` batches, or no end: `repeat()` it"
        elif steps or (engine.is_distributed(model) and size is not None and size % at_once == 0):
            # In one stream: over several replicas Keras reads ahead in iterators that it then throws away, so that a
            # data set which is shuffled anew in each pass has an order that nobody knows.
            self._per_epoch = steps or size
            if kept:
                arguments.update(x=engine.endless(x), steps_per_epoch=self._per_epoch)
            else:
                self._order_of_keras = engine.is_distributed(model)
        elif isinstance(x, Iterator):
            self._lost = "A generator without `steps_per_epoch` has one epoch"
        elif engine.is_distributed(model):
            self._lost = (
                "Over several replicas the data set should have a known number of batches, a multiple of "
                "`steps_per_execution`"
            )
