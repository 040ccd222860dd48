"""The place in the data: reading past is what Keras reads, arrays have an order for each epoch."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import engine


class Reader(keras.Model):
    """Does no more than note the batches that `fit` reads."""

    def __init__(self):
        super().__init__()
        self.rows = []
        self.compile(run_eagerly=True)

    def train_step(self, data):
        self.rows.append(keras.tree.flatten(data)[0].numpy().ravel().tolist())
        return {"loss": 0.0}


def read_by_keras(data, epochs, **kwargs):
    reader = Reader()
    reader.fit(data, epochs=epochs, verbose=0, **kwargs)
    return reader.rows


def shuffled(known=True):
    data = tf.data.Dataset.range(8).shuffle(8, seed=3).batch(4)
    return data if known else data.filter(lambda x: True)


@pytest.mark.parametrize(
    "known",
    [True, pytest.param(False, marks=pytest.mark.filterwarnings("ignore:Your input ran out of data"))],
)
@pytest.mark.parametrize("passes", [0, 1, 2])
def test_reading_past_comes_to_the_place_where_keras_would_be(known, passes):
    expected = read_by_keras(shuffled(known), 4, shuffle=False)
    assert expected[:2] != expected[2:4]
    data = shuffled(known)
    engine.read_past(data, passes)
    assert read_by_keras(data, 4 - passes, shuffle=False) == expected[2 * passes :]


def test_the_number_of_batches():
    assert engine.number_of_batches(shuffled()) == 2
    assert engine.number_of_batches(shuffled(known=False)) is None
    assert engine.number_of_batches(shuffled().repeat()) is None
    assert engine.number_of_batches(np.ones(3)) is None
    assert int(engine.endless(shuffled()).cardinality()) == tf.data.INFINITE_CARDINALITY


class TestShuffledArrays:
    def batches(self, seed, epoch):
        x = np.arange(10, dtype="float64")
        arrays = engine.ShuffledArrays(({"in": x}, {"a": (x * 2).astype("int32"), "s": tf.strings.as_string(x)}), 4)
        arrays.begin(seed, epoch)
        return list(arrays.dataset().as_numpy_iterator())

    def test_they_hold_each_example_once_and_rows_together(self):
        found = self.batches(1, 0)
        assert [len(x["in"]) for x, _ in found] == [4, 4, 2]
        assert found[0][0]["in"].dtype == "float32"
        assert found[0][1]["a"].dtype == "int32"
        x, a, s = (np.concatenate(each) for each in zip(*((x["in"], y["a"], y["s"]) for x, y in found), strict=True))
        assert sorted(x) == list(range(10))
        assert x.tolist() != list(range(10))
        np.testing.assert_array_equal(a, 2 * x)
        np.testing.assert_array_equal(s.astype(float), x)

    def test_the_order_is_one_of_the_seed_and_the_epoch(self):
        orders = [[x["in"].tolist() for x, _ in self.batches(*key)] for key in ((1, 0), (1, 0), (1, 1), (2, 0))]
        assert orders[0] == orders[1]
        assert orders[0] != orders[2]
        assert orders[0] != orders[3]

    def test_their_number_is_known(self):
        assert engine.number_of_batches(engine.ShuffledArrays((np.ones(10), np.ones(10)), 4).dataset()) == 3

    @pytest.mark.parametrize(
        "arrays",
        [
            (np.ones((4, 2)), {"a": np.ones(3)}),
            (np.ones(3), {"a": tf.ones(4)}),
            (np.ones(4), {"a": np.ones(4)}, {"a": np.ones(6)}),
            (np.ones(4), {"a": np.array(1.0)}),
            (np.array(1.0), {"a": np.array(1.0)}),
        ],
    )
    def test_other_numbers_of_examples_are_an_error(self, arrays):
        with pytest.raises(ValueError, match=r"the same number of examples.* Received: arrays of the shapes \[\("):
            engine.ShuffledArrays(arrays, 2)

    @pytest.mark.usefixtures("two_replicas")  # two devices
    def test_arrays_are_kept_on_the_host_whatever_device_is_at_work(self, monkeypatch):
        made = []
        convert = tf.convert_to_tensor
        monkeypatch.setattr(tf, "convert_to_tensor", lambda array: made.append(convert(array)) or made[-1])
        with tf.device("CPU:1"):
            assert convert(np.ones(2)).device.endswith("CPU:1")
            engine.ShuffledArrays((np.ones(4), {"a": np.arange(4)}), 2)
        assert [each.device[-5:] for each in made] == ["CPU:0", "CPU:0"]

    def test_what_can_be_shuffled(self):
        assert engine.can_shuffle(({"a": np.ones(3)}, tf.ones(3)))
        assert not engine.can_shuffle((np.ones(3), [1, 2, 3]))
