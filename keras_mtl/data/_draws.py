"""Which data set each part of a mixture comes from: drawn by seed and position, with no state of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from keras_mtl._checks import check_integers, check_number

Temperature: TypeAlias = float | keras.optimizers.schedules.LearningRateSchedule

_STEPS = 256  # batches whose parts are drawn at once
_MOST_DRAWS = 10_000  # for each example that there is


class Draws:
    """Draws of data sets, one after the other.

    Args:
        weights: how often each is drawn, relative to the others, `[num_datasets]`.
        temperature: weights are taken to the power of one by it; a number, or a schedule of it by batch.
        per_batch: how many draws make a batch.
        seed: an integer.
    """

    def __init__(self, weights: np.ndarray, temperature: Temperature, per_batch: int, seed: int) -> None:
        with np.errstate(divide="ignore"):  # log of 0: never drawn
            self._logits = np.log(weights / weights.max()).astype("float32")
        self._temperature = temperature
        self._per_batch = per_batch
        self._seed = seed

    def dataset(self) -> tf.data.Dataset:
        """All draws, without end."""
        return self._blocks().unbatch()

    def _blocks(self) -> tf.data.Dataset:
        return tf.data.Dataset.counter().map(self._block)

    def number_until(self, sizes: np.ndarray, *, all_through: bool) -> int:
        """How many draws there are before one fails for want of examples, or, else, until all examples were drawn.

        Args:
            sizes: how many draws of each data set there are, `[num_datasets]`; infinity for no end.
            all_through: whether to count until each data set was drawn as often as it has examples.
        """
        drawn = np.zeros(len(sizes), dtype="int64")
        before = 0
        for draws in self._blocks().as_numpy_iterator():
            so_far = drawn + np.cumsum(draws[:, np.newaxis] == np.arange(len(sizes)), axis=0)
            ends = (so_far >= sizes).all(axis=1) if all_through else (so_far > sizes).any(axis=1)
            if ends.any():
                return before + int(ends.argmax()) + int(all_through)
            drawn = so_far[-1]
            before += len(draws)
        return before

    def _block(self, index: Any) -> Any:
        temperature = self._temperature
        if isinstance(temperature, keras.optimizers.schedules.LearningRateSchedule):
            steps = index * _STEPS + tf.range(_STEPS, dtype="int64")
            by_step = tf.map_fn(
                lambda step: tf.cast(temperature(step), "float32"), steps, fn_output_signature="float32"
            )
            logits = self._logits / by_step[:, tf.newaxis]
        else:
            logits = tf.tile((self._logits / np.float32(temperature))[np.newaxis], [_STEPS, 1])
        seed = tf.stack([tf.constant(self._seed, "int64"), index])
        return tf.reshape(tf.random.stateless_categorical(logits, self._per_batch, seed), [_STEPS * self._per_batch])


def check_weights(weights: Any, sizes: Mapping[str, float | None], *, all_positive: bool) -> np.ndarray:
    """The weights of the data sets, in their order, float64 `[num_datasets]`.

    Args:
        weights: `"proportional"`, `"uniform"`, or numbers, by name or in the order of the data sets.
        sizes: how many examples each data set has, by name; None where that is not known.
        all_positive: whether a weight of 0 will not do.

    Raises:
        ValueError: if they are something else.
    """
    names = list(sizes)
    if isinstance(weights, str) and weights == "uniform":
        return np.ones(len(names))
    if isinstance(weights, str) and weights == "proportional":
        check_sizes(sizes, 'weights="proportional"')
        return np.asarray(list(sizes.values()), dtype="float64")
    if isinstance(weights, Mapping) and set(weights) == set(names):
        weights = [weights[name] for name in names]
    if isinstance(weights, (str, Mapping)) or not isinstance(weights, (Sequence, np.ndarray)):
        raise ValueError(
            "Parameter `weights` should be 'proportional', 'uniform', or a number for each data set, in a list or by "
            f"name: {names}. Received: weights={weights!r}"
        )
    if len(weights) != len(names):
        raise ValueError(
            f"Parameter `weights` should hold a number for each of the data sets {names}. Received: weights={weights!r}"
        )
    found = np.asarray(
        [check_number(weight, f"weights[{name!r}]") for name, weight in zip(names, weights, strict=True)]
    )
    if all_positive and found.min() == 0:
        raise ValueError(
            "Parameter `weights` should be above 0 for every data set, for all are read to their end. Received: "
            f"weights={weights!r}. Leave data sets out, or choose at_end='stop' or 'forever'."
        )
    if found.max() == 0:
        raise ValueError(f"Parameter `weights` should be above 0 for one data set at least. Received: {weights!r}")
    return found


def check_length(weights: np.ndarray, temperature: Temperature, sizes: Mapping[str, float | None]) -> None:
    """Raises if one data set is drawn so seldom that the others are read thousands of times before it is through."""
    known = np.asarray([0.0 if size is None else size for size in sizes.values()])
    if isinstance(temperature, keras.optimizers.schedules.LearningRateSchedule):
        return
    with np.errstate(divide="ignore"):
        shares = (weights / weights.max()) ** (1 / temperature)
        needed = known / (shares / shares.sum())
    if needed.max() > _MOST_DRAWS * known.sum():
        name = list(sizes)[int(needed.argmax())]
        raise ValueError(
            f"With these weights and temperature, about {needed.max():.3g} draws are needed before data set {name!r} "
            f"is through, of {known.sum():.0f} examples in all. Received: weights {weights.tolist()}, temperature "
            f"{temperature:g}. Give it a larger weight, or choose at_end='stop' or 'forever'."
        )


def check_sizes(sizes: Mapping[str, float | None], needed_by: str) -> None:
    """Raises if the size of a data set is not known, or infinite."""
    for name, size in sizes.items():
        if size is None or size == np.inf:
            raise ValueError(
                f"With {needed_by}, every data set should have a known number of examples. Received: data set "
                f"{name!r} with {'an unknown number' if size is None else 'no end'}. Give it by `dataset.apply("
                "tf.data.experimental.assert_cardinality(number))`, or choose otherwise."
            )


def check_temperature(temperature: Any) -> Temperature:
    """The temperature, if it is a number above 0 or a schedule whose values are.

    Raises:
        ValueError: if it is something else.
    """
    if not isinstance(temperature, keras.optimizers.schedules.LearningRateSchedule):
        temperature = check_number(temperature, "temperature")
        if temperature == 0:
            raise ValueError("Parameter `temperature` should be above 0. Received: temperature=0")
        return temperature
    for step in (0, *(10**power for power in range(8))):
        value = float(temperature(step))
        if not (np.isfinite(value) and value > 0):
            raise ValueError(
                "Parameter `temperature` should be a finite number above 0 at every step. Received: a schedule that is "
                f"{value} at step {step}"
            )
    return temperature


def check_shard(shard: Any) -> tuple[int, int]:
    """The index and the number of shards; `(0, 1)` for None.

    Raises:
        ValueError: if it is something else.
    """
    if shard is None:
        return 0, 1
    found = check_integers(shard, "shard", minimum=0)
    if len(found) != 2 or not found[0] < found[1]:
        raise ValueError(
            "Parameter `shard` should be the index of the shard and the number of shards, 0 <= index < number. "
            f"Received: shard={shard!r}"
        )
    return found[0], found[1]
