"""On any graph, the sum of the tasks' gradients is the gradient of the sum of their losses, however it is taken."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import MultiTaskModel, balancers, tasks
from tests.models import largest_difference, others_slow


def dense(name, units=3, **arguments):
    return keras.layers.Dense(units, name=name, activation="tanh", **arguments)


def head(name):
    return keras.layers.Dense(1, name=name)


def trunk_with_statistics_dropout_and_penalties(x, z):
    trunk = keras.layers.BatchNormalization()(dense("trunk", 6, kernel_regularizer="l2")(x))
    trunk = keras.layers.Dropout(0.4, seed=3)(dense("trunk_2", 6, activity_regularizer="l2")(trunk))
    own = keras.layers.Dropout(0.4, seed=4)(dense("own", activity_regularizer="l1")(trunk))
    return {"a": head("a")(own), "b": head("b")(trunk), "c": head("c")(keras.layers.BatchNormalization()(own))}


def layers_that_some_outputs_reach(x, z):
    low = dense("low")(x)
    high = dense("high")(low)
    return {"a": head("a")(high), "b": head("b")(high), "c": head("c")(low)}


def a_cascade(x, z):
    trunk = dense("trunk")(x)
    a = head("a")(trunk)
    b = head("b")(keras.layers.Concatenate()([dense("to_b")(trunk), a]))
    return {"a": a, "b": b, "c": head("c")(keras.layers.Concatenate()([a, b]))}


def several_inputs(x, z):
    trunk = dense("trunk")(keras.layers.Concatenate()([x, dense("of_z")(z)]))
    return {"a": head("a")(trunk), "b": head("b")(keras.layers.Concatenate()([trunk, z])), "c": head("c")(trunk)}


def nested(x, z):
    inner_x = keras.Input((4,))
    inner = dense("inner")(inner_x)
    model = keras.Model(inner_x, [dense("inner_a")(inner), dense("inner_b")(inner)], name="nested")
    p, q = model(x)
    whole = keras.Sequential([keras.Input((3,)), dense("s"), dense("t")], name="whole")
    return {"a": head("a")(whole(p)), "b": head("b")(q), "c": head("c")(whole(q))}


def layers_used_twice(x, z):
    twice, everywhere = dense("twice"), dense("everywhere", 4)
    trunk = everywhere(x)
    outputs = {"a": twice(dense("to_a", 4)(trunk)), "b": twice(everywhere(trunk)), "c": trunk}
    return {name: head(name)(tensor) for name, tensor in outputs.items()}


GRAPHS = [
    trunk_with_statistics_dropout_and_penalties,
    layers_that_some_outputs_reach,
    a_cascade,
    several_inputs,
    nested,
    layers_used_twice,
]
WAYS = {
    "shared": balancers.Sum(),
    "features": balancers.Sum(gradients="features"),
    "now and then": balancers.Sum(update_every=2),
    "features, now and then": balancers.Sum(update_every=2, gradients="features"),
    "after weights by gradients": ["gradnorm", "sum"],
}


def trained(graph, balancer, optimizer=None, steps=5, **compile_arguments):
    keras.utils.set_random_seed(0)
    x, z = keras.Input((4,), name="x"), keras.Input((2,), name="z")
    outputs = graph(x, z)
    model = MultiTaskModel({"x": x, "z": z}, outputs, [tasks.Regression(name) for name in outputs])
    config = keras.saving.serialize_keras_object(balancer)
    model.compile(optimizer or keras.optimizers.Adam(0.01), balancer=config, **compile_arguments)
    rng = np.random.default_rng(0)
    inputs = {"x": rng.normal(size=(8 * steps, 4)), "z": rng.normal(size=(8 * steps, 2))}
    labels = {name: scale * rng.normal(size=8 * steps) for name, scale in zip(outputs, (1.0, 10.0, 0.1), strict=True)}
    model.fit(inputs, labels, batch_size=8, shuffle=False, verbose=0)
    return model


def loss_weights_alone(balancer):
    return balancer[0] if isinstance(balancer, list) else "equal"


def graphs_and_ways():
    """The default tests take most graphs in one way, and one graph in the others; the slow ones the rest."""
    for graph in GRAPHS:
        for way in WAYS:
            quick = (way == "shared") == (graph is not layers_used_twice)
            yield pytest.param(graph, way, id=f"{graph.__name__}-{way}", marks=() if quick else pytest.mark.slow)


@pytest.mark.parametrize(("graph", "way"), list(graphs_and_ways()))
def test_the_sum_is_the_sum(graph, way):
    """With gradients of features too, where tasks read none in common: the sum does not compare them."""
    plain, by_task = trained(graph, loss_weights_alone(WAYS[way])), trained(graph, WAYS[way])
    of_the_graph = len(keras.Model(plain.input, plain.output).weights)  # the balancers' own come after them
    assert of_the_graph >= 8
    for first, second in zip(plain.weights[:of_the_graph], by_task.weights[:of_the_graph], strict=True):
        np.testing.assert_allclose(second.numpy(), first.numpy(), atol=1e-4, err_msg=first.path)


@pytest.mark.filterwarnings("ignore:Gradients do not exist")  # as Keras says
@pytest.mark.parametrize("balancer", ["sum", "equal"])
@pytest.mark.parametrize("on_nonfinite", [None, "skip"])
def test_what_leads_to_no_output_is_no_hindrance(balancer, on_nonfinite):
    """An attribute with weights, and a layer of a nested model whose output nobody reads."""
    keras.utils.set_random_seed(0)
    x = keras.Input((4,))
    inner_x = keras.Input((4,))
    inner = keras.Model(inner_x, [dense("read")(inner_x), dense("unread")(inner_x)], name="inner")
    trunk, _ = inner(inputs=x)
    outputs = {name: head(name)(trunk) for name in ("a", "b")}
    model = MultiTaskModel(x, outputs, [tasks.Regression(name) for name in outputs])
    model.beside = dense("beside")
    model.beside.build((None, 4))
    options = {} if on_nonfinite is None else {"on_nonfinite": on_nonfinite}
    model.compile("sgd", balancer=balancer, **options)
    variables = model.trainable_variables
    before = [variable.numpy() for variable in variables]
    model.fit(np.ones((8, 4)), {"a": np.ones(8), "b": np.zeros(8)}, verbose=0)
    moved = [each.path for each, value in zip(variables, before, strict=True) if (each.numpy() != value).any()]
    assert {path.split("/")[-2] for path in moved} == {"read", "a", "b"}


class Seeing(balancers.GramianBalancer):
    """The sum; remembers the Gramian."""

    def build(self, input_shape):
        if not self.built:
            tasks = (input_shape[0],) * 2
            self.seen = self.add_weight(shape=tasks, initializer="zeros", trainable=False, name="seen")
        super().build(input_shape)

    def call(self, gramian, active):
        self.seen.assign(gramian)
        return keras.ops.cast(active, self.compute_dtype)


class SeeingAll(balancers.GradientBalancer):
    """The sum; remembers the Gramian of the gradients that it is given."""

    def build(self, input_shape):
        if not self.built:
            tasks = (input_shape[0],) * 2
            self.seen = self.add_weight(shape=tasks, initializer="zeros", trainable=False, name="seen")
        super().build(input_shape)

    def call(self, jacobian, active):
        self.seen.assign(keras.ops.matmul(jacobian, keras.ops.transpose(jacobian)))
        return keras.ops.sum(jacobian, axis=0)


@pytest.mark.parametrize("cls", others_slow([Seeing, SeeingAll], by_default=(SeeingAll,)))
@pytest.mark.parametrize("graph", GRAPHS[1:], ids=lambda graph: graph.__name__)
def test_the_gramian_is_that_of_all_shared_gradients(graph, cls):
    keras.utils.set_random_seed(0)
    x, z = keras.Input((4,), name="x"), keras.Input((2,), name="z")
    outputs = graph(x, z)
    model = MultiTaskModel({"x": x, "z": z}, outputs, [tasks.Regression(name, weight=2.0) for name in outputs])
    model.compile(keras.optimizers.SGD(0.1), balancer=cls())
    rng = np.random.default_rng(0)
    inputs = {"x": rng.normal(size=(8, 4)), "z": rng.normal(size=(8, 2))}
    labels = {name: rng.normal(size=8).astype("float32") for name in outputs}
    shared = model.partition.shared
    rows = []
    for name in outputs:
        with tf.GradientTape() as tape:
            loss = 2.0 * tf.reduce_mean(tf.square(model(inputs)[name][:, 0] - labels[name]))
        found = tape.gradient(loss, [variable.value for variable in shared], unconnected_gradients="zero")
        rows.append(np.concatenate([gradient.numpy().ravel() for gradient in found]))
    expected = np.stack(rows) @ np.stack(rows).T
    model.fit(inputs, labels, batch_size=8, verbose=0)
    np.testing.assert_allclose(model.gradient_balancer.seen, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(expected[np.triu_indices(3, 1)]).min() > 1e-4


HOWS = {
    "clipped": {"optimizer": {"clipnorm": 0.1}},
    "clipped globally": {"optimizer": {"global_clipnorm": 0.1}},
    "accumulated": {"optimizer": {"gradient_accumulation_steps": 2}},
    "several steps at once": {"steps_per_execution": 2},
    "eager": {"run_eagerly": True},
}


@pytest.mark.parametrize(
    "way", ["shared", *(pytest.param(w, marks=pytest.mark.slow) for w in ("features", "now and then"))]
)
@pytest.mark.parametrize("how", others_slow(HOWS, by_default=("clipped globally", "accumulated")))
def test_however_it_is_run(how, way):
    def run(balancer):
        arguments = dict(HOWS[how])
        optimizer = keras.optimizers.Adam(0.01, **arguments.pop("optimizer", {}))
        return trained(layers_used_twice, balancer, optimizer, steps=4, **arguments)

    plain, by_task = run("equal"), run(WAYS[way])
    plain_weights = plain.get_weights()
    for first, second in zip(plain_weights, by_task.get_weights()[: len(plain_weights)], strict=True):
        np.testing.assert_allclose(second, first, atol=1e-5)
    assert largest_difference(plain, trained(layers_used_twice, "equal", steps=1)) > 1e-3
