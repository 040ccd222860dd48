"""What of a model goes into its files, and how they are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import keras

from keras_mtl.model._frozen import freeze_within, frozen_within
from keras_mtl.model._progress import Progress, load_progress, metric_variables, save_progress
from keras_mtl.model._random_state import load_random_states, save_random_states
from keras_mtl.model._saving import load_whole, write_whole


class StoredModel(keras.Model):
    """A model whose files are there whole or not at all, and hold all that a training goes on from."""

    progress: Progress
    tasks: Sequence[Any]
    task_metrics: Any
    _balancers: list[Any]
    _optimized: Mapping[str, Any]
    _compile_arguments: Mapping[str, Any]
    _configure: Any
    _optimize: Any

    def get_config(self) -> dict[str, Any]:
        """The graph, as a plain Functional model, and the tasks."""
        graph = keras.Model(self.input, self.output, name=self.name)
        config = {
            "graph": keras.saving.serialize_keras_object(graph),
            "tasks": [keras.saving.serialize_keras_object(task) for task in self.tasks],
            "trainable": self.trainable,
        }
        frozen = frozen_within(graph)
        return {**config, "frozen": frozen} if frozen else config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Self:
        """A model from what `get_config` returned."""
        graph = keras.saving.deserialize_keras_object(config["graph"], custom_objects=custom_objects)
        found = [keras.saving.deserialize_keras_object(task, custom_objects=custom_objects) for task in config["tasks"]]
        model = cls(graph.input, graph.output, found, name=graph.name, trainable=config["trainable"])
        freeze_within(model, config.get("frozen", {}))
        return model

    def get_compile_config(self) -> dict[str, Any] | None:
        """The arguments of `compile`, or None before it was called."""
        if not self.compiled:
            return None
        arguments = {"optimizer": self.optimizer, "balancer": list(self._balancers), **self._compile_arguments}
        config = keras.saving.serialize_keras_object(arguments)
        optimized = [id(variable) for variable in self._optimized["variables"]]
        if optimized != [id(variable) for variable in self.trainable_variables]:
            position = {id(variable): index for index, variable in enumerate(self.weights)}
            config["optimized_weights"] = [position[each] for each in optimized]
        return config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles the model with what `get_compile_config` returned."""
        config = dict(config)
        positions = config.pop("optimized_weights", None)
        self._configure(**keras.saving.deserialize_keras_object(config))
        # What was frozen after `compile` has its place in the optimizer's state.
        self._optimize(self.trainable_variables if positions is None else [self.weights[each] for each in positions])

    def save(self, filepath: Any, overwrite: bool = True, zipped: bool | None = None, **kwargs: Any) -> None:
        """Saves the model: `keras.Model.save`, to a file that is there whole or not at all.

        While `fit` goes once more through batches that a restored model was trained on already, nothing is saved.
        """
        if not self.progress.catching_up:
            save = super().save
            write_whole(self, filepath, lambda path: save(path, overwrite, zipped, **kwargs), asks=not overwrite)

    def save_weights(self, filepath: Any, overwrite: bool = True, max_shard_size: float | None = None) -> None:
        """Saves the weights: `keras.Model.save_weights`, as `save` does; several files (`max_shard_size`) as Keras."""
        if not self.progress.catching_up:
            save = super().save_weights
            write_whole(self, filepath, lambda path: save(path, overwrite, max_shard_size), asks=not overwrite)

    def load_weights(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Loads weights: `keras.Model.load_weights`, with an error that names a file that is cut short."""
        load = super().load_weights
        with self.progress.reading(filepath):
            load_whole(filepath, lambda: load(filepath, *args, **kwargs))

    def save_own_variables(self, store: Any) -> None:
        """Saves the states of the random generators and the progress of the training too."""
        super().save_own_variables(store)
        save_random_states(self, store)
        save_progress(self.progress, metric_variables(self.metrics, self.task_metrics), store)

    def load_own_variables(self, store: Any) -> None:
        """Loads what `save_own_variables` saved; one of Keras has weights, and leaves the rest as it is."""
        super().load_own_variables(load_progress(self.progress, load_random_states(self, store)))
