"""Places that a prediction's mask leaves out, as those of padding, count as places without a label."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import MultiTaskModel, balancers, tasks

LENGTH = 6


def graph(recurrent=False):
    keras.utils.set_random_seed(0)
    words = keras.Input((LENGTH,), dtype="int32")
    trunk = keras.layers.Embedding(10, 4, mask_zero=True)(words)
    own = keras.layers.GRU(4, return_sequences=True)(trunk) if recurrent else trunk
    outputs = {
        "tags": keras.layers.Dense(3, activation="softmax", name="tags")(own),
        "b": keras.layers.Dense(1, name="b")(keras.ops.mean(trunk, axis=1)),
    }
    return words, outputs


def plain(**arguments):
    model = keras.Model(*graph(**arguments))
    losses = {"tags": keras.losses.SparseCategoricalCrossentropy(), "b": keras.losses.MeanSquaredError()}
    model.compile(keras.optimizers.SGD(0.1), loss=losses, metrics={"tags": ["accuracy"]})
    return model


def make(balancer="equal", jit_compile=False, on_nonfinite=None, momentum=0.0, **arguments):
    model = MultiTaskModel(*graph(**arguments), [tasks.SequenceTagging("tags", 3), tasks.Regression("b")])
    optimizer = keras.optimizers.SGD(0.1, momentum)
    model.compile(optimizer, balancer=balancer, jit_compile=jit_compile, on_nonfinite=on_nonfinite)
    return model


def data(size=16):
    """Sequences of different lengths, with the label 0 in the padding."""
    rng = np.random.default_rng(0)
    x, tags = rng.integers(1, 10, (size, LENGTH)), rng.integers(0, 3, (size, LENGTH))
    padding = np.arange(LENGTH) >= rng.integers(1, LENGTH, (size, 1))
    x[padding], tags[padding] = 0, 0
    return x, {"tags": tags, "b": rng.normal(size=(size, 1)).astype("float32")}


def assert_same(found, expected):
    """The same logs and weights, all of them numbers."""
    for name, values in expected[0].items():
        np.testing.assert_allclose(found[0][name], values, rtol=1e-5, err_msg=name)
        assert np.isfinite(values).all()
    for first, second in zip(found[1], expected[1], strict=True):
        np.testing.assert_allclose(first, second, atol=1e-6)


def assert_as_plain(found, expected):
    for name in ("loss", "tags_loss", "tags_accuracy", "b_loss"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("recurrent", [False, True])
def test_evaluation_is_that_of_plain_keras(recurrent):
    x, y = data()
    expected = plain(recurrent=recurrent).evaluate(x, y, return_dict=True, verbose=0)
    assert_as_plain(make(recurrent=recurrent).evaluate(x, y, return_dict=True, verbose=0), expected)


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("balancer", ["equal", "sum", "upgrad"])
@pytest.mark.parametrize("recurrent", [False, True])
def test_training_has_the_losses_of_plain_keras(balancer, jit_compile, recurrent):
    """The whole graph at once, and its two parts: of one batch, before the weights have changed."""
    x, y = data()
    expected, model = plain(recurrent=recurrent), make(balancer, jit_compile, recurrent=recurrent)
    logs = expected.fit(x, y, batch_size=len(x), verbose=0).history
    assert_as_plain(model.fit(x, y, batch_size=len(x), verbose=0).history, logs)
    if balancer != "upgrad":  # it changes the direction
        for ours, theirs in zip(model.get_weights(), expected.get_weights(), strict=False):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize(
    "kind, on_nonfinite",
    [("equal", None), ("equal", "skip"), ("upgrad", None), ("upgrad", "skip"), ("auto_lambda", None)],
)
def test_it_is_as_if_the_labels_were_missing(kind, on_nonfinite):
    """In batches of which one has no label of the task: with momentum, and weights that serve for two steps."""
    x, y = data()
    x[8:], y["tags"][8:] = 0, 0
    missing = {**y, "tags": np.where(x == 0, -1, y["tags"])}
    found = []
    for labels in (y, missing):
        balancer = balancers.UPGrad(update_every=2) if kind == "upgrad" else kind
        model = make(balancer, on_nonfinite=on_nonfinite, momentum=0.9)
        dataset = tf.data.Dataset.from_tensor_slices((x, labels)).batch(8)
        second = {"balancing_data": dataset} if kind == "auto_lambda" else {}
        logs = model.fit(dataset, epochs=2, verbose=0, **second).history
        found.append((logs, model.get_weights()))
    assert_same(*found)


class WithMask(keras.layers.Layer):
    """The first input with a mask that a function makes of the second."""

    def __init__(self, mask_of, **kwargs):
        super().__init__(**kwargs)
        self.mask_of = mask_of

    def call(self, inputs):
        return inputs[0] * 1.0

    def compute_mask(self, inputs, previous_mask):
        return self.mask_of(inputs[1])


MASKS = {
    "an example": lambda x: x[:, 0] > 0,
    "an axis of 1": lambda x: x[:, :1] > 0,
    "of a time axis that is gone": lambda x: x > 9,
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("balancer", ["equal", "upgrad"])
def test_masks_of_predictions_without_a_time_axis(mask, balancer):
    """Of one label for an example, and of several."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    trunk = keras.layers.Dense(5)(inputs)
    kinds = [tasks.Regression("a"), tasks.MultiLabelClassification("b", 3)]
    outputs = {task.name: WithMask(MASKS[mask])([task.head(trunk), inputs]) for task in kinds}
    model = MultiTaskModel(inputs, outputs, kinds)
    model.compile(keras.optimizers.SGD(0.1), balancer=balancer)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 4)).astype("float32")
    y = {"a": rng.normal(size=8).astype("float32"), "b": rng.integers(0, 2, (8, 3))}
    rows = np.full(8, True) if mask == "of a time axis that is gone" else x[:, 0] > 0
    predictions = model.predict(x, verbose=0)
    expected = {
        "a_loss": np.mean((predictions["a"][rows, 0] - y["a"][rows]) ** 2),
        "b_loss": float(keras.losses.BinaryCrossentropy()(y["b"][rows], predictions["b"][rows])),
    }
    found = model.evaluate(x, y, verbose=0, return_dict=True)
    logs = model.fit(x, y, batch_size=8, verbose=0).history
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-5)
        assert logs[name] == pytest.approx([value], rel=1e-5)


