"""The gradients of embeddings, which TensorFlow gives by rows."""

import keras
import numpy as np

from keras_mtl import MultiTaskModel, balancers, tasks


def test_embeddings_have_gradients_for_the_rows_that_they_used():
    keras.utils.set_random_seed(0)
    words = keras.Input((3,), dtype="int32")
    trunk = keras.layers.Flatten()(keras.layers.Embedding(20, 4, name="embedding")(words))
    outputs = {name: keras.layers.Dense(1, name=name)(trunk) for name in ("a", "b")}
    x = np.random.default_rng(0).integers(0, 10, (16, 3))
    y = {"a": np.ones(16), "b": -np.ones(16)}
    kinds = [tasks.Regression("a"), tasks.Regression("b")]
    equal, by_sum = MultiTaskModel(words, outputs, kinds), None
    start = equal.get_weights()
    equal.compile(keras.optimizers.SGD(0.5))
    equal.fit(x, y, batch_size=16, verbose=0)
    moved = equal.get_weights()
    by_sum = MultiTaskModel(words, outputs, kinds)
    by_sum.set_weights(start)
    by_sum.compile(keras.optimizers.SGD(0.5), balancer="sum")
    by_sum.fit(x, y, batch_size=16, verbose=0)
    np.testing.assert_allclose(by_sum.get_weights()[0], moved[0], atol=1e-6)
    assert (moved[0][10:] == start[0][10:]).all()
    assert (moved[0] != start[0]).any()


def test_gradients_of_embeddings_are_the_same_however_they_were_found():
    """Adam sees it where a word comes several times in a batch, and its rows are squared one by one."""
    words = np.array([[1, 1, 1], [1, 2, 3]] * 4)
    labels = {"a": np.arange(8.0), "b": -np.ones(8)}
    ways = ["sum", balancers.Sum(update_every=2), balancers.Sum(gradients="features")]
    found = []
    for balancer in ways:
        keras.utils.set_random_seed(0)
        inputs = keras.Input((3,), dtype="int32")
        trunk = keras.layers.Flatten()(keras.layers.Embedding(6, 4)(inputs))
        outputs = {name: keras.layers.Dense(1, name=name)(trunk) for name in labels}
        model = MultiTaskModel(inputs, outputs, [tasks.Regression(name) for name in labels])
        model.compile(keras.optimizers.Adam(0.01), balancer=balancer)
        start = model.get_weights()[0]
        model.fit(words, labels, batch_size=8, epochs=4, verbose=0)
        found.append(model.get_weights()[0])
    for table in found[1:]:
        np.testing.assert_allclose(table, found[0], atol=1e-6)
    assert (np.abs(found[0] - start) > 0.01).any()
