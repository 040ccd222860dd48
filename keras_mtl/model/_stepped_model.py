"""How a model makes the steps of `fit` and `evaluate`: by the engine."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import keras

from keras_mtl import engine
from keras_mtl.model._catch_up import CatchUp
from keras_mtl.model._stored_model import StoredModel


class SteppedModel(StoredModel):
    """A model whose steps are the engine's."""

    train_function: Any
    test_function: Any
    _observers: list[Callable[[Any], None]]

    def make_train_function(self, force: bool = False) -> None:
        """Makes what `fit` calls for one or several steps; by `force` anew, with what is trainable by now."""
        if force:
            with self.distribute_strategy.scope():
                self._partition = MappingProxyType({"partition": self.partitioned()})
        if force or self.train_function is None:
            before = self.train_function
            if engine.needs_own_functions(self):
                self.train_function = engine.make_train_function(self)
            else:
                super().make_train_function(force)
            function = engine.observed(self, self.train_function, self._observers)
            if isinstance(before, CatchUp):  # there are batches left that are to be read past
                before.function, function = function, before
            self.train_function = function

    def observe_next_batch(self, observer: Callable[[Any], None]) -> None:
        """Has `fit` hand the next batch to an observer before it trains on it: for callbacks, which see no batch.

        Args:
            observer: is called once, with the batch as `train_step` is given it, or, under a strategy, with those of
                the replicas. It is to leave the model as it is.
        """
        self._observers.append(observer)

    def forget_observers(self) -> None:
        """Takes back what waits for the next batch."""
        self._observers.clear()

    def check_look_ahead(self, learning_rate: float | None = None) -> None:
        """Raises a `ValueError` if `make_look_ahead` would not do with what `compile` found trainable.

        Args:
            learning_rate: as there.
        """
        shared = {id(variable) for layer in self.partition.shared_layers for variable in layer.weights}
        may_train = [variable for variable in self._optimized["variables"] if id(variable) in shared]
        engine.check_look_ahead(self, learning_rate, may_train)

    def make_look_ahead(self, learning_rate: float | None = None) -> Callable[[Any], tuple[Any, Any]]:
        """Makes a function from such a batch to the affinities between the tasks, which `TaskAffinity` averages.

        Args:
            learning_rate: of a step of plain gradient descent, or None for a step of the optimizer.

        Returns:
            A function that gives two arrays `[num_tasks, num_tasks]`: by how much of itself a step on the loss of the
            row's task lowers the loss of the column's, and whether that is defined.

        Raises:
            ValueError: if the tasks share no weight that is trained now, or the optimizer would not move.
        """
        return engine.LookAhead(self, learning_rate)

    def make_test_function(self, force: bool = False) -> None:
        """Makes what `evaluate` calls for one or several steps."""
        if force or self.test_function is None:
            if engine.needs_own_functions(self):
                self.test_function = engine.make_test_function(self)
            else:
                super().make_test_function(force)

    def train_step(self, data: Any) -> dict[str, Any]:
        """One update of the weights."""
        return engine.train_step(self, data)

    def test_step(self, data: Any) -> dict[str, Any]:
        """One batch of evaluation."""
        return engine.test_step(self, data)

    def predict_step(self, data: Any) -> dict[str, Any]:
        """The predictions of one batch."""
        return engine.predict_step(self, keras.utils.unpack_x_y_sample_weight(data)[0])

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The loss that `evaluate` reports, for one batch."""
        del x, training
        return engine.plain_total(self, engine.losses_by_label(self, y, y_pred, sample_weight))

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        # Private: under a strategy Keras reads a batch here, by which it builds what `compile` has built. That batch
        # would be lost, and one that is not numbers, such as labels that are booleans, cannot be reduced as Keras does.
        # tests/integration/test_replicas.py would notice if it were called otherwise.
        del iterator, data_batch
