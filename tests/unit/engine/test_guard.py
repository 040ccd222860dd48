"""A guarded step is the one without a guard, and what it found is undone where that is not finite."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import MultiTaskModel, balancers, tasks
from keras_mtl.engine._guard import _of_make
from tests.models import largest_difference, two_task_data, two_task_model


class Unbounded(keras.layers.Layer):
    """Adds a loss that overflows where an input is very large, and that no weight has a gradient of."""

    def call(self, inputs, features):
        self.add_loss(keras.ops.sum(keras.ops.square(keras.ops.stop_gradient(inputs))))
        return features


class Counting(keras.layers.Layer):
    """Counts the steps of training, in a number of either kind."""

    def build(self, input_shape):
        self.total = keras.metrics.Sum(name="total")
        self.steps = [
            self.add_weight(shape=(), dtype=dtype, initializer="zeros", trainable=False, autocast=False)
            for dtype in ("float32", "int32")
        ]

    def call(self, inputs, training=False):
        if training:
            for each in self.steps:
                each.assign_add(1)
            self.total.update_state(1.0)
        return inputs


def with_frozen_dropout():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    trunk = keras.layers.Dense(16, activation="tanh", name="trunk")(inputs)
    dropped = keras.layers.Dropout(0.5, seed=1, name="dropped")(trunk)
    outputs = {"a": keras.layers.Dense(4, "softmax", name="a")(dropped), "b": keras.layers.Dense(1, name="b")(dropped)}
    model = MultiTaskModel(inputs, outputs, [tasks.Classification("a", 4), tasks.Regression("b")])
    model.get_layer("dropped").trainable = False
    return model


def batches(fault=None):
    """Three batches of 40; in the second, what `fault` says is in the labels of b."""
    x, y = two_task_data(120)
    if fault is not None:
        y["b"][40:80] = fault
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(40)


@pytest.mark.parametrize("balancer", ["equal", "pcgrad"])
def test_where_all_is_finite_it_is_the_same_to_the_bit(balancer):
    found = []
    for on_nonfinite in (None, "skip"):
        model = two_task_model()
        model.compile(keras.optimizers.Adam(0.01), balancer=balancer, on_nonfinite=on_nonfinite)
        model.fit(batches(), epochs=2, verbose=0)
        found.append(model)
    assert largest_difference(*found) == 0


@pytest.mark.parametrize("eagerly", [False, True])
def test_a_step_that_is_taken_again_drops_the_same_units(eagerly):
    """A frozen dropout draws too: once a step, whether it is taken again or not."""
    found = []
    for fault in (1e30, np.nan):  # an overflow, and a label that is missing
        model = with_frozen_dropout()
        model.compile(keras.optimizers.Adam(0.01), on_nonfinite="skip", run_eagerly=eagerly)
        history = model.fit(batches(fault), verbose=0).history
        assert history["b_skipped"] == [1 if fault == 1e30 else 0]
        found.append(model)
    assert largest_difference(*found) <= 1e-6
    first, second = (model.get_layer("dropped").seed_generator.state.numpy() for model in found)
    np.testing.assert_array_equal(first, second)


def test_an_added_loss_that_is_not_finite_stays_out_of_the_logs():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    features = Unbounded()(inputs, keras.layers.Dense(8, "tanh")(inputs[:, 1:]))
    outputs = {
        "a": keras.layers.Dense(4, "softmax", name="a")(features),
        "b": keras.layers.Dense(1, name="b")(features),
    }
    model = MultiTaskModel(inputs, outputs, [tasks.Classification("a", 4), tasks.Regression("b")])
    model.compile("adam", on_nonfinite="skip")
    x, y = two_task_data(120)
    x[50, 0] = 1e25
    history = model.fit(x, y, batch_size=40, shuffle=False, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert history["a_skipped"] == history["b_skipped"] == [0]


@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize("balancer", ["equal", "famo"])
def test_metrics_take_a_step_that_is_taken_again_as_one_without_labels(balancer, eagerly):
    """Of the faulty task, whose predictions are no numbers; of the other, which counts its examples once."""
    found = []
    for fault in ("input", "absent"):
        keras.utils.set_random_seed(0)
        first, second = keras.Input((3,), name="first"), keras.Input((3,), name="second")
        outputs = {
            "a": keras.layers.Dense(1, name="a")(first),
            "b": keras.layers.Dense(1, "sigmoid", name="b")(second),
        }
        model = MultiTaskModel([first, second], outputs, [tasks.Regression("a"), tasks.BinaryClassification("b")])
        metrics = {"a": ["mae"], "b": [keras.metrics.AUC(name="auc"), keras.metrics.TruePositives(name="found")]}
        model.compile("adam", balancer=balancer, metrics=metrics, on_nonfinite="skip", run_eagerly=eagerly)
        rng = np.random.default_rng(0)
        x = [rng.normal(size=(24, 3)).astype("float32") for _ in range(2)]
        y = {"a": rng.normal(size=24).astype("float32"), "b": (rng.uniform(size=24) > 0.3).astype("float32")}
        if fault == "input":
            x[1][9] = np.nan
        else:
            y["b"][8:16] = np.nan
        found.append(model.fit(x, y, batch_size=8, shuffle=False, verbose=0).history)
    assert [history.pop("b_skipped") for history in found] == [[1], [0]]
    for name, values in found[1].items():
        assert found[0][name] == pytest.approx(values, abs=1e-6), name


@pytest.mark.parametrize("trainable", [True, False])
def test_a_step_that_is_taken_again_is_counted_once(trainable):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    counting = Counting(trainable=trainable)
    trunk = keras.layers.Dense(8, "tanh")(counting(inputs))
    outputs = {"a": keras.layers.Dense(4, "softmax", name="a")(trunk), "b": keras.layers.Dense(1, name="b")(trunk)}
    model = MultiTaskModel(inputs, outputs, [tasks.Classification("a", 4), tasks.Regression("b")])
    model.compile("adam", on_nonfinite="skip")
    assert model.fit(batches(1e30), verbose=0).history["b_skipped"] == [1]
    assert [float(each.numpy()) for each in counting.steps] == [3, 3]
    assert float(counting.total.result()) == 3


@pytest.mark.parametrize("balancer", ["equal", "pcgrad"])
@pytest.mark.parametrize("on_nonfinite", ["skip", "raise"])
def test_one_number_of_a_head_is_enough(balancer, on_nonfinite):
    """Where the loss is finite, and all of the gradient but what belongs to a head's second output."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    trunk = keras.layers.Dense(4, kernel_initializer="ones", name="trunk")(inputs)
    outputs = {
        "a": keras.layers.Dense(2, kernel_initializer="zeros", name="a")(trunk),
        "b": keras.layers.Dense(1, name="b")(keras.layers.Rescaling(1e-21)(trunk)),
    }
    model = MultiTaskModel(inputs, outputs, [tasks.Regression("a", 2), tasks.Regression("b")])
    model.compile("sgd", balancer=balancer, on_nonfinite=on_nonfinite)
    x = np.random.default_rng(0).uniform(1.0, 2.0, (8, 3)).astype("float32") * 1e21
    y = {"a": np.tile([0.0, 1e18], (8, 1)).astype("float32"), "b": np.zeros(8, "float32")}
    with tf.GradientTape() as tape:
        loss = model.compute_loss(None, y, {"a": model(x)["a"], "b": tf.zeros((8, 1))})
    gradient = tape.gradient(loss, model.get_layer("a").kernel).numpy()
    assert np.isfinite(loss)
    assert np.isfinite(gradient[:, 0]).all()
    assert np.isinf(gradient[:, 1]).all()
    if on_nonfinite == "raise":
        with pytest.raises(FloatingPointError, match="'a'"):
            model.fit(x, y, verbose=0)
    else:
        assert model.fit(x, y, verbose=0).history["a_skipped"] == [1]
    np.testing.assert_array_equal(model.get_layer("a").kernel.numpy(), 0)


