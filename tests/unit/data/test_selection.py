"""Examples of a shard that are not excluded."""

import math

import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import tasks
from keras_mtl.data._layout import Layout
from keras_mtl.data._selection import examples, num_examples


@pytest.mark.parametrize("size", [1, 63, 64, 200])
@pytest.mark.parametrize("shard", [(0, 1), (1, 3)])
def test_positions_count_in_the_whole_data_set(size, shard):
    index, number = shard
    rng = np.random.default_rng(size)
    excluded = np.sort(rng.choice(size, size // 3, replace=False))
    expected = [row for row in range(index, size, number) if row not in excluded]
    if not expected:
        return
    dataset = tf.data.Dataset.from_tensor_slices((np.arange(size), {"a": np.zeros(size)}))
    layout = Layout({"d": dataset}, [tasks.Regression("a")], same_shapes=True)
    assert num_examples("d", dataset, None, excluded, index, number) == len(expected)
    assert [int(x) for x, _ in examples(dataset, layout, excluded, index, number)] == expected


def test_endless_and_unknown_sizes():
    dataset = tf.data.Dataset.range(3)
    nothing = np.zeros(0, "int64")
    assert num_examples("d", dataset.repeat(), None, nothing, 0, 1) == math.inf
    assert num_examples("d", dataset.filter(lambda x: True), None, nothing, 0, 1) is None
