"""MMoE: the paper's equations, `Hard` as the case of one expert, what is shared."""

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl import sharing, tasks
from tests.unit.sharing.test_experts import one_by_one, relu, with_biases

KINDS = [tasks.Classification("a", 4), tasks.Regression("b"), tasks.Regression("c")]


def softmax(x):
    exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def on_vectors(rule):
    inputs = keras.Input((6,))
    return keras.Model(inputs, rule({"features": inputs}, KINDS))


@pytest.mark.parametrize("gate_units", [(), (5,)])
def test_the_papers_equations(gate_units):
    model = with_biases(on_vectors(sharing.MMoE(3, expert_units=(5, 4), gate_units=gate_units)))
    x = np.random.default_rng(0).normal(size=(7, 6)).astype("float32")
    experts = one_by_one(model.get_layer("shared_experts"), x)
    for task, found in model(x).items():
        gate = x
        if gate_units:
            kernel, bias = model.get_layer(f"{task}_gate_hidden_0").get_weights()
            gate = relu(x @ kernel + bias)
        (kernel,) = model.get_layer(f"{task}_gate").get_weights()
        np.testing.assert_allclose(
            found, np.einsum("be,beu->bu", softmax(gate @ kernel), experts), rtol=1e-4, atol=1e-4
        )


def test_with_one_expert_it_is_hard_with_the_experts_layers_on_the_backbone():
    inputs = keras.Input((6,))
    trunk = keras.Model(inputs, keras.layers.Dense(8, activation="relu")(inputs))
    longer = keras.Model(inputs, keras.Sequential([keras.layers.Dense(n, "relu") for n in (5, 4)])(trunk.output))
    mixed = mtl.build_model(trunk, KINDS, sharing=sharing.MMoE(1, expert_units=(5, 4)))
    hard = mtl.build_model(longer, KINDS)
    kernel, bias, deeper, deeper_bias = mixed.get_layer("shared_experts").get_weights()
    longer.layers[-1].set_weights([kernel, bias[0], deeper[0], deeper_bias[0]])
    for kind in KINDS:
        hard.get_layer(f"{kind.name}_logits").set_weights(mixed.get_layer(f"{kind.name}_logits").get_weights())
    x = np.random.default_rng(0).normal(size=(7, 6)).astype("float32")
    for task, expected in hard(x).items():
        np.testing.assert_allclose(mixed(x)[task], expected, atol=1e-6)


def test_experts_are_shared_and_gates_are_not():
    model = mtl.build_model("mlp", KINDS, sharing=sharing.MMoE(3, gate_units=5), input_shape=(6,))
    parts = model.partition
    shared = {id(variable) for variable in parts.shared}
    assert {id(v) for v in model.get_layer("shared_experts").trainable_variables} <= shared
    assert all(tasks == frozenset("abc") for tasks in parts.tasks)
    for kind in KINDS:
        own = {id(variable) for variable in parts.specific[kind.name]}
        for layer in ("gate", "gate_hidden_0", "logits"):
            assert {id(v) for v in model.get_layer(f"{kind.name}_{layer}").trainable_variables} <= own


def test_gates_learn_which_expert_serves_a_task():
    """Two frozen experts, each of which has what one task wants."""
    inputs = keras.Input((2,))
    kinds = [tasks.Regression("a"), tasks.Regression("b")]
    backbone = keras.Model(inputs, keras.layers.Identity()(inputs))
    model = mtl.build_model(backbone, kinds, sharing.MMoE(2, expert_units=1))
    experts = model.get_layer("shared_experts")
    experts.set_weights([np.eye(2), np.zeros((2, 1))])
    experts.trainable = False
    for kind in kinds:
        model.get_layer(f"{kind.name}_logits").set_weights([np.ones((1, 1)), np.zeros(1)])
        model.get_layer(f"{kind.name}_logits").trainable = False
    x = np.random.default_rng(0).uniform(0.5, 1.5, (64, 2)).astype("float32")
    model.compile(keras.optimizers.Adam(0.1))
    model.fit(x, {"a": x[:, 0], "b": x[:, 1]}, epochs=30, verbose=0)
    shown = keras.Model(model.input, [model.get_layer("a_gate").output, model.get_layer("b_gate").output])(x)
    assert np.mean(shown[0], axis=0)[0] > 0.9
    assert np.mean(shown[1], axis=0)[1] > 0.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_experts": 0}, "`num_experts` should be an integer of at least 1. Received: num_experts=0"),
        ({"expert_units": ()}, "`expert_units` should give an expert at least one layer.*sharing='hard'"),
        ({"gate_units": (4, -1)}, r"`gate_units\[1\]` should be an integer of at least 1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        sharing.MMoE(**arguments)


def test_arguments_are_attributes():
    rule = sharing.get("mmoe")
    assert rule.get_config() == {"num_experts": 8, "expert_units": [64], "gate_units": []}
    assert (rule.num_experts, rule.expert_units, rule.gate_units) == (8, (64,), ())
