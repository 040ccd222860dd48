"""DSelect-k: the paper's gate and penalties, and that a gate ends with exactly k experts."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from keras_mtl import sharing, tasks
from keras_mtl.sharing._selector_gate import (
    ExampleSelectorGate,
    SelectorGate,
    encode,
    one_after_another,
    reachable,
    smooth_step,
)
from tests.models import two_task_data
from tests.unit.sharing.test_mmoe import softmax


def smooth(t, gamma):
    """The paper's smooth step."""
    middle = -2 / gamma**3 * t**3 + 3 / (2 * gamma) * t + 0.5
    return np.where(t <= -gamma / 2, 0.0, np.where(t >= gamma / 2, 1.0, middle))


def selector(z, num_experts, gamma=1.0):
    """The paper's selector of one expert, digit by digit; the first digit is the highest."""
    found = np.ones(num_experts)
    for expert, (place, t) in itertools.product(range(num_experts), enumerate(z)):
        digit = expert >> (len(z) - 1 - place) & 1
        found[expert] *= smooth(t, gamma) if digit else 1 - smooth(t, gamma)
    return found


def made(num_experts, k, z, **arguments):
    """A gate with these logits of its selectors."""
    gate = SelectorGate(num_experts, "a", k=k, **arguments)
    gate.build((None, 3))
    gate.selector_logits.assign(z)
    return gate


def settled(*codes, num_bits):
    """Logits of selectors that have settled on these numbers."""
    return [[1.0 if code >> (num_bits - 1 - place) & 1 else -1.0 for place in range(num_bits)] for code in codes]


class TestGate:
    @pytest.mark.parametrize("gamma", [0.5, 1.0, 4.0])
    def test_smooth_step(self, gamma):
        t = np.linspace(-3, 3, 25).astype("float32")
        np.testing.assert_allclose(smooth_step(t, gamma), smooth(t, gamma), atol=1e-6)
        ends = np.array(smooth_step(np.float32([-gamma / 2, gamma / 2, -9, 9]), gamma))
        np.testing.assert_array_equal(ends, [0, 1, 0, 1])

    @pytest.mark.parametrize("num_experts", [2, 5, 6, 8])
    def test_the_papers_gate_of_one_selector(self, num_experts):
        num_bits = int(np.ceil(np.log2(num_experts)))
        z = np.random.default_rng(0).uniform(-0.5, 0.5, num_bits)
        found = np.array(made(num_experts, 1, [z], gamma=1.2)(np.ones((4, 3))))
        assert found.shape == (4, num_experts)
        np.testing.assert_allclose(found, np.tile(selector(z, num_experts, 1.2), (4, 1)), atol=1e-6)

    def test_the_papers_gate_of_selectors_that_do_not_overlap(self):
        z = np.array([[-1, 0.2, -0.3], [1, 0.1, 0.4]])  # of experts 0 to 3 and 4 to 7
        gate = made(8, 2, z)
        gate.share_logits.assign([0.3, -0.8])
        expected = softmax(np.array([0.3, -0.8])) @ [selector(row, 8) for row in z]
        np.testing.assert_allclose(gate(np.ones((1, 3)))[0], expected, atol=1e-6)
        np.testing.assert_allclose(gate.learnt()["gates"], expected, atol=1e-6)

    @pytest.mark.parametrize("num_experts", [5, 8])
    def test_of_two_that_overlap_the_second_leaves_the_first_what_it_has(self, num_experts):
        z = np.random.default_rng(0).uniform(-0.4, 0.4, (2, 3))
        gate = made(num_experts, 2, z)
        gate.share_logits.assign([0.3, -0.8])
        first, second = (selector(row, num_experts) for row in z)
        rows = [first, second * (1 - first) + np.roll(second * first, 1)]
        np.testing.assert_allclose(gate.learnt()["gates"], softmax(np.array([0.3, -0.8])) @ rows, atol=1e-6)

    @pytest.mark.parametrize("k", [1, 2])
    def test_the_gate_for_each_example(self, k):
        gate = ExampleSelectorGate(8, "a", k=k)
        x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
        gate.build(x.shape)
        rng = np.random.default_rng(1)
        gate.set_weights([rng.normal(size=weight.shape) * 0.2 for weight in gate.get_weights()])
        kernel, bias = (np.array(weight) for weight in gate.selector_weights)
        found = np.array(gate(x))
        for example, weights in zip(x, found, strict=True):
            rows = [selector(row, 8) for row in (example @ kernel + bias).reshape(k, 3)]
            shares = np.ones(1)
            if k == 2:
                rows[1] = rows[1] * (1 - rows[0]) + np.roll(rows[1] * rows[0], 1)
                shares = softmax(example @ np.array(gate.share_weights[0]) + np.array(gate.share_weights[1]))
            np.testing.assert_allclose(weights, shares @ rows, atol=1e-5)
        assert np.ptp(found, axis=0).max() > 0.01
        assert not hasattr(gate, "learnt")

    def test_begins_near_the_middle(self):
        gate = SelectorGate(8, "a", k=3)
        np.testing.assert_allclose(gate(np.ones((1, 3))), np.full((1, 8), 1 / 8), atol=0.02)
        assert len(np.unique(np.array(gate.selector_logits))) == 9

    @pytest.mark.parametrize("kind", [SelectorGate, ExampleSelectorGate])
    def test_config_round_trip(self, kind):
        gate = kind(6, "a", k=3, gamma=2.0, entropy=0.5, level=1, name="some")
        copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(gate))
        assert copy.get_config() == gate.get_config()
        assert (copy.num_experts, copy.task, copy.k, copy.gamma, copy.entropy, copy.level) == (6, "a", 3, 2.0, 0.5, 1)
        assert kind.shows == "gates"


