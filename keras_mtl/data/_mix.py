"""Several data sets as one stream of batches, with the labels of all tasks in each."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_mtl._checks import check_integer, check_one_of
from keras_mtl.data._draws import (
    Draws,
    check_length,
    check_shard,
    check_sizes,
    check_temperature,
    check_weights,
)
from keras_mtl.data._layout import Layout
from keras_mtl.data._leaks import Leaks
from keras_mtl.data._selection import examples, excluded_positions, num_examples

_ENDS = ("repeat", "stop", "once", "forever")


def mix(
    datasets: Mapping[str, tf.data.Dataset],
    tasks: Sequence[Any],
    *,
    batch_size: int,
    at_end: str,
    weights: str | Sequence[float] | Mapping[str, float] = "proportional",
    temperature: float | keras.optimizers.schedules.LearningRateSchedule = 1.0,
    batches: str = "mixed",
    shuffle: int | None = None,
    seed: int | None = None,
    exclude: Leaks | Mapping[str, Sequence[int]] | None = None,
    shard: tuple[int, int] | None = None,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """One stream of batches from several data sets, each of which serves one task or some of them.

    Use it where no data set has the labels of all tasks. Labels that an example lacks are missing ones; a loss is the
    mean over those that there are. Where inputs are dicts, a data set may lack some (images in one, texts in the
    other): since a model takes all its inputs, those are zeros or empty strings.

    Which data set comes next is drawn at random by `weights`, `temperature` and `seed`, and the place in the stream
    alone: each pass draws the same, and the stream can be saved and resumed with `tf.train.Checkpoint(iterator=...)`
    as far as the data sets themselves can.

    Args:
        datasets: unbatched data sets of `(inputs, {label: value})`, by name.
        tasks: the tasks of the model, `model.tasks`.
        batch_size: examples in a batch, at least 1. The last batch holds what remains.
        at_end: what happens at the end of a data set that ends before others. `"repeat"`: it begins again, and the
            stream ends when each has been read once at least; `"stop"`: the stream ends; `"once"`: the others go on,
            so that each example comes exactly once; `"forever"`: each begins again, and the stream has no end: give
            `fit` its `steps_per_epoch`.
        weights: how often each data set is drawn. `"proportional"` to its number of examples, `"uniform"`, or a number
            of at least 0 for each, by name or in their order. Defaults to `"proportional"`.
        temperature: weights are taken to the power of one by it: 1 leaves them as they are, and the larger it is, the
            nearer they come to `"uniform"`. A number above 0, or a schedule of `keras.optimizers.schedules`, whose
            step is the number of batches so far: of the pass, or, with `at_end="forever"`, of all epochs of `fit`.
            Defaults to 1.
        batches: `"mixed"`: examples of all data sets in each batch; `"single"`: each batch of one data set, which
            is then drawn by the batch. Defaults to `"mixed"`.
        shuffle: how many examples of each data set are held to choose the next one from, at random by `seed`, anew in
            each pass. Defaults to None: their own order.
        seed: an integer of at least 0 for the same stream each time. Defaults to None: another one each time, unless
            `keras.utils.set_random_seed` was called.
        exclude: examples to leave out: what `find_leaks` returned, whose training examples that are in other splits are
            meant; or positions by data set. `find_leaks` should have read the same data sets, as the split `"train"`
            of the same names, in the same order: shuffle by `shuffle`, not before. Defaults to None.
        shard: `(index, number)`: every `number`th example of each data set from that at `index`, for one of several
            workers. Their shards are disjoint, and together everything. Defaults to None: all.
        drop_remainder: whether to leave out a last batch of fewer examples. Defaults to False.

    Returns:
        A `tf.data.Dataset` of `(inputs, {label: values})` with the labels of all tasks. The number of batches is known
        where those of the examples are.

    Raises:
        ValueError: if an argument is out of its range, a data set is empty, has a label that no task takes, or inputs
            or labels of another shape or dtype, a task has no labels, or a number of examples is needed and not known.

    Example:

    >>> import numpy as np, tensorflow as tf
    >>> from keras_mtl import data, tasks
    >>> kinds = [tasks.Classification("topic", 3), tasks.Regression("stars")]
    >>> news = tf.data.Dataset.from_tensor_slices((np.zeros((6, 4)), {"topic": [0, 1, 2, 0, 1, 2]}))
    >>> reviews = tf.data.Dataset.from_tensor_slices((np.ones((2, 4)), {"stars": [4.5, 1.0]}))
    >>> stream = data.mix({"news": news, "reviews": reviews}, kinds, batch_size=4, at_end="once", seed=0)
    >>> len(stream)
    2
    >>> sorted(float(star) for _, y in stream for star in y["stars"] if star == star)
    [1.0, 4.5]
    """
    _check_datasets(datasets)
    batch_size = check_integer(batch_size, "batch_size")
    check_one_of(at_end, "at_end", _ENDS)
    check_one_of(batches, "batches", ("mixed", "single"))
    if not isinstance(drop_remainder, bool):
        raise ValueError(f"Parameter `drop_remainder` should be True or False. Received: {drop_remainder!r}")
    shuffle = None if shuffle is None else check_integer(shuffle, "shuffle")
    seed = random.randrange(2**31) if seed is None else check_integer(seed, "seed", minimum=0)
    temperature = check_temperature(temperature)
    index, number = check_shard(shard)
    mixed = batches == "mixed"
    layout = Layout(datasets, tasks, same_shapes=mixed)

    excluded = excluded_positions(exclude, datasets)
    sizes: dict[str, float | None] = {}
    parts: list[tf.data.Dataset] = []
    for position, (name, dataset) in enumerate(datasets.items()):
        sizes[name] = num_examples(name, dataset, exclude, excluded[name], index, number)
        part = examples(dataset, layout, excluded[name], index, number)
        if shuffle is not None:
            part = part.shuffle(shuffle, seed=seed + position, reshuffle_each_iteration=True)
        parts.append(part if mixed else part.batch(batch_size, drop_remainder=drop_remainder))

    to_their_ends = at_end in ("repeat", "once")
    if at_end == "repeat":
        check_sizes(sizes, "at_end='repeat'")
    if at_end == "once":
        check_sizes({name: size for name, size in sizes.items() if size is not None}, "at_end='once'")
    shares = check_weights(weights, sizes, all_positive=to_their_ends)
    if to_their_ends:
        check_length(shares, temperature, sizes)
    draws = Draws(shares, temperature, batch_size if mixed else 1, seed)
    units = [
        _units(f"Data set {name!r}", size, 1 if mixed else batch_size, drop_remainder) for name, size in sizes.items()
    ]
    total = _total(draws, [unit if share else math.inf for unit, share in zip(units, shares, strict=True)], at_end)
    if at_end in ("repeat", "forever"):
        parts = [part.repeat() for part in parts]
    stream = tf.data.Dataset.choose_from_datasets(parts, draws.dataset(), stop_on_empty_dataset=at_end == "stop")
    if at_end == "repeat":
        stream = stream.take(total)
    if mixed:
        stream = stream.batch(batch_size, drop_remainder=drop_remainder)
        total = total if total in (None, math.inf) else _units("The mixture", total, batch_size, drop_remainder)
    if total is not None:
        cardinality = tf.data.INFINITE_CARDINALITY if total == math.inf else int(total)
        stream = stream.apply(tf.data.experimental.assert_cardinality(cardinality))
    return stream.prefetch(tf.data.AUTOTUNE)


def _check_datasets(datasets: Any) -> None:
    if not isinstance(datasets, Mapping) or not datasets:
        raise ValueError(
            f"Parameter `datasets` should be a dict of data sets by name, of at least one. Received: {datasets!r}"
        )
    for name, dataset in datasets.items():
        if not isinstance(name, str) or not isinstance(dataset, tf.data.Dataset):
            raise ValueError(
                f"Parameter `datasets` should hold `tf.data.Dataset`s by name. Received: {name!r}: "
                f"{type(dataset).__name__}"
            )


def _units(what: str, size: float | None, batch_size: int, drop_remainder: bool) -> float | None:
    """How many batches there are in `size` examples."""
    if size is None or size == math.inf:
        return size
    number = size // batch_size if drop_remainder else -(-size // batch_size)
    if number == 0:
        raise ValueError(
            f"{what} should have a whole batch of {batch_size} examples at least, for `drop_remainder` is "
            f"True. Received: {size} examples"
        )
    return number


def _total(draws: Draws, units: Sequence[float | None], at_end: str) -> float | None:
    """How many draws the stream holds: None if that is not known."""
    if at_end == "forever":
        return math.inf
    sizes = [math.inf if size is None else size for size in units]
    if at_end == "once":
        return None if None in units else sum(sizes)
    if None in units:
        return None
    if at_end == "stop" and not any(math.isfinite(size) for size in sizes):
        return math.inf
    return draws.number_until(np.asarray(sizes, dtype="float64"), all_through=at_end == "repeat")
