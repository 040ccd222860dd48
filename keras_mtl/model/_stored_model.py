"""What of a model goes into its files, and how they are written."""

from __future__ import annotations

from typing import Any

import keras

from keras_mtl.model._progress import Progress, load_progress, metric_variables, save_progress
from keras_mtl.model._random_state import load_random_states, save_random_states
from keras_mtl.model._saving import load_whole, write_whole


class StoredModel(keras.Model):
    """A model whose files are there whole or not at all, and hold all that a training goes on from."""

    progress: Progress
    task_metrics: Any

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
        load_whole(filepath, lambda: load(filepath, *args, **kwargs))

    def save_own_variables(self, store: Any) -> None:
        """Saves the states of the random generators and the progress of the training too."""
        super().save_own_variables(store)
        save_random_states(self, store)
        save_progress(self.progress, metric_variables(self.metrics, self.task_metrics), store)

    def load_own_variables(self, store: Any) -> None:
        """Loads what `save_own_variables` saved; one of Keras has weights, and leaves the rest as it is."""
        super().load_own_variables(load_progress(self.progress, load_random_states(self, store)))