class TestPenalty:
    def test_the_papers_entropy(self):
        z = np.random.default_rng(0).uniform(-0.3, 0.3, (3, 2))
        r = np.array([selector(row, 4) for row in z])
        entropy = -np.sum(r * np.log(r))
        gate = made(4, 3, z, entropy=0.3)
        gate(np.ones((5, 3)))
        np.testing.assert_allclose(sum(gate.losses), 0.3 * entropy, rtol=1e-5)

    def test_codes_without_an_expert(self):
        z = np.random.default_rng(0).uniform(-0.3, 0.3, (2, 3))
        gate = made(5, 2, z, entropy=0.0)
        gate(np.ones((5, 3)))
        expected = sum(1 / selector(row, 5).sum() - 1 for row in z)
        assert expected > 0.1
        np.testing.assert_allclose(sum(gate.losses), expected, rtol=1e-5)

    def test_nothing_is_added_when_all_have_settled(self):
        gate = made(5, 2, settled(4, 1, num_bits=3), entropy=10.0)
        gate(np.ones((5, 3)))
        np.testing.assert_allclose(sum(gate.losses), 0, atol=1e-6)

    def test_it_is_a_mean_over_the_examples(self):
        gate = ExampleSelectorGate(5, "a", k=2, entropy=0.3)
        x = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
        alone = []
        for example in x:
            gate(example[None])
            alone.append(float(sum(gate.losses)))
        gate(x)
        np.testing.assert_allclose(sum(gate.losses), np.mean(alone), rtol=1e-5)

    def test_its_gradient_is_finite_wherever_selectors_stand(self):
        for values in itertools.product([-0.5, 0.0, 0.499, 0.5, 2.0], repeat=2):
            gate = made(3, 2, [values, values[::-1]], entropy=1.0)
            with tf.GradientTape() as tape:
                gate(np.ones((1, 3)))
                loss = sum(gate.losses)
            (gradient,) = tape.gradient(loss, [gate.selector_logits.value])
            assert np.isfinite(gradient).all()


