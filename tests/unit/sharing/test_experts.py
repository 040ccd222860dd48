"""Experts against networks one by one, gates and mixtures; and what all sharings of experts have in common."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from keras_mtl import sharing, tasks
from keras_mtl.sharing._experts import Gate, Mixture
from tests.models import others_slow, policies, two_task_data

FAMILY = {
    "mmoe": lambda: sharing.MMoE(3, expert_units=(6, 5)),
    "cgc": lambda: sharing.CGC(2, 1, expert_units=5, gate_units=4),
    "ple": lambda: sharing.PLE(2, 1, 2, expert_units=5),
    "dselect_k": lambda: sharing.DSelectK(5, 2, expert_units=5),
    "dselect_k_per_example": lambda: sharing.DSelectK(4, 2, expert_units=5, per_example=True),
}


def relu(x):
    return np.maximum(x, 0)


def one_by_one(layer, x):
    """What each expert gives, from the layer's weights."""
    found = []
    for expert in range(layer.num_experts):
        y = x
        for depth, units in enumerate(layer.units):
            kernel, bias = np.array(layer.kernels[depth]), np.array(layer.biases[depth])
            y = relu(y @ (kernel[expert] if depth else kernel[:, expert * units :][:, :units]) + bias[expert])
        found.append(y)
    return np.stack(found, axis=1)


def with_biases(layer):
    """The layer with weights that are nowhere zero."""
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(size=weight.shape) for weight in layer.get_weights()])
    return layer


def two_tasks():
    return [tasks.Classification("a", 4), tasks.Regression("b")]


def family_model(name, backbone=None):
    if backbone is None:
        backbone = mtl.backbones.MLP(6, units=(8,))
    return mtl.build_model(backbone, two_tasks(), sharing=FAMILY[name]())