@pytest.mark.parametrize("fault", [1.0, 1e30], ids=["sound", "faulty"])
@pytest.mark.parametrize("balancer", ["equal", "pcgrad"])
def test_metrics_leave_out_what_is_masked(balancer, fault):
    """Whether the step is taken again or not."""
    found = []
    for on_nonfinite in (None, "skip"):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((5,), dtype="int32")
        trunk = keras.layers.Embedding(20, 4, mask_zero=True)(inputs)
        outputs = {
            "a": keras.layers.Dense(3, activation="softmax", name="a")(trunk),
            "b": keras.layers.Dense(1, name="b")(keras.layers.GlobalAveragePooling1D()(trunk)),
        }
        model = MultiTaskModel(inputs, outputs, [tasks.SequenceTagging("a", 3), tasks.Regression("b")])
        model.compile(keras.optimizers.SGD(0.1), balancer=balancer, on_nonfinite=on_nonfinite)
        rng = np.random.default_rng(0)
        x = rng.integers(1, 20, (8, 5))
        x[:, 3:] = 0
        y = {"a": rng.integers(0, 3, (8, 5)), "b": np.full(8, fault, "float32")}
        found.append(model.fit(x, y, batch_size=8, verbose=0).history)
    assert found[1]["b_skipped"] == [int(fault > 1)]
    assert found[0]["a_accuracy"] == found[1]["a_accuracy"]


