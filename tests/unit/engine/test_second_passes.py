"""What balancers that look back or ahead are told, against passes made by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import MultiTaskModel, balancers, tasks
from keras_mtl.model._random_state import random_states
from tests.models import second_stream, three_task_data, three_task_model

NAMES = ("a", "b")


class Looking(balancers.LossBalancer):
    """Remembers the losses before and after each step."""

    needs_after_step = True

    def build(self, input_shape):
        if not self.built:
            self.before = self.add_weight(shape=input_shape[:1], initializer="zeros", trainable=False, name="before")
            self.after = self.add_weight(shape=input_shape[:1], initializer="zeros", trainable=False, name="after")
        super().build(input_shape)

    def call(self, losses, active):
        self.before.assign(losses)
        return keras.ops.cast(active, self.compute_dtype)

    def after_step(self, losses, active):
        self.after.assign(losses)


def make(balancer, rate=0.0, dropout=0.5):
    keras.utils.set_random_seed(0)
    x = keras.Input((6,))
    trunk = keras.layers.Dense(16, activation="tanh", name="trunk", kernel_regularizer="l2")(x)
    trunk = keras.layers.Dropout(dropout, seed=1)(keras.layers.BatchNormalization(name="statistics")(trunk))
    outputs = {name: keras.layers.Dense(1, name=name, activity_regularizer="l2")(trunk) for name in NAMES}
    model = MultiTaskModel(x, outputs, [tasks.Regression(name) for name in NAMES])
    model.compile(keras.optimizers.SGD(rate), balancer=balancer)
    return model


def data(seed=0, size=16):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(size, 6)).astype("float32")
    return x, {"a": 3 * x[:, 0], "b": rng.normal(size=size).astype("float32")}


def test_the_second_pass_sees_the_same_batch_with_the_same_dropout():
    """With a learning rate of 0 nothing has changed; with another, the losses have fallen."""
    model = make(Looking())
    model.fit(*data(), batch_size=16, epochs=3, verbose=0)
    np.testing.assert_allclose(model.loss_balancer.after, model.loss_balancer.before, rtol=1e-6)
    model = make(Looking(), rate=0.01)
    model.fit(*data(), batch_size=16, verbose=0)
    before, after = np.asarray(model.loss_balancer.before), np.asarray(model.loss_balancer.after)
    assert (after < before * 0.999).all()


def test_it_leaves_statistics_random_streams_and_penalties_alone():
    plain, looking = make("equal", rate=0.01), make(Looking(), rate=0.01)
    for model in (plain, looking):
        history = model.fit(*data(size=64), batch_size=16, shuffle=False, epochs=2, verbose=0).history
        assert history["loss"][0] > history["a_loss"][0] + history["b_loss"][0]
    for first, second in zip(plain.get_weights(), looking.get_weights(), strict=False):
        np.testing.assert_allclose(first, second, atol=1e-6)
    seeds = [state.numpy().tolist() for model in (plain, looking) for state in random_states(model)]
    assert seeds[0] == seeds[1]


class Ahead(balancers.BilevelBalancer):
    """Remembers what it is told."""

    def build(self, input_shape):
        if not self.built:
            self.slopes = self.add_weight(shape=input_shape[:1], initializer="zeros", trainable=False, name="slopes")
            self.rate = self.add_weight(shape=(), initializer="zeros", trainable=False, name="rate")
        super().build(input_shape)

    def call(self, losses, active):
        return keras.ops.convert_to_tensor([1.0, 0.5])

    def primary_weights(self):
        return keras.ops.convert_to_tensor([1.0, 2.0])

    def lookahead(self, slopes, learning_rate, active):
        self.slopes.assign(slopes)
        self.rate.assign(learning_rate)


def gradient(model, values, x, y, weights):
    """Of the weighted losses at other parameters, with the statistics of the batch."""
    with tf.GradientTape() as tape:
        tape.watch(values)
        state = [tf.convert_to_tensor(v) for v in model.non_trainable_variables]
        predictions, _ = model.stateless_call(values, state, x, training=True)
        loss = sum(w * tf.reduce_mean(tf.square(predictions[n][:, 0] - y[n])) for n, w in weights.items())
    return tape.gradient(loss, values, unconnected_gradients="zero")


def test_slopes_are_inner_products_of_gradients():
    model = make(Ahead(), rate=0.05, dropout=0.0)
    (x, y), (other_x, other_y) = data(), data(seed=1)
    here = [tf.convert_to_tensor(v) for v in model.trainable_variables]
    step = gradient(model, here, x, y, {"a": 1.0, "b": 0.5})
    ahead = [value - 0.05 * g for value, g in zip(here, step, strict=True)]
    along = gradient(model, ahead, other_x, other_y, {"a": 1.0, "b": 2.0})
    expected = [
        sum(float(tf.reduce_sum(g * d)) for g, d in zip(gradient(model, here, x, y, {name: 1.0}), along, strict=True))
        for name in NAMES
    ]
    streams = [tf.data.Dataset.from_tensors(pair) for pair in ((x, y), (other_x, other_y))]
    model.fit(streams[0], balancing_data=streams[1], verbose=0)
    np.testing.assert_allclose(model.loss_balancer.slopes, expected, rtol=2e-2)
    assert float(model.loss_balancer.rate) == pytest.approx(0.05)


def test_a_task_that_the_second_stream_needs_gains_weight():
    """The primary task's labels follow the auxiliary one's, and contradict the third's."""
    keras.utils.set_random_seed(0)
    x = keras.Input((6,))
    trunk = keras.layers.Dense(4, name="trunk")(x)
    outputs = {name: keras.layers.Dense(1, name=name)(trunk) for name in ("primary", "friend", "noise")}
    model = MultiTaskModel(x, outputs, [tasks.Regression(name) for name in outputs])
    model.compile(keras.optimizers.SGD(0.05), balancer=balancers.AutoLambda(primary=["primary"], learning_rate=0.01))
    rng = np.random.default_rng(0)

    def stream(size):
        inputs = rng.normal(size=(size, 6)).astype("float32")
        labels = {"primary": inputs[:, 0], "friend": inputs[:, 0], "noise": rng.normal(size=size).astype("float32")}
        return tf.data.Dataset.from_tensor_slices((inputs, labels)).batch(16)

    model.fit(stream(640), balancing_data=stream(160), epochs=2, verbose=0)
    weights = np.asarray(model.loss_balancer(np.ones(3, "float32"), np.ones(3, bool)))
    assert weights[0] > weights[2] + 0.05
    assert weights[1] > weights[2] + 0.02