@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_a_mask_of_other_places_is_refused(method):
    """As of a layer that drops places, and hands the mask on."""
    inputs = keras.Input((LENGTH,))
    half = keras.layers.Dense(3, activation="softmax")(keras.layers.Reshape((LENGTH // 2, 2))(inputs))
    outputs = {"tags": WithMask(lambda x: x > 0)([half, inputs]), "b": keras.layers.Dense(1)(inputs)}
    model = MultiTaskModel(inputs, outputs, [tasks.SequenceTagging("tags", 3), tasks.Regression("b")])
    model.compile("sgd")
    y = {"tags": np.zeros((4, LENGTH // 2), "int32"), "b": np.zeros(4, "float32")}
    message = r"mask of the prediction of task 'tags' should be one of its places, 3\. Received: a mask of 6 places"
    with pytest.raises(ValueError, match=message):
        getattr(model, method)(np.ones((4, LENGTH), "float32"), y, verbose=0)


def test_weights_and_labels_that_are_missing_go_with_masks():
    x, y = data()
    y["tags"][0, 0] = -1
    weights = np.random.default_rng(1).uniform(1, 2, y["tags"].shape).astype("float32")
    found = make().evaluate(x, y, sample_weight={"tags": weights}, return_dict=True, verbose=0)
    counts = (x > 0) & (y["tags"] >= 0)
    predictions = make().predict(x, verbose=0)["tags"]
    values = -np.log(np.take_along_axis(predictions, np.maximum(y["tags"], 0)[..., None], -1)[..., 0])
    assert found["tags_loss"] == pytest.approx(np.sum((values * weights)[counts]) / counts.sum(), rel=1e-5)


def test_a_loss_of_given_predictions_knows_their_masks():
    x, y = data()
    model = make()
    expected = plain().evaluate(x, y, return_dict=True, verbose=0)["loss"]
    labels = {name: tf.constant(values) for name, values in y.items()}
    assert float(model.compute_loss(x, labels, model(x))) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("balancer", ["equal", pytest.param("upgrad", marks=pytest.mark.slow)])
def test_replicas_with_different_padding(balancer, two_replicas):
    """The second batch has no place that is not masked: with momentum, what is the task's own would move."""
    x, y = data()
    x[4:], y["tags"][4:] = 0, 0
    x[4:8, 0] = 1
    found = []
    for scope in (two_replicas.scope(), tf.distribute.get_strategy().scope()):
        with scope:
            model = make(balancer, momentum=0.9)
        logs = model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0).history
        found.append((logs, model.get_weights()))
    assert_same(*found)
