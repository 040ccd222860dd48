"""Batches that were trained before are read again, and what is left of that where `fit` ends."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Iterator
from typing import Any

from keras_mtl.model._progress import counted_steps

_LOGGER = logging.getLogger(__name__)


@contextlib.contextmanager
def put_back(model: Any) -> Iterator[None]:
    """Takes away, in the end of a `fit`, what it has put in the place of the model's train function.

    Where it has trained nothing, for it was refused say, the model is as far as it was before, or as the backup is that
    it has loaded: the next `fit` may go on from there.
    """
    progress = model.progress
    progress.keep()
    try:
        yield
    finally:
        if isinstance(model.train_function, CatchUp):
            model.train_function = model.train_function.function
        progress.end_fit(counted_steps(model))


class CatchUp:
    """In place of a model's train function: reads the batches that were trained before, and trains on the rest.

    Keras counts its steps as ever, so that an epoch which goes on ends where it would have ended.

    Args:
        model: the model.
        before: batches of earlier epochs in the same stream.
        batches: batches of this epoch.
    """

    def __init__(self, model: Any, before: int, batches: int) -> None:
        self.function = model.train_function
        self._model = model
        self._before = before
        self._batches = batches
        self._read = 0

    def check_end(self) -> None:
        """Raises a `ValueError` if an epoch ends before all of its batches that were trained are read again."""
        if self._read < self._batches:
            raise self._ended(self._batches, self._read)

    def __call__(self, iterator: Any) -> Any:
        """What Keras calls for one step, or several."""
        if self._before:
            _LOGGER.info("The data are read past %d batches that are trained already.", self._before)
            found = self._pull(iterator, self._before)
            if found < self._before:
                raise self._ended(self._before, found)
            self._before = 0
        if self._read < self._batches:
            # The last step of a pass may have fewer batches than the others.
            if not self._pull(iterator, self._model.steps_per_execution):
                raise self._ended(self._batches, self._read)
            self._read += self._model.steps_per_execution
            self._model.forget_observers()
            return self._model.get_metrics_result()
        self._model.progress.catching_up = False
        if self._model.train_function is self:
            self._model.train_function = self.function
        return self.function(iterator)

    @staticmethod
    def _pull(iterator: Any, number: int) -> int:
        return sum(1 for _ in itertools.islice(iterator, number))

    @staticmethod
    def _ended(expected: int, found: int) -> ValueError:
        return ValueError(
            "The data should be those that the model was trained on before, and be read past as many batches of them: "
            f"{expected}. Received: {found}, and then their end. Give `fit` the same data, made anew, or remove the "
            "backup."
        )