class TestExactlyK:
    @pytest.mark.parametrize(("num_experts", "k"), [(8, 2), (8, 3), (5, 5), (6, 1)])
    def test_whatever_selectors_settle_on(self, num_experts, k):
        for codes in itertools.product(range(8), repeat=k) if k < 4 else [(7,) * k, (0, 5, 0, 5, 0), (4, 4, 3, 3, 3)]:
            rows = np.array(one_after_another(reachable(np.eye(8, dtype="float32")[list(codes)], num_experts)))
            np.testing.assert_array_equal(rows.sum(axis=1), np.ones(k))
            assert rows.max(axis=0).sum() == k
            assert set(np.unique(rows)) == {0, 1}

    def test_the_first_to_settle_keeps_its_expert_and_others_are_as_they_were(self):
        gate = made(8, 3, settled(6, 6, 2, num_bits=3))
        gate.share_logits.assign(np.log([0.5, 0.3, 0.2]))
        np.testing.assert_allclose(gate.learnt()["gates"], [0, 0, 0.2, 0, 0, 0, 0.5, 0.3], atol=1e-6)

    def test_each_gives_as_much_as_by_itself(self):
        selectors = np.random.default_rng(0).dirichlet(np.ones(6), (50, 4)).astype("float32") * 0.9
        found = np.array(one_after_another(selectors))
        np.testing.assert_allclose(found.sum(axis=-1), 0.9, rtol=1e-5)
        assert found.min() >= 0
        np.testing.assert_array_equal(found[:, 0], selectors[:, 0])

    def test_only_what_has_settled_on_a_code_without_an_expert_is_moved(self):
        codes = np.array([[0, 0, 0, 1], [0, 0.9, 0, 0.1]], "float32")
        np.testing.assert_array_equal(reachable(codes, 3), [[1, 0, 0], [0, np.float32(0.9), 0]])

    @pytest.mark.parametrize(
        ("num_experts", "k"),
        [(6, 3), pytest.param(8, 2, marks=pytest.mark.slow), pytest.param(4, 1, marks=pytest.mark.slow)],
    )
    def test_training_ends_with_k_experts(self, num_experts, k):
        kinds = [tasks.Classification("a", 4), tasks.Regression("b")]
        rule = sharing.DSelectK(num_experts, k, expert_units=8)
        model = mtl.build_model("mlp", kinds, sharing=rule, input_shape=(6,))
        model.compile(keras.optimizers.Adam(0.01))
        gates = [model.get_layer(f"{task}_gate") for task in "ab"]
        assert all(np.count_nonzero(gate.learnt()["gates"]) == num_experts for gate in gates)
        x, y = two_task_data(400)
        history = model.fit(x, y, batch_size=20, epochs=15, verbose=0).history
        for gate in gates:
            weights = gate.learnt()["gates"]
            assert np.count_nonzero(weights) == k
            np.testing.assert_allclose(weights.sum(), 1, rtol=1e-6)
            assert float(sum(gate.losses)) == pytest.approx(0, abs=1e-5)
        assert history["a_loss"][-1] < 0.5 * history["a_loss"][0]
        assert history["b_loss"][-1] < 0.5 * history["b_loss"][0]

    def test_training_for_each_example_ends_with_k_experts_for_nearly_all(self):
        kinds = [tasks.Classification("a", 4), tasks.Regression("b")]
        rule = sharing.DSelectK(4, 2, expert_units=8, per_example=True)
        model = mtl.build_model("mlp", kinds, sharing=rule, input_shape=(6,))
        model.compile(keras.optimizers.Adam(0.01))
        x, y = two_task_data(400)
        model.fit(x, y, batch_size=20, epochs=15, verbose=0)
        weights = keras.Model(model.input, model.get_layer("a_gate").output).predict(x, verbose=0)
        counts = np.count_nonzero(weights, axis=1)
        assert np.mean(counts == 2) > 0.9

    def test_encode_counts_with_the_first_digit_highest(self):
        np.testing.assert_array_equal(encode(np.float32([[1, 1, 0], [0, 0, 1]])), np.eye(8)[[6, 1]])


def test_experts_are_shared_and_gates_are_not():
    kinds = [tasks.Classification("a", 4), tasks.Regression("b")]
    for per_example in (False, True):
        rule = sharing.DSelectK(4, per_example=per_example)
        model = mtl.build_model("mlp", kinds, sharing=rule, input_shape=(6,))
        shared = {id(variable) for variable in model.partition.shared}
        assert {id(v) for v in model.get_layer("shared_experts").trainable_variables} <= shared
        for task in "ab":
            own = {id(variable) for variable in model.partition.specific[task]}
            assert {id(v) for v in model.get_layer(f"{task}_gate").trainable_variables} <= own


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_experts": 1, "k": 1}, "`num_experts` should be an integer of at least 2. Received: num_experts=1"),
        ({"k": 0}, "`k` should be an integer of at least 1. Received: k=0"),
        ({"num_experts": 4, "k": 5}, "`k` should be at most the number of experts.* Received: k=5, num_experts=4"),
        ({"gamma": 0}, "`gamma` should be above 0. Received: gamma=0"),
        ({"gamma": -1.0}, "`gamma` should be a finite number of at least 0"),
        ({"entropy": -0.1}, "`entropy` should be a finite number of at least 0. Received: entropy=-0.1"),
        ({"expert_units": ()}, "`expert_units` should give an expert at least one layer"),
        ({"per_example": 1}, "`per_example` should be a bool. Received: per_example=1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        sharing.DSelectK(**arguments)


def test_arguments_are_attributes():
    rule = sharing.DSelectK(6, 3, 8, 2.0, 0.5, True)
    expected = {"num_experts": 6, "k": 3, "expert_units": [8], "gamma": 2.0, "entropy": 0.5, "per_example": True}
    assert rule.get_config() == expected
    assert (rule.num_experts, rule.k, rule.expert_units) == (6, 3, (8,))
