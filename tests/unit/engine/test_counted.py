"""A task without a gradient of what is shared, by the model's making, is for balancers as if it were not."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import MultiTaskModel, balancers, tasks

NAMES = ("a", "b", "d", "e", "c")  # enough for those that need four beside the last one
LOOKING = {
    name: cls
    for name, cls in balancers.classes().items()
    if issubclass(cls, (balancers.DirectionBalancer, balancers.GradientNormBalancer))
}


def shares_nothing(x, trunk):
    del trunk
    return keras.layers.Dense(8, activation="tanh", name="own")(x), 1.0


def reads_what_is_frozen(x, trunk):
    del x
    return trunk.get_layer("low").output, 1.0


def counts_nothing(x, trunk):
    del x
    return trunk.output, 0.0


WAYS = (shares_nothing, reads_what_is_frozen, counts_nothing)


def cases(names, quick):
    """Names and ways; for a balancer of gradients with preferences, what a preference of 0 means is its own affair."""
    for name in names:
        prefers = issubclass(LOOKING[name], balancers.DirectionBalancer) and LOOKING[name].takes_preference
        for way in WAYS[:2] if prefers else WAYS:
            marks = () if (name, way) in quick else pytest.mark.slow
            yield pytest.param(name, way, id=f"{name}-{way.__name__}", marks=marks)


def model_of(way, balancer):
    """Four tasks that share a layer, and the last one."""
    keras.utils.set_random_seed(0)
    x = keras.Input((6,))
    low = keras.layers.Dense(8, activation="tanh", name="low", trainable=False)(x)
    trunk = keras.Model(x, keras.layers.Dense(8, activation="tanh", name="high")(low))
    source, weight = way(x, trunk)
    outputs = {name: keras.layers.Dense(1, name=name)(trunk.output) for name in NAMES[:-1]}
    outputs["c"] = keras.layers.Dense(1, name="c")(source)
    kinds = [tasks.Regression(name) for name in NAMES[:-1]] + [tasks.Regression("c", weight=weight)]
    model = MultiTaskModel(x, outputs, kinds)
    model.compile(keras.optimizers.SGD(0.1), balancer=balancer)
    return model


def data(last=None):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, 6)).astype("float32")
    y = {name: (k + 1) * x[:, k] - x[:, k + 1] for k, name in enumerate(NAMES[:-1])}
    y["c"] = np.full(32, last, "float32") if last is not None else x[:, 5] * 3
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(8)


def trained(way, balancer, last=None, steps=4):
    model = model_of(way, balancer)
    before = {variable.path: variable.numpy() for variable in model.trainable_variables}
    model.fit(data(last), epochs=steps // 4, verbose=0)
    after = {variable.path: variable.numpy() for variable in model.trainable_variables}
    return model, {path: after[path] - before[path] for path in before}


def new(name, **arguments):
    keras.utils.set_random_seed(0)
    return LOOKING[name](**arguments)


QUICK = [
    *(("mgda", way) for way in WAYS),
    *(("gradnorm", way) for way in WAYS),
    *((name, shares_nothing) for name in ("modo", "krum", "smoothed", "trimmed_mean")),
]


@pytest.mark.parametrize(("name", "way"), list(cases(LOOKING, QUICK)))
def test_it_is_as_if_it_were_not(name, way):
    _, moved = trained(way, new(name))
    _, without = trained(way, new(name), last=np.nan)
    for path, change in without.items():
        if path.split("/")[-2] not in ("c", "own"):
            np.testing.assert_allclose(moved[path], change, rtol=1e-4, atol=1e-6, err_msg=path)
            assert np.any(change != 0), path
    its_own = [change for path, change in moved.items() if path.split("/")[-2] == "c"]
    assert all(np.any(change != 0) == (way is not counts_nothing) for change in its_own)


OF_FEATURES = ("upgrad", "sum", "mgda", "gradnorm", "db_mtl")


@pytest.mark.parametrize(("name", "way"), list(cases(OF_FEATURES, [("mgda", reads_what_is_frozen)])))
def test_features_too(name, way):
    _, moved = trained(way, new(name, gradients="features"))
    _, without = trained(way, new(name, gradients="features"), last=np.nan)
    (path,) = [path for path in moved if path.endswith("high/kernel")]
    np.testing.assert_allclose(moved[path], without[path], rtol=1e-4, atol=1e-6)
    assert np.any(moved[path] != 0)


class Counting(balancers.GramianBalancer):
    """The sum; counts how often it is asked."""

    def build(self, input_shape):
        if not self.built:
            self.asked = self.add_weight(shape=(), initializer="zeros", trainable=False, name="asked")
        super().build(input_shape)

    def call(self, gramian, active):
        self.asked.assign_add(1)
        return keras.ops.cast(active, gramian.dtype)


@pytest.mark.parametrize("way", WAYS)
def test_weights_serve_for_several_steps(way):
    """A task that is never weighed does not ask for new weights in every step."""
    model, _ = trained(way, Counting(update_every=4), steps=8)
    assert model.gradient_balancer.asked.numpy() == 2


def test_weights_given_to_fixed_count():
    model = model_of(counts_nothing, [balancers.Fixed({**dict.fromkeys(NAMES, 0.0), "a": 1.0, "b": 1.0}), "mgda"])
    kernel = model.get_layer("high").kernel
    before = kernel.numpy()
    model.fit(data(), verbose=0)
    assert np.any(kernel.numpy() != before)