class TestExperts:
    @pytest.mark.parametrize("units", [5, (5, 4), (5, 4, 3)])
    def test_each_is_the_network_it_would_be_alone(self, units):
        layer = sharing.Experts(3, units)
        x = np.random.default_rng(0).normal(size=(7, 6)).astype("float32")
        layer.build(x.shape)
        with_biases(layer)
        expected = one_by_one(layer, x)
        assert layer(x).shape == expected.shape == layer.compute_output_shape(x.shape)
        np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-5)

    def test_an_activation_sees_one_expert_at_a_time(self):
        outputs = sharing.Experts(3, 4, activation="softmax")(np.ones((2, 6)))
        np.testing.assert_allclose(np.sum(outputs, axis=-1), np.ones((2, 3)), rtol=1e-5)

    def test_each_is_drawn_as_dense_layers_would_be(self):
        layer = sharing.Experts(50, (20, 10))
        layer.build((None, 30))
        alone = np.array(layer.kernels[0]).reshape(30, 50, 20).swapaxes(0, 1)
        for kernels, (inputs, units) in zip([alone, np.array(layer.kernels[1])], [(30, 20), (20, 10)], strict=True):
            dense = keras.layers.Dense(units)
            dense.build((None, inputs))
            limit = np.sqrt(6 / (inputs + units))
            assert np.abs(dense.kernel).max() <= limit
            assert 0.95 * limit < np.abs(kernels).max(axis=(1, 2)).min()
            assert np.abs(kernels).max() <= limit
            np.testing.assert_allclose(kernels.std(), limit / np.sqrt(3), rtol=0.02)
            assert len({kernel.tobytes() for kernel in kernels}) == 50
        assert not any(np.any(np.array(bias)) for bias in layer.biases)

    def test_neither_weights_nor_operations_grow_with_their_number(self):
        def size(number):
            layer = sharing.Experts(number, (5, 4))
            layer.build((None, 6))

            @tf.function
            def step(x):
                with tf.GradientTape() as tape:
                    loss = tf.reduce_sum(layer(x))
                return tape.gradient(loss, layer.trainable_variables)

            operations = step.get_concrete_function(tf.zeros((8, 6))).graph.get_operations()
            return len(layer.weights), len(operations)

        assert size(3) == size(30)

    def test_a_number_of_examples_that_is_not_known(self):
        inputs = keras.Input((6,))
        model = keras.Model(inputs, sharing.Experts(3, (5, 4))(inputs))
        assert model.output.shape == (None, 3, 4)
        assert model.predict(np.ones((5, 6)), batch_size=2, verbose=0).shape == (5, 3, 4)

    def test_mixed_precision(self):
        layer = sharing.Experts(3, (5, 4), dtype="mixed_float16")
        assert layer(np.ones((2, 6), "float16")).dtype == "float16"
        assert {weight.dtype for weight in layer.weights} == {"float32"}

    def test_config_round_trip(self):
        layer = sharing.Experts(3, (5, 4), activation="tanh", name="some")
        copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
        assert copy.get_config() == layer.get_config()
        assert (copy.num_experts, copy.units, copy.activation) == (3, (5, 4), keras.activations.tanh)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"num_experts": 0}, "`num_experts` should be an integer of at least 1. Received: num_experts=0"),
            (
                {"num_experts": 2, "units": ()},
                r"`units` should give an expert at least one layer.*units=\(\)",
            ),
            ({"num_experts": 2, "units": (4, 0)}, r"`units\[1\]` should be an integer of at least 1"),
        ],
    )
    def test_bad_arguments(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            sharing.Experts(**arguments)

    @pytest.mark.parametrize("shape", [(4, 4, 6), (None,)])
    def test_inputs_that_are_no_vectors(self, shape):
        with pytest.raises(ValueError, match="Experts read vectors"):
            sharing.Experts(2)(keras.Input(shape))


class TestGate:
    def test_it_is_a_softmax_without_a_bias(self):
        gate = Gate(3, "a")
        x = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
        weights = np.array(gate(x))
        assert [weight.shape for weight in gate.weights] == [(6, 3)]
        exponentials = np.exp(x @ np.array(gate.kernel))
        np.testing.assert_allclose(weights, exponentials / exponentials.sum(axis=1, keepdims=True), rtol=1e-5)

    def test_of_one_expert(self):
        np.testing.assert_array_equal(Gate(1, "a")(np.ones((2, 6))), np.ones((2, 1)))

    def test_config_round_trip(self):
        gate = Gate(3, "a", level=2, name="some")
        copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(gate))
        assert (copy.num_experts, copy.task, copy.level, copy.name) == (3, "a", 2, "some")
        assert Gate.shows == "gates"