def test_what_a_bilevel_balancer_needs_is_said_before_training():
    model = three_task_model()
    model.compile("sgd", balancer="auto_lambda")
    stream = three_task_data(40)
    with pytest.raises(
        ValueError, match="`AutoLambda` is bilevel.*as `balancing_data`, of examples that are in neither"
    ):
        model.fit(stream, verbose=0)
    x, y = next(iter(stream.unbatch().batch(40)))
    x, y = np.asarray(x), {name: np.asarray(value) for name, value in y.items()}
    with pytest.raises(ValueError, match="parameter `x` should be a batched `tf.data.Dataset`. Received: ndarray"):
        model.fit(x, y, balancing_data=stream, verbose=0)
    with pytest.raises(ValueError, match="Use `fit` with `balancing_data`"):
        model.train_on_batch(x, y)
    with pytest.raises(ValueError, match="keys of the labels should be"):
        model.fit(stream, balancing_data=stream.map(lambda x, y: (x, {"a": y["a"]})), verbose=0)
    model.compile("sgd", balancer="dwa")
    with pytest.raises(
        ValueError, match="`balancing_data` is for bilevel balancers.* Received: one, with the balancer `DWA`"
    ):
        model.fit(stream, balancing_data=stream, verbose=0)


def test_a_short_second_stream_is_repeated():
    model = three_task_model()
    model.compile("sgd", balancer="auto_lambda")
    history = model.fit(three_task_data(200), epochs=2, verbose=0, **second_stream("auto_lambda"))
    assert int(model.optimizer.iterations) == 20
    assert np.isfinite(history.history["loss"]).all()


def test_with_a_gradient_balancer_it_looks_ahead_in_the_shared_part_too():
    found = []
    for balancer in ("auto_lambda", ["auto_lambda", "sum"]):
        model = three_task_model()
        model.compile(keras.optimizers.SGD(0.1), balancer=balancer)
        model.fit(three_task_data(200), epochs=2, verbose=0, **second_stream("auto_lambda"))
        found.append(np.concatenate([np.ravel(variable) for variable in model.loss_balancer.variables]))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3)  # central differences in float32


@pytest.mark.parametrize("balancer", [Ahead(), [Ahead(), "sum"]], ids=["losses", "gradients"])
def test_it_looks_ahead_where_the_scale_of_float16_overflows(balancer):
    """The slopes are of losses as they are, whatever the scale that the step takes its gradients with."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = make(balancer, dropout=0.0)
        scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.05), initial_scale=2.0**30)
        model.compile(scaled, balancer=balancer, auto_scale_loss=False)
        streams = [tf.data.Dataset.from_tensors(data(seed)) for seed in (0, 1)]
        weights = model.get_layer("trunk").kernel.numpy()
        model.fit(streams[0], balancing_data=streams[1], verbose=0)
    finally:
        keras.config.set_dtype_policy(before)
    np.testing.assert_array_equal(model.get_layer("trunk").kernel.numpy(), weights)  # an overflow
    slopes = np.asarray(model.loss_balancer.slopes)
    assert np.isfinite(slopes).all()
    assert (slopes != 0).all()
