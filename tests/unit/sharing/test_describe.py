"""What an architecture has learnt is read off the model."""

import keras
import numpy as np
import pytest

from keras_mtl import backbones, build_model, sharing, tasks

KINDS = ("a", "b", "c")


def make(rule):
    keras.utils.set_random_seed(0)
    return build_model(backbones.MLP(6, units=(8, 4)), [tasks.Regression(name) for name in KINDS], rule)


def inputs(size=10):
    return np.random.default_rng(0).normal(size=(size, 6)).astype("float32")


def test_gates_are_averaged_over_the_inputs():
    model = make(sharing.MMoE(5))
    x = inputs()
    found = sharing.describe(model, x)
    assert list(found) == ["gates"]
    gate = keras.Model(model.input, model.get_layer("b_gate").output)
    np.testing.assert_allclose(found["gates"][0]["b"], gate.predict(x, verbose=0).mean(axis=0), rtol=1e-5)
    assert list(found["gates"][0]) == list(KINDS)
    with pytest.raises(ValueError, match="depend on its input. Received: x=None"):
        sharing.describe(model)


def test_levels_have_gates_of_their_own():
    found = sharing.describe(make(sharing.PLE(num_levels=2, num_specific=2, num_shared=1)), inputs())["gates"]
    assert {level: {task: len(w) for task, w in gates.items()} for level, gates in found.items()} == {
        0: {"a": 3, "b": 3, "c": 3, "shared": 7},
        1: {"a": 3, "b": 3, "c": 3},
    }


def test_gates_that_do_not_depend_on_the_input_need_none():
    found = sharing.describe(make(sharing.DSelectK(4, k=2)))["gates"][0]
    assert list(found) == list(KINDS)
    assert found["a"].shape == (4,)


def test_stitches_have_a_row_for_each_task_at_each_level():
    model = make(sharing.CrossStitch(own=0.8))
    found = sharing.describe(model)["stitches"]
    assert list(found) == ["dense_0", "dense_1"]
    for matrix in found.values():
        np.testing.assert_allclose(matrix, 0.1 + 0.7 * np.eye(3), rtol=1e-5)
    assert sharing.describe(make(sharing.NDDR()))["stitches"]["dense_1"].shape == (3, 3)


@pytest.mark.parametrize("rule", [sharing.CrossStitch(own=0.8), sharing.NDDR(own=0.8)], ids=["stitches", "nddr"])
def test_rows_are_in_the_order_of_the_tasks(rule):
    """Whatever their names and the depth of their heads: the model's layers stand in another order."""
    kinds = [tasks.Regression("z"), tasks.Regression("m", hidden_units=(4, 4)), tasks.Regression("a", hidden_units=3)]
    found = sharing.describe(build_model(backbones.MLP(6, units=(8, 4)), kinds, rule))["stitches"]
    for matrix in found.values():
        assert np.argmax(matrix, axis=1).tolist() == [0, 1, 2]


def test_parents_are_probabilities():
    found = sharing.describe(make(sharing.LearningToBranch(num_nodes=2)))["parents"]
    *_, last = found.values()
    assert last.shape == (3, 2)
    np.testing.assert_allclose(last.sum(axis=1), 1, rtol=1e-5)


def test_an_architecture_that_learns_nothing_of_the_kind():
    assert sharing.describe(make("hard")) == {}