def test_a_mixture_is_the_weighted_sum_of_all_groups():
    rng = np.random.default_rng(0)
    weights, own, shared = rng.normal(size=(4, 5)), rng.normal(size=(4, 2, 3)), rng.normal(size=(4, 3, 3))
    expected = np.einsum("be,beu->bu", weights, np.concatenate([own, shared], axis=1))
    np.testing.assert_allclose(Mixture()([weights, own, shared]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FAMILY)
class TestFamily:
    def test_config_round_trip(self, name):
        rule = FAMILY[name]()
        copy = sharing.get(keras.saving.serialize_keras_object(rule))
        assert type(copy) is type(rule)
        assert copy.get_config() == rule.get_config()
        assert type(rule).from_config(rule.get_config()).get_config() == rule.get_config()

    def test_reads_the_last_level_averaged(self, name):
        rng = np.random.default_rng(0)
        low, last = keras.Input((4, 4, 3)), keras.Input((2, 3, 6))
        model = keras.Model([low, last], FAMILY[name]()({"low": low, "last": last}, two_tasks()))
        x = rng.normal(size=(3, 2, 3, 6)).astype("float32")
        averaged = np.broadcast_to(x.mean(axis=(1, 2), keepdims=True), x.shape)
        found, expected = (model([rng.normal(size=(3, 4, 4, 3)), each]) for each in (x, averaged))
        for task in ("a", "b"):
            assert found[task].shape == (3, 5)
            np.testing.assert_allclose(found[task], expected[task], rtol=1e-4, atol=1e-5)

    def test_gates_say_what_they_show(self, name):
        gates = [layer for layer in family_model(name).layers if getattr(layer, "shows", None) == "gates"]
        shown = [(gate.task, gate.level) for gate in gates]
        assert {("a", 0), ("b", 0)} <= set(shown)
        assert len(set(shown)) == len(shown) == (5 if name == "ple" else 2)
        assert all(gate.output.shape == (None, gate.num_experts) for gate in gates)
        assert all(hasattr(gate, "learnt") == (name == "dselect_k") for gate in gates)

    @pytest.mark.slow
    def test_a_file_brings_it_back(self, name, tmp_path):
        model = family_model(name, mtl.backbones.Convolutional((8, 8, 1), filters=(4, 6)))
        model.compile("adam", balancer="pcgrad")
        rng = np.random.default_rng(0)
        x = rng.uniform(0, 255, (16, 8, 8, 1)).astype("float32")
        y = {"a": rng.integers(0, 4, 16), "b": rng.normal(size=16)}
        model.fit(x, y, batch_size=8, verbose=0)
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        for task, output in model.predict(x, verbose=0).items():
            np.testing.assert_allclose(loaded.predict(x, verbose=0)[task], output, atol=1e-6)
        loaded.fit(x, y, batch_size=8, verbose=0)

    @pytest.mark.slow
    def test_export(self, name, tmp_path):
        model = family_model(name)
        model.export(tmp_path / "served", verbose=False)
        x = two_task_data(5)[0]
        loaded = tf.saved_model.load(tmp_path / "served")
        served = loaded.serve(x)
        for task, output in model.predict(x, verbose=0).items():
            np.testing.assert_allclose(served[task], output, atol=1e-6)

    @pytest.mark.slow
    def test_mixed_precision(self, name):
        with policies("mixed_float16"):
            model = family_model(name)
        gates = [layer for layer in model.layers if getattr(layer, "shows", None) == "gates"]
        assert {gate.output.dtype for gate in gates} == {"float32"}
        assert {layer.output.dtype for layer in model.layers if isinstance(layer, (Mixture, sharing.Experts))} == {
            "float16"
        }
        model.compile("adam", balancer="upgrad")
        x, y = two_task_data(40)
        assert np.isfinite(model.fit(x, y, batch_size=8, epochs=2, verbose=0).history["loss"]).all()

    @pytest.mark.slow
    def test_xla(self, name):
        losses = []
        for jit in (False, True):
            keras.utils.set_random_seed(0)
            model = family_model(name)
            model.compile(keras.optimizers.SGD(0.1), jit_compile=jit)
            x, y = two_task_data(40)
            losses.append(model.fit(x, y, batch_size=8, verbose=0, shuffle=False).history["loss"])
        np.testing.assert_allclose(*losses, rtol=1e-4)

    @pytest.mark.slow
    def test_two_replicas_take_the_step_of_one(self, name, two_replicas):
        found = []
        for scope in (tf.distribute.get_strategy().scope, two_replicas.scope):
            with scope():
                keras.utils.set_random_seed(0)
                model = family_model(name)
                model.compile(keras.optimizers.SGD(0.1))
            x, y = two_task_data(40)
            model.fit(x, y, batch_size=8, verbose=0, shuffle=False)
            found.append(model.get_weights())
        for one, two in zip(*found, strict=True):
            np.testing.assert_allclose(one, two, atol=1e-5)


@pytest.mark.parametrize("name", others_slow(FAMILY, by_default=("ple",)))
def test_every_weight_learns_and_one_trace_serves_all_steps(name):
    model, traces = family_model(name), []
    model.compile("adam", balancer="upgrad")
    step = model.train_step
    model.train_step = lambda data: traces.append(1) or step(data)
    before = [np.array(variable) for variable in model.trainable_variables]
    x, y = two_task_data(40)
    history = model.fit(x, y, batch_size=8, epochs=3, verbose=0).history
    assert len(traces) == 1
    assert np.isfinite(history["loss"]).all()
    for old, variable in zip(before, model.trainable_variables, strict=True):
        assert np.any(old != np.array(variable)), variable.path