@pytest.mark.parametrize("kind", ["retaken", "features"])
def test_an_added_loss_reaches_rows_in_the_same_pass(kind):
    """Two passes through one call of an embedding have one row for each look-up, as one pass for both has."""
    found = []
    for first in (True, False):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((4,), dtype="int32")
        embedded = keras.layers.Flatten()(keras.layers.Embedding(40, 4)(inputs))
        trunk = keras.layers.Dense(4, "tanh")(keras.layers.ActivityRegularization(l2=0.5)(embedded))
        outputs = {name: keras.layers.Dense(1, name=name)(trunk) for name in "ab"}
        model = MultiTaskModel(inputs, outputs, [tasks.Regression("a"), tasks.Regression("b")])
        balancer = "equal" if first or kind == "retaken" else balancers.Sum(gradients="features")
        on_nonfinite = "skip" if kind == "retaken" else None
        model.compile(keras.optimizers.Adam(0.01), balancer=balancer, on_nonfinite=on_nonfinite)
        rng = np.random.default_rng(0)
        y = {"a": rng.normal(size=24).astype("float32"), "b": rng.normal(size=24).astype("float32")}
        if kind == "retaken":
            y["b"][8:16] = np.nan if first else 1e30
        x = np.concatenate([rng.permutation(40)[:32].reshape(8, 4) for _ in range(3)])  # no token twice in a batch
        model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
        found.append(model)
    assert largest_difference(*found) <= 1e-6


def test_rows_stay_rows_where_a_step_is_taken_again():
    """Adam takes rows that occur twice one by one; an embedding that is used twice has the same rows in either step."""
    found = []
    for fault in (1e30, np.nan):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((4,), dtype="int32")
        embedding = keras.layers.Embedding(6, 4)
        trunk = keras.layers.Dense(4, "tanh")(keras.layers.Flatten()(embedding(inputs)))
        again = keras.layers.Dense(4, "tanh")(keras.layers.Flatten()(embedding(inputs[:, ::-1])))
        outputs = {
            "a": keras.layers.Dense(1, name="a")(keras.layers.Concatenate()([trunk, again])),
            "b": keras.layers.Dense(1, name="b")(trunk),
        }
        model = MultiTaskModel(inputs, outputs, [tasks.Regression("a"), tasks.Regression("b")])
        model.compile(keras.optimizers.Adam(0.01), on_nonfinite="skip")
        rng = np.random.default_rng(0)
        y = {"a": rng.normal(size=24).astype("float32"), "b": rng.normal(size=24).astype("float32")}
        y["b"][8:16] = fault
        history = model.fit(rng.integers(0, 6, (24, 4)), y, batch_size=8, shuffle=False, verbose=0).history
        assert history["b_skipped"] == [int(fault == 1e30)]
        found.append(model)
    assert largest_difference(*found) <= 1e-6


def test_gradients_of_one_make():
    rows = tf.IndexedSlices(tf.constant([[1.0], [2.0]]), tf.constant([2, 2], tf.int64), (3, 1))
    dense = tf.constant([[0.0], [0.0], [5.0]])
    values, indices = _of_make(rows, rows)
    assert values.numpy().ravel().tolist() == [1, 2]
    assert indices.numpy().tolist() == [2, 2]
    values, indices = _of_make(dense, rows)
    assert values.numpy().ravel().tolist() == [0, 0, 5]
    assert indices.numpy().tolist() == [0, 1, 2]
    assert indices.dtype == rows.indices.dtype
    assert _of_make(rows, dense)[0].numpy().ravel().tolist() == [0, 0, 3]
    assert _of_make(None, dense)[0].numpy().ravel().tolist() == [0, 0, 0]
    assert _of_make(None, None) == []
    with pytest.raises(RuntimeError, match="no gradient"):
        _of_make(dense, None)
