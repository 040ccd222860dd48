"""CGC: the paper's equations, and which experts are whose."""

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl import sharing, tasks
from tests.unit.sharing.test_experts import one_by_one, with_biases
from tests.unit.sharing.test_mmoe import KINDS, on_vectors, softmax


def test_a_task_mixes_its_own_experts_and_the_shared_ones():
    model = with_biases(on_vectors(sharing.CGC(2, 3, expert_units=(5, 4))))
    x = np.random.default_rng(0).normal(size=(7, 6)).astype("float32")
    shared = one_by_one(model.get_layer("shared_experts_0"), x)
    for task, found in model(x).items():
        own = one_by_one(model.get_layer(f"{task}_experts_0"), x)
        experts = np.concatenate([own, shared], axis=1)
        (kernel,) = model.get_layer(f"{task}_gate_0").get_weights()
        assert kernel.shape == (6, 5)
        np.testing.assert_allclose(found, np.einsum("be,beu->bu", softmax(x @ kernel), experts), rtol=1e-4, atol=1e-4)


def test_a_tasks_experts_are_its_own():
    model = mtl.build_model("mlp", KINDS, sharing=sharing.CGC(gate_units=5), input_shape=(6,))
    parts = model.partition
    shared = {id(variable) for variable in parts.shared}
    assert {id(v) for v in model.get_layer("shared_experts_0").trainable_variables} <= shared
    for kind in KINDS:
        own = {id(variable) for variable in parts.specific[kind.name]}
        for layer in ("experts_0", "gate_0", "gate_0_hidden_0"):
            assert {id(v) for v in model.get_layer(f"{kind.name}_{layer}").trainable_variables} <= own


def test_there_is_no_gate_for_a_next_level():
    names = {layer.name for layer in on_vectors(sharing.CGC()).layers}
    assert "shared_gate_0" not in names
    assert "shared_mixture_0" not in names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_specific": 0}, "`num_specific` should be an integer of at least 1. Received: num_specific=0"),
        ({"num_shared": 1.5}, "`num_shared` should be an integer of at least 1. Received: num_shared=1.5"),
        ({"expert_units": []}, "`expert_units` should give an expert at least one layer"),
        ({"gate_units": "8"}, "`gate_units` should be an integer or a sequence of integers"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        sharing.CGC(**arguments)


@pytest.mark.parametrize("rule", [sharing.CGC, sharing.PLE])
def test_a_task_that_is_named_shared(rule):
    found = [tasks.Regression("a"), tasks.Regression("shared")]
    with pytest.raises(ValueError, match=rf"named 'shared' under `{rule.__name__}`.*Received: tasks \['a', 'shared'\]"):
        rule()({"features": keras.Input((4,))}, found)


def test_arguments_are_attributes():
    rule = sharing.CGC(1, 3, (8, 4), 2)
    assert rule.get_config() == {"num_specific": 1, "num_shared": 3, "expert_units": [8, 4], "gate_units": [2]}
    assert (rule.num_specific, rule.num_shared, rule.expert_units, rule.gate_units) == (1, 3, (8, 4), (2,))
