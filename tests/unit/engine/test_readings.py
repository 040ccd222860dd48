"""What `fit` has read of a data set, and data sets of which one changes the order of the other."""

import numpy as np
import tensorflow as tf

from keras_mtl import engine


def shuffled(**kwargs):
    return tf.data.Dataset.range(8).shuffle(8, seed=3, **kwargs)


def test_readings_are_counted_by_data_set():
    data, other = shuffled(), shuffled()
    assert engine.readings(data) == (0, 0)
    engine.reading_begins(data)
    assert engine.readings(data) == (0, 1)
    engine.pass_taken(data)
    engine.reading_begins(data, 3)
    engine.pass_taken(data, 2)
    assert engine.readings(data) == (3, 1)
    assert engine.readings(other) == (0, 0)


def test_what_comes_from_one_shuffle_is_counted_together():
    data = shuffled()
    engine.reading_begins(data.batch(2))
    engine.pass_taken(data.batch(2))
    assert engine.readings(data.batch(4)) == (1, 0)
    assert engine.readings(tf.data.Dataset.zip((data, shuffled()))) == (1, 1)


def test_generators_are_counted_and_arrays_are_not():
    generator = (each for each in range(3))
    for source in (generator, np.ones(3), iter([1, 2])):
        engine.reading_begins(source)
    assert engine.readings(generator) == (0, 1)
    assert engine.readings(np.ones(3)) == (0, 0)


def order(data):
    return [int(each) for each in data]


def test_a_shuffle_that_two_data_sets_share_is_found_where_one_changes_the_order_of_the_other():
    for kwargs, shared in (({}, True), ({"reshuffle_each_iteration": False}, False)):
        data = shuffled(**kwargs)
        first, second = data.skip(2).map(lambda x: x).prefetch(1), data.take(2)
        assert engine.share_order(first, second) == shared
        undisturbed = shuffled(**kwargs).skip(2)
        order(undisturbed), order(first), order(second)
        assert (order(first) != order(undisturbed)) == shared


def test_data_sets_that_share_no_shuffle():
    source = tf.data.Dataset.range(8)
    assert not engine.share_order(source.skip(2).shuffle(8), source.take(2))
    assert not engine.share_order(shuffled(), shuffled())
    assert not engine.share_order(shuffled(), np.ones(3))
    choice = tf.data.Dataset.range(2)
    data = shuffled()
    mixture = tf.data.Dataset.choose_from_datasets([data.batch(2), source.batch(2)], choice)
    assert engine.share_order(mixture, tf.data.Dataset.zip((data, source)))
