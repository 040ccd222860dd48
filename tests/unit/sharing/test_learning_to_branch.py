"""Nodes that choose what they read."""

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl.sharing._learning_to_branch import Branching


def build(rule, names=("a", "b"), seed=0):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((4,), name="x")
    x = keras.layers.Dense(5, activation="tanh", name="low")(inputs)
    x = keras.layers.Dense(3, activation="tanh", name="high")(x)
    return mtl.build_model(keras.Model(inputs, x), [mtl.tasks.Regression(name) for name in names], sharing=rule)


def data(size=32):
    rng = np.random.default_rng(0)
    return rng.normal(size=(size, 4)).astype("float32"), {name: rng.normal(size=size) for name in "ab"}


def branchings(model):
    return [layer for layer in model.layers if isinstance(layer, Branching)]


def dense(model, name, x):
    kernel, bias = model.get_layer(name).get_weights()
    return np.tanh(x @ kernel + bias)


def unit(num_nodes=3, readers=("x", "y"), **arguments):
    layer = Branching(["a", "b"], "level", readers, seed=0, **arguments)
    layer.build([(None, 2)] * num_nodes)
    return layer


class TestInference:
    def test_each_reads_its_likeliest_node(self):
        model = build(mtl.sharing.LearningToBranch(num_nodes=3, weights="own"))
        choices = {"low_branching": [2, 0, 1], "high_branching_a": [1], "high_branching_b": [2]}
        for name, chosen in choices.items():
            layer = model.get_layer(name)
            layer.logits.assign(np.eye(3)[chosen] + np.random.default_rng(0).uniform(0, 0.5, (len(chosen), 3)))
            assert layer.chosen() == chosen
        x, _ = data()
        low = [dense(model, f"low_node_{node}", x) for node in range(3)]
        high = [dense(model, f"high_node_{node}", low[parent]) for node, parent in enumerate([2, 0, 1])]
        for name, node in (("a", 1), ("b", 2)):
            kernel, bias = model.get_layer(f"{name}_logits").get_weights()
            np.testing.assert_allclose(model(x)[name], high[node] @ kernel + bias, atol=1e-5)

    def test_at_first_all_read_the_first_node_as_in_hard_sharing(self):
        branching, hard = build("learning_to_branch"), build("hard")
        for name in "ab":
            branching.get_layer(f"{name}_logits").set_weights(hard.get_layer(f"{name}_logits").get_weights())
        x, _ = data()
        for name, value in branching(x).items():
            np.testing.assert_allclose(value, hard(x)[name], atol=1e-6)

    def test_a_node_that_is_not_read_may_overflow(self):
        layer = unit(2, ["x"])
        layer.logits.assign([[1.0, 0.0]])
        np.testing.assert_array_equal(layer([np.ones((1, 2)), np.full((1, 2), np.inf)]), np.ones((1, 2)))


class TestTraining:
    def test_mixes_with_weights_that_sum_to_one_and_differ_from_step_to_step(self):
        layer, inputs = unit(), [np.eye(3)[[node]] for node in range(3)]
        first, second = ([row.numpy()[0] for row in layer(inputs, training=True)] for _ in range(2))
        for row in (*first, *second):
            assert row.sum() == pytest.approx(1.0, abs=1e-6)
            assert (row > 0).all()
        assert np.abs(first[0] - second[0]).max() > 1e-3
        assert np.abs(first[0] - first[1]).max() > 1e-3

    def test_draws_each_node_as_often_as_it_is_likely(self):
        layer = unit(3, ["x"], initial_temperature=0.01, final_temperature=0.01)
        layer.logits.assign([np.log([0.6, 0.3, 0.1])])
        inputs = [np.eye(3, dtype="float32")[[node]] for node in range(3)]
        draws = np.stack([layer(inputs, training=True).numpy()[0] for _ in range(600)])
        np.testing.assert_allclose(draws.mean(axis=0), [0.6, 0.3, 0.1], atol=0.06)
        assert (draws.max(axis=1) > 0.99).mean() > 0.95

    def test_the_temperature_falls_geometrically_and_then_stays(self):
        layer = unit(initial_temperature=8.0, final_temperature=0.5, annealing_steps=4)
        found = []
        for _ in range(6):
            found.append(float(layer.temperature()))
            layer([np.ones((1, 2))] * 3, training=True)
        np.testing.assert_allclose(found, [8, 4, 2, 1, 0.5, 0.5], rtol=1e-5)

    def test_inference_counts_no_step(self):
        layer = unit()
        layer([np.ones((1, 2))] * 3)
        layer([np.ones((1, 2))] * 3, training=False)
        assert float(layer.steps) == 0.0

    def test_a_step_of_fit_counts_once_for_each_layer(self):
        model = build(mtl.sharing.LearningToBranch(annealing_steps=100))
        x, y = data()
        for balancer in ("equal", "pcgrad", "famo"):
            model.compile("sgd", balancer=balancer)
            model.fit(x, y, batch_size=8, verbose=0)
        assert [float(layer.steps) for layer in branchings(model)] == [12.0] * 3

    def test_finds_the_node_that_fits(self):
        """One of two frozen nodes has what the task needs, and the task learns to read it."""
        inputs = keras.Input((2,))
        backbone = keras.Model(inputs, keras.layers.Dense(1, use_bias=False, name="pick")(inputs))
        rule = mtl.sharing.LearningToBranch(num_nodes=2, annealing_steps=150, seed=0)
        model = mtl.build_model(backbone, [mtl.tasks.Regression(name) for name in "ab"], sharing=rule)
        for node, weights in enumerate([[[1.0], [0.0]], [[0.0], [1.0]]]):
            layer = model.get_layer(f"pick_node_{node}")
            layer.set_weights([np.asarray(weights)])
            layer.trainable = False
        for name in "ab":
            model.get_layer(f"{name}_logits").set_weights([np.ones((1, 1)), np.zeros(1)])
            model.get_layer(f"{name}_logits").trainable = False
        x = np.random.default_rng(0).normal(size=(256, 2)).astype("float32")
        model.compile(keras.optimizers.Adam(0.05))
        model.fit(x, {"a": x[:, 0], "b": x[:, 1]}, batch_size=32, epochs=20, verbose=0)
        assert model.get_layer("pick_branching_a").chosen() == [0]
        assert model.get_layer("pick_branching_b").chosen() == [1]
        assert model.get_layer("pick_branching_b").learnt()["parents"][0, 1] > 0.9

    def test_a_seed_gives_the_same_draws_and_other_ones_for_each_layer(self):
        x, _ = data()
        first, second, other = (
            build(mtl.sharing.LearningToBranch(seed=seed, weights="own"))(x, training=True)["a"].numpy()
            for seed in (3, 3, 4)
        )
        np.testing.assert_array_equal(first, second)
        assert np.abs(first - other).max() > 1e-4
        model = build(mtl.sharing.LearningToBranch(seed=3))
        assert len({layer.seed for layer in branchings(model)}) == 3


