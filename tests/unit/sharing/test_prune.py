"""The tree alone."""

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl.sharing._learning_to_branch import Branching


def branched(backbone="mlp", input_shape=(4,), **arguments):
    keras.utils.set_random_seed(0)
    tasks = [mtl.tasks.Regression(name) for name in "abc"]
    rule = mtl.sharing.LearningToBranch(num_nodes=3, weights="own", **arguments)
    return mtl.build_model(backbone, tasks, sharing=rule, input_shape=input_shape, name="branched")


def choose(model, choices):
    for name, chosen in choices.items():
        layer = model.get_layer(name)
        layer.logits.assign(np.eye(3)[chosen])


def some(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.fixture
def model():
    found = branched()
    choose(
        found,
        {
            "dense_0_branching": [2, 1, 2],
            "dense_1_branching_a": [0],
            "dense_1_branching_b": [2],
            "dense_1_branching_c": [2],
        },
    )
    return found


def test_predicts_the_same(model):
    pruned = mtl.sharing.prune(model)
    x = some(16, 4)
    for name, value in model(x).items():
        np.testing.assert_allclose(pruned(x)[name], value, atol=1e-6)


def test_has_the_nodes_of_the_tree_and_no_others(model):
    pruned = mtl.sharing.prune(model)
    assert isinstance(pruned, mtl.MultiTaskModel)
    assert not any(isinstance(layer, Branching) for layer in pruned.layers)
    nodes = sorted(layer.name for layer in pruned.layers if "node" in layer.name)
    assert nodes == ["dense_0_node_2", "dense_1_node_0", "dense_1_node_2"]
    assert pruned.name == "branched"
    assert [task.name for task in pruned.tasks] == ["a", "b", "c"]


def test_reads_off_which_nodes_are_shared(model):
    parts = mtl.sharing.prune(model).partition
    by_layer = {variable.path.split("/")[0]: tasks for variable, tasks in zip(parts.shared, parts.tasks, strict=True)}
    assert by_layer == {"dense_0_node_2": frozenset("abc"), "dense_1_node_2": frozenset("bc")}
    assert {variable.path.split("/")[0] for variable in parts.specific["a"]} == {"dense_1_node_0", "a_logits"}


def test_is_trained_saved_and_loaded_and_leaves_the_model_as_it_is(model, tmp_path):
    pruned = mtl.sharing.prune(model)
    before = model.get_weights()
    x, y = some(16, 4), {name: some(16) for name in "abc"}
    pruned.compile("adam", balancer="pcgrad")
    pruned.fit(x, y, verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    pruned.save(tmp_path / "pruned.keras")
    again = keras.saving.load_model(tmp_path / "pruned.keras")
    for name, value in pruned(x).items():
        np.testing.assert_allclose(again(x)[name], value, atol=1e-6)


def test_after_training_and_loading(tmp_path):
    model = branched(annealing_steps=8)
    x, y = some(64, 4), {name: some(64) for name in "abc"}
    model.compile(keras.optimizers.Adam(0.1))
    model.fit(x, y, batch_size=8, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    pruned = mtl.sharing.prune(keras.saving.load_model(tmp_path / "model.keras"))
    for name, value in model(x).items():
        np.testing.assert_allclose(pruned(x)[name], value, atol=1e-6)


def test_of_maps_with_a_preparation():
    model = branched("convolutional", (8, 8, 1))
    choose(model, {"conv_0_branching": [1, 1, 0], "conv_1_branching": [2, 2, 2], "conv_2_branching_b": [1]})
    pruned = mtl.sharing.prune(model)
    x = 100 * np.abs(some(4, 8, 8, 1))
    for name, value in model(x).items():
        np.testing.assert_allclose(pruned(x)[name], value, atol=1e-5)
    assert len([layer for layer in pruned.layers if "node" in layer.name]) < 9


@pytest.mark.parametrize("build", [lambda: mtl.sharing.prune(branched()), lambda: keras.Sequential(), lambda: None])
def test_a_model_without_branching_is_refused(build):
    with pytest.raises(ValueError, match="with branching layers: one of `build_model`"):
        mtl.sharing.prune(build())
