"""PLE: the paper's levels, `CGC` as the case of one, and what is shared in which level."""

import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl import sharing
from tests.unit.sharing.test_experts import one_by_one, with_biases
from tests.unit.sharing.test_mmoe import KINDS, on_vectors, softmax


def in_numpy(model, x, num_levels):
    """The paper's levels, from the weights of the model."""
    names = [kind.name for kind in KINDS]
    read = dict.fromkeys([*names, "shared"], x)
    for level in range(num_levels):
        experts = {owner: one_by_one(model.get_layer(f"{owner}_experts_{level}"), read[owner]) for owner in read}
        mixed = {}
        for owner in names if level == num_levels - 1 else read:
            (kernel,) = model.get_layer(f"{owner}_gate_{level}").get_weights()
            seen = [*names, "shared"] if owner == "shared" else [owner, "shared"]
            together = np.concatenate([experts[each] for each in seen], axis=1)
            mixed[owner] = np.einsum("be,beu->bu", softmax(read[owner] @ kernel), together)
        read = mixed
    return read


@pytest.mark.parametrize("num_levels", [2, 3])
def test_the_papers_levels(num_levels):
    model = with_biases(on_vectors(sharing.PLE(num_levels, 2, 1, expert_units=(5, 4))))
    model.set_weights([weight * 0.5 for weight in model.get_weights()])
    x = np.random.default_rng(0).normal(size=(7, 6)).astype("float32")
    expected = in_numpy(model, x, num_levels)
    for task, found in model(x).items():
        np.testing.assert_allclose(found, expected[task], rtol=1e-3, atol=1e-4)


def test_of_one_level_it_is_cgc():
    arguments = {"num_specific": 2, "num_shared": 3, "expert_units": (5, 4), "gate_units": (3,)}
    ple, cgc = on_vectors(sharing.PLE(1, **arguments)), on_vectors(sharing.CGC(**arguments))
    with_biases(ple)
    cgc.set_weights(ple.get_weights())
    x = np.random.default_rng(0).normal(size=(7, 6)).astype("float32")
    for task, expected in cgc(x).items():
        np.testing.assert_array_equal(ple(x)[task], expected)


def test_a_tasks_experts_are_shared_in_all_levels_but_the_last():
    model = mtl.build_model("mlp", KINDS, sharing=sharing.PLE(2), input_shape=(6,))
    parts = model.partition
    shared = {id(variable) for variable in parts.shared}
    for layer in ("a_experts_0", "shared_experts_0", "shared_gate_0", "shared_experts_1"):
        assert {id(v) for v in model.get_layer(layer).trainable_variables} <= shared
    own = {id(variable) for variable in parts.specific["a"]}
    # The shared gate reads the experts of a task, and not the task's gate.
    for layer in ("a_gate_0", "a_experts_1", "a_gate_1"):
        assert {id(v) for v in model.get_layer(layer).trainable_variables} <= own


def test_the_shared_gate_weighs_all_experts():
    model = on_vectors(sharing.PLE(3, num_specific=2, num_shared=4))
    gates = {(layer.task, layer.level): layer.num_experts for layer in model.layers if hasattr(layer, "shows")}
    tasks_gates = {(kind.name, level): 6 for kind in KINDS for level in range(3)}
    assert gates == {**tasks_gates, ("shared", 0): 10, ("shared", 1): 10}


def test_bad_arguments():
    with pytest.raises(ValueError, match="`num_levels` should be an integer of at least 1. Received: num_levels=0"):
        sharing.PLE(num_levels=0)
    with pytest.raises(ValueError, match="`num_shared` should be an integer of at least 1"):
        sharing.PLE(num_shared=0)


def test_arguments_are_attributes():
    rule = sharing.PLE(3, 1, 2, 8)
    expected = {"num_levels": 3, "num_specific": 1, "num_shared": 2, "expert_units": [8], "gate_units": []}
    assert rule.get_config() == expected
    assert rule.num_levels == 3