class TestGraph:
    def test_what_is_shared(self):
        model = build("learning_to_branch")
        own = {variable.path.split("/")[0] for variable in model.partition.specific["a"]}
        assert own == {"high_branching_a", "a_logits"}
        shared = {variable.path.split("/")[0] for variable in model.partition.shared}
        assert shared == {"low_node_0", "low_node_1", "low_branching", "high_node_0", "high_node_1"}

    def test_nodes_for_each_level(self):
        model = build(mtl.sharing.LearningToBranch(num_nodes=(1, 3)))
        assert [layer.name for layer in model.layers if "node" in layer.name] == [
            "low_node_0",
            "high_node_0",
            "high_node_1",
            "high_node_2",
        ]
        assert model.get_layer("low_branching").logits.shape == (3, 1)
        assert model.get_layer("high_branching_a").logits.shape == (1, 3)

    def test_as_many_nodes_as_tasks(self):
        assert build("learning_to_branch", "abc").get_layer("low_branching").logits.shape == (3, 3)

    def test_nodes_that_do_not_fit_the_levels(self):
        with pytest.raises(ValueError, match=r"one for each of the levels \['low', 'high'\]. Received: .*\(1, 2, 3\)"):
            build(mtl.sharing.LearningToBranch(num_nodes=(1, 2, 3)))

    def test_the_layer_knows_its_tasks_level_and_parents(self):
        model = build(mtl.sharing.LearningToBranch(num_nodes=2, seed=5))
        layer = model.get_layer("low_branching")
        assert (list(layer.tasks), layer.level, list(layer.readers)) == (["a", "b"], "low", ["node_0", "node_1"])
        layer.logits.assign(np.log([[0.25, 0.75], [0.5, 0.5]]))
        np.testing.assert_allclose(layer.learnt()["parents"], [[0.25, 0.75], [0.5, 0.5]], atol=1e-6)
        assert Branching.from_config(layer.get_config()).get_config() == layer.get_config()

    def test_the_state_is_saved(self, tmp_path):
        model = build(mtl.sharing.LearningToBranch(annealing_steps=50))
        x, y = data()
        model.compile("sgd")
        model.fit(x, y, batch_size=8, verbose=0)
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        assert [float(layer.steps) for layer in branchings(again)] == [4.0] * 3
        first, second = (each(x, training=True)["a"].numpy() for each in (model, again))
        np.testing.assert_allclose(first, second, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_nodes": 0}, r"`num_nodes\[0\]` should be an integer of at least 1"),
        ({"num_nodes": "2"}, "`num_nodes` should be an integer or a sequence"),
        ({"initial_temperature": 0.0}, "`initial_temperature` should be a finite number of at least 0.001"),
        ({"final_temperature": -1.0}, "`final_temperature` should be a finite number of at least 0.001"),
        ({"annealing_steps": 0}, "`annealing_steps` should be an integer of at least 1"),
        ({"seed": 1.5}, "`seed` should be an integer of at least 0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        mtl.sharing.LearningToBranch(**arguments)
