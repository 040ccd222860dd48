"""A last batch with fewer examples than there are replicas: some have none."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from keras_mtl.engine._parts import divided
from tests.models import largest_difference, others_slow


def trained(scope, build, x, y, batch_size, **arguments):
    keras.utils.set_random_seed(0)
    with scope:
        model = build()
        model.compile(keras.optimizers.SGD(0.05), **arguments)
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(batch_size)
    model.fit(data, epochs=2, verbose=0, shuffle=False)
    return model, model.evaluate(data, verbose=0, return_dict=True), model.predict(x, batch_size=batch_size, verbose=0)


def kinds():
    return [mtl.tasks.Classification("a", 3), mtl.tasks.Regression("b")]


def labels(size):
    rng = np.random.default_rng(0)
    return {"a": rng.integers(0, 3, size), "b": rng.normal(size=size).astype("float32")}


def assert_same(two_replicas, *arguments, **more):
    (model, logs, predictions), (alone, expected, of_one) = (
        trained(scope, *arguments, **more) for scope in (two_replicas.scope(), tf.distribute.get_strategy().scope())
    )
    assert largest_difference(model, alone) <= 1e-5
    assert logs == pytest.approx(expected, rel=1e-5, abs=1e-6)
    for task, values in of_one.items():
        assert len(predictions[task]) == len(values)
        np.testing.assert_allclose(predictions[task], values, atol=1e-5)


@pytest.mark.parametrize("balancer", others_slow(["equal", "upgrad", "graddrop", "famo"], by_default=("upgrad",)))
def test_convolutions(balancer, two_replicas):
    x = np.random.default_rng(1).uniform(0, 255, (9, 8, 8, 3)).astype("float32")

    def build():
        return mtl.build_model(mtl.backbones.Convolutional((8, 8, 3), filters=(4, 4)), kinds())

    chosen = mtl.balancers.GradDrop(leak=1.0) if balancer == "graddrop" else balancer
    config = keras.saving.serialize_keras_object(chosen) if balancer == "graddrop" else chosen
    assert_same(two_replicas, build, x, labels(9), 4, balancer=config)


def spectrograms(x):
    return keras.layers.Rescaling(0.01)(keras.layers.MelSpectrogram(64, 16, num_mel_bins=8)(x))


LAYERS = {
    "max pooling": ((6, 4), keras.layers.MaxPooling1D),
    "recurrent convolutions": ((3, 8, 2), lambda: keras.layers.ConvLSTM1D(2, 3)),
    "convolutions within": ((3, 8, 2), lambda: keras.layers.TimeDistributed(keras.layers.Conv1D(2, 3))),
    "spectrograms": ((256,), lambda: spectrograms),
    "recurrent": ((6, 4), lambda: keras.layers.LSTM(3)),
    "a sum": ((6, 4), lambda: lambda x: keras.layers.Add()([x, keras.layers.Dense(4)(x)])),
}


@pytest.mark.parametrize("name", others_slow(LAYERS, by_default=("max pooling", "recurrent")))
def test_layers(name, two_replicas):
    shape, layer = LAYERS[name]
    x = np.random.default_rng(1).normal(size=(5, *shape)).astype("float32")

    def build():
        inputs = keras.Input(shape)
        features = keras.layers.Flatten()(layer()(keras.layers.Dense(shape[-1])(inputs)))
        outputs = {"a": keras.layers.Dense(3, activation="softmax")(features), "b": keras.layers.Dense(1)(features)}
        return mtl.MultiTaskModel(inputs, outputs, kinds())

    assert_same(two_replicas, build, x, labels(5), 4)
    with two_replicas.scope():
        model = build()
        model.compile("sgd")
    assert np.isfinite(model.train_on_batch(x[:1], labels(1)))[0]


def test_texts_whose_padding_is_masked(two_replicas):
    tagging = mtl.tasks.SequenceTagging("tags", 3)
    x = np.array([[1, 2, 0, 0], [3, 1, 2, 0], [2, 2, 2, 2], [1, 0, 0, 0], [3, 3, 0, 0]])

    def build():
        inputs = keras.Input((4,), dtype="int32")
        words = keras.layers.Embedding(4, 5, mask_zero=True)(inputs)
        outputs = {
            "tags": keras.layers.Dense(3, activation="softmax")(words),
            "b": keras.layers.Dense(1)(keras.layers.GlobalAveragePooling1D()(words)),
        }
        return mtl.MultiTaskModel(inputs, outputs, [tagging, mtl.tasks.Regression("b")])

    y = {"tags": np.where(x > 0, x - 1, 0), "b": np.ones(5, "float32")}
    assert_same(two_replicas, build, x, y, 4, balancer="upgrad")


@pytest.mark.parametrize("on_nonfinite", [pytest.param(None, marks=pytest.mark.slow), "raise"])
def test_statistics_of_a_batch_stay_numbers(on_nonfinite, two_replicas):
    x = np.random.default_rng(1).normal(size=(9, 6)).astype("float32")

    def build():
        inputs = keras.Input((6,))
        shared = keras.layers.BatchNormalization()(keras.layers.Dense(5)(inputs))
        outputs = {"a": keras.layers.Dense(3, activation="softmax")(shared), "b": keras.layers.Dense(1)(shared)}
        return mtl.MultiTaskModel(inputs, outputs, kinds())

    model, logs, predictions = trained(two_replicas.scope(), build, x, labels(9), 4, on_nonfinite=on_nonfinite)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    assert np.isfinite(list(logs.values())).all()
    assert all(np.isfinite(values).all() for values in predictions.values())


@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("reduction", ["sum", "sum_over_batch_size"])
def test_one_batch_is_divided_too(size, reduction, two_replicas):
    x = np.random.default_rng(1).normal(size=(size, 6)).astype("float32")
    found = []
    for scope in (two_replicas.scope(), tf.distribute.get_strategy().scope()):
        keras.utils.set_random_seed(0)
        with scope:
            model = mtl.build_model(mtl.backbones.MLP(6, units=(4,)), kinds())
            loss = {"b": keras.losses.MeanSquaredError(reduction=reduction)}
            model.compile(keras.optimizers.SGD(0.01), loss=loss)
        weights = {"a": np.ones(size), "b": np.linspace(1, 2, size)}
        logs = model.train_on_batch(x, labels(size), sample_weight=weights, return_dict=True)
        found.append((model, logs, model.test_on_batch(x, labels(size), return_dict=True)))
    (model, trained_logs, tested), (alone, *expected) = found
    assert largest_difference(model, alone) <= 1e-6
    assert trained_logs == pytest.approx(expected[0], rel=1e-5, abs=1e-6)
    assert tested == pytest.approx(expected[1], rel=1e-5, abs=1e-6)


def of_parts(kind):
    """Three rows, as a ragged or a sparse tensor, or one by name beside another."""
    rows = np.array([[1.0, 0.0, 2.0], [0.0, 0.0, 3.0], [4.0, 5.0, 0.0]], "float32")
    if kind == "ragged":
        return tf.RaggedTensor.from_row_lengths([1.0, 2.0, 3.0, 4.0, 5.0], [2, 1, 2])
    return tf.sparse.from_dense(rows) if kind == "sparse" else {"one": rows, "two": tf.constant(["x", "y", "z"])}


@pytest.mark.parametrize("kind", ["ragged", "sparse", "by name"])
def test_what_one_batch_may_hold(kind, two_replicas):
    whole = of_parts(kind)
    found, nothing, numbers = divided(two_replicas, (whole, None, np.arange(3)))
    local = two_replicas.experimental_local_results
    assert [len(each) for each in local(numbers)] == [2, 1]
    assert nothing is None
    for leaf, parts in zip(keras.tree.flatten(whole), keras.tree.flatten(found), strict=True):
        if kind == "ragged":
            assert [part.to_list() for part in local(parts)] == [leaf[:2].to_list(), leaf[2:].to_list()]
        elif kind == "sparse":
            rows = [tf.sparse.to_dense(part).numpy() for part in local(parts)]
            np.testing.assert_array_equal(np.concatenate(rows), tf.sparse.to_dense(leaf))
        else:
            np.testing.assert_array_equal(np.concatenate([part.numpy() for part in local(parts)]), leaf)


def test_models_that_need_no_row_get_none(two_replicas):
    """A look-up would refuse it, and a loss that a layer adds would count it."""
    x = np.array([["x"], ["y"], ["x"], ["y"], ["x"]])

    def build():
        inputs = keras.Input((1,), dtype="string")
        found = keras.layers.StringLookup(vocabulary=["x", "y"], num_oov_indices=0)(inputs)
        words = keras.layers.Flatten()(keras.layers.Embedding(2, 4)(found))
        shared = keras.layers.Dense(4, activity_regularizer=keras.regularizers.L2(0.1))(words)
        outputs = {"a": keras.layers.Dense(3, activation="softmax")(shared), "b": keras.layers.Dense(1)(shared)}
        return mtl.MultiTaskModel(inputs, outputs, kinds())

    model, logs, predictions = trained(two_replicas.scope(), build, x, labels(5), 4)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    assert len(predictions["a"]) == 5
    assert np.isfinite(logs["loss"])
