"""What every balancer of the registry keeps to."""

import inspect
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import balancers
from tests.unit.balancers._properties import (
    JACOBIANS,
    assert_permutes_with_the_tasks,
    direction,
    scaled_error,
    weights,
)

# By name: arguments that differ from the defaults.
ARGUMENTS = {"fixed": {"weights": {"a": 0.5, "b": 2.0, "c": 0.0}}, "pcgrad": {"seed": 7}}

NAMES = ["a", "b", "c"]
LOSSES = [keras.losses.MeanSquaredError(), keras.losses.BinaryCrossentropy(), keras.losses.Huber()]


def names_of(base):
    return [name for name, cls in balancers.classes().items() if issubclass(cls, base)]


@pytest.fixture(params=balancers.names())
def cls(request):
    return balancers.classes()[request.param]


@pytest.fixture(params=names_of(balancers.LossBalancer))
def loss_balancer(request):
    return balancers.get(request.param)


@pytest.fixture(params=names_of(balancers.GramianBalancer))
def make(request):
    """Makes a balancer by Gramians, always with the same seed."""

    def new(**arguments):
        keras.utils.set_random_seed(0)
        return balancers.classes()[request.param](**arguments)

    return new


class TestGet:
    def test_by_name(self, cls):
        (name,) = [name for name, found in balancers.classes().items() if found is cls]
        assert type(balancers.get(name)) is cls
        assert balancers.get(name) is not balancers.get(name)

    def test_by_instance(self, cls):
        balancer = cls()
        assert balancers.get(balancer) is balancer

    def test_by_config(self, cls):
        found = balancers.get(keras.saving.serialize_keras_object(cls(name="mine")))
        assert (type(found), found.name) == (cls, "mine")

    @pytest.mark.parametrize("name, near", [("PCGrad", "'pcgrad'"), ("uncertain", "'uncertainty'"), ("zzz", None)])
    def test_an_unknown_name_lists_the_known_ones(self, name, near):
        with pytest.raises(ValueError) as caught:
            balancers.get(name)
        hint = f" Did you mean {near}?" if near else ""
        known = ", ".join(sorted(balancers.names()))
        assert str(caught.value) == f"Unknown balancer: {name!r}.{hint} The known ones are: {known}."

    @pytest.mark.parametrize("identifier", [None, 3, balancers.Equal, {}, keras.layers.Dense(1)], ids=str)
    def test_what_is_no_balancer_is_refused(self, identifier):
        with pytest.raises(ValueError, match="A balancer should be a name .* instance of `Balancer`"):
            balancers.get(identifier)

    def test_names_are_sorted_and_every_class_is_public(self):
        assert balancers.names() == sorted(balancers.classes())
        assert {"equal", "fixed", "uncertainty", "sum", "mean", "pcgrad"} <= set(balancers.names())
        assert {cls.__name__ for cls in balancers.classes().values()} <= set(balancers.__all__)

    @pytest.mark.parametrize("base", [balancers.Balancer, balancers.LossBalancer, balancers.GramianBalancer])
    def test_each_is_a_layer_of_one_kind(self, base):
        assert names_of(base)
        assert not set(names_of(balancers.LossBalancer)) & set(names_of(balancers.GramianBalancer))
        assert all(issubclass(cls, keras.layers.Layer) for cls in balancers.classes().values())


class TestGetPair:
    @pytest.mark.parametrize("identifier", ["uncertainty", ["uncertainty"], balancers.Uncertainty()], ids=str)
    def test_a_loss_balancer_stands_alone(self, identifier):
        loss_balancer, gradient_balancer = balancers.get_pair(identifier)
        assert type(loss_balancer) is balancers.Uncertainty
        assert gradient_balancer is None

    @pytest.mark.parametrize("identifier", ["pcgrad", ("pcgrad",), balancers.PCGrad()], ids=str)
    def test_a_gradient_balancer_stands_on_equal_losses(self, identifier):
        assert [type(balancer) for balancer in balancers.get_pair(identifier)] == [balancers.Equal, balancers.PCGrad]

    def test_a_list_has_one_of_each(self):
        given = [balancers.Fixed(), keras.saving.serialize_keras_object(balancers.PCGrad(seed=3))]
        loss_balancer, gradient_balancer = balancers.get_pair(given)
        assert loss_balancer is given[0]
        assert gradient_balancer.seed == 3

    @pytest.mark.parametrize(
        "identifier",
        [[], ["pcgrad", "equal"], ["equal", "fixed"], ["sum", "pcgrad"], ["equal", "sum", "mean"]],
        ids=str,
    )
    def test_other_lists_are_refused(self, identifier):
        with pytest.raises(ValueError, match="a list of a loss balancer followed by a gradient balancer. Received: "):
            balancers.get_pair(identifier)

    def test_an_unknown_name_lists_the_known_ones(self):
        with pytest.raises(ValueError, match="Unknown balancer: 'pcgrat'. Did you mean 'pcgrad'"):
            balancers.get_pair(["equal", "pcgrat"])


class TestConfig:
    def arguments(self, cls):
        (name,) = [name for name, found in balancers.classes().items() if found is cls]
        return {"name": "mine", "trainable": False, "dtype": "float64", **ARGUMENTS.get(name, {})}

    def test_has_the_arguments_of_init(self, cls):
        arguments = self.arguments(cls)
        config = cls(**arguments).get_config()
        assert {name: config[name] for name in arguments if name != "dtype"} == {
            name: value for name, value in arguments.items() if name != "dtype"
        }
        own = set(inspect.signature(cls.__init__).parameters) - {"self", "kwargs", "dtype"}
        assert own <= set(config)
        assert own <= set(arguments), "a row in `ARGUMENTS` is missing"

    def test_round_trip(self, cls):
        balancer = cls(**self.arguments(cls))
        config = keras.saving.serialize_keras_object(balancer)
        assert config["registered_name"] == f"keras_mtl>{cls.__name__}"
        for found in (
            keras.saving.deserialize_keras_object(json.loads(json.dumps(config))),
            cls.from_config(balancer.get_config()),
        ):
            assert type(found) is cls
            assert found.get_config() == balancer.get_config()
            assert (found.compute_dtype, found.trainable) == ("float64", False)

    def test_round_trip_with_nothing_given(self, cls):
        balancer = cls()
        found = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(balancer))
        assert found.get_config() == balancer.get_config()

    def test_computes_in_float32_whatever_the_policy(self, cls):
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_float16")
        try:
            balancer = cls()
        finally:
            keras.config.set_dtype_policy(before)
        assert (balancer.compute_dtype, balancer.variable_dtype) == ("float32", "float32")


class TestState:
    def test_build_again_changes_nothing(self, cls):
        balancer = cls()
        balancer.build((3,))
        balancer.build((3,))
        once = cls()
        once.build((3,))
        assert [weight.shape for weight in balancer.weights] == [weight.shape for weight in once.weights]

    def test_bind_builds_and_to_bind_again_keeps_the_state(self, cls):
        balancer = cls()
        balancer.bind(NAMES, [1.0, 1.0, 1.0], LOSSES)
        assert balancer.built
        for weight in balancer.trainable_weights:
            weight.assign(weight + 0.5)
        before, state = [id(weight) for weight in balancer.weights], balancer.get_weights()
        balancer.bind(NAMES, [1.0, 2.0, 3.0], LOSSES)
        assert [id(weight) for weight in balancer.weights] == before
        for received, expected in zip(balancer.get_weights(), state, strict=True):
            np.testing.assert_array_equal(received, expected)

    @pytest.mark.parametrize("by", ["weights", "file"])
    def test_state_is_handed_on(self, cls, by):
        first, second = cls(), cls()
        for balancer in (first, second):
            balancer.bind(NAMES, [1.0, 1.0, 1.0], LOSSES)
        for weight in first.trainable_weights:
            weight.assign(weight + 0.5)
        argument = np.array([[4.0, -1, -3], [-1, 1, -2], [-3, -2, 9]], "float32")
        argument = argument if issubclass(cls, balancers.GramianBalancer) else argument[0] ** 2
        active = np.array([True, True, True])
        first(argument, active)
        if by == "file":
            store = {}
            first.save_own_variables(store)
            second.load_own_variables({key: np.array(value) for key, value in store.items()})
        else:
            for variable, value in zip(second.variables, first.variables, strict=True):
                variable.assign(value)
        for _ in range(5):
            np.testing.assert_array_equal(second(argument, active), first(argument, active))


class TestLossBalancers:
    def bound(self, balancer, task_weights=(1.0, 1.0, 1.0)):
        balancer.bind(NAMES, task_weights, LOSSES)
        return balancer

    def call(self, balancer, losses, active=(True, True, True)):
        return np.asarray(balancer(np.asarray(losses, balancer.compute_dtype), np.asarray(active)))

    @pytest.mark.parametrize("losses", [[1, 2, 3], [0, 0, 0], [0, 1e-15, 1e15], [-1, 0.5, 1e-38]], ids=str)
    def test_weights_are_finite_and_one_for_each_task(self, loss_balancer, losses):
        found = self.call(self.bound(loss_balancer), losses)
        assert (found.shape, found.dtype) == ((3,), np.float32)
        assert np.all(np.isfinite(found))
        assert np.all(found > 0)

    @pytest.mark.parametrize("active", [[True, False, True], [False, False, True], [False, False, False]], ids=str)
    def test_a_task_that_is_not_active_weighs_nothing_and_the_rest_what_they_did(self, loss_balancer, active):
        balancer = self.bound(loss_balancer, (1.0, 2.0, 3.0))
        everything = self.call(balancer, [1, 2, 3])
        np.testing.assert_array_equal(self.call(balancer, [1, 2, 3], active), everything * active)

    def test_the_tasks_weights_are_the_preference(self, loss_balancer):
        np.testing.assert_array_equal(loss_balancer.preference(3), [1, 1, 1])
        plain = self.call(self.bound(loss_balancer), [1, 2, 3])
        for task_weights in ([0.5, 2.0, 0.0], [3.0, 0.25, 1.0]):
            self.bound(loss_balancer, task_weights)
            np.testing.assert_array_equal(loss_balancer.preference(3), task_weights)
            np.testing.assert_allclose(self.call(loss_balancer, [1, 2, 3]), plain * task_weights, rtol=1e-6)

    def test_the_preference_does_not_follow_what_is_learnt(self, loss_balancer):
        balancer = self.bound(loss_balancer, [0.5, 2.0, 1.0])
        for weight in balancer.trainable_weights:
            weight.assign(weight + 0.7)
        np.testing.assert_array_equal(balancer.preference(3), [0.5, 2.0, 1.0])

    @pytest.mark.parametrize("active", [[True, True, True], [False, True, False], [False, False, False]], ids=str)
    def test_regularization_is_a_finite_number(self, loss_balancer, active):
        value = np.asarray(self.bound(loss_balancer).regularization(np.asarray(active)))
        assert (value.shape, value.dtype) == ((), np.float32)
        assert np.isfinite(value)

    def test_regularization_is_zero_where_no_task_is_active(self, loss_balancer):
        balancer = self.bound(loss_balancer)
        for weight in balancer.trainable_weights:
            weight.assign(weight + 0.7)
        assert float(balancer.regularization(np.array([False, False, False]))) == 0

    def test_in_a_graph_as_in_eager_mode(self, loss_balancer):
        balancer = self.bound(loss_balancer, (1.0, 2.0, 3.0))
        losses, active = tf.constant([1.0, 2.0, 3.0]), tf.constant([True, False, True])
        for compiled in (False, True):
            found = tf.function(balancer, jit_compile=compiled)(losses, active)
            np.testing.assert_allclose(found, balancer(losses, active), rtol=1e-6)

    def test_in_float64(self, loss_balancer):
        found = type(loss_balancer)(dtype="float64")(np.ones(3), np.ones(3, bool))
        assert np.asarray(found).dtype == np.float64


class TestGramianBalancers:
    def test_is_finite(self, make):
        for jacobian in [scale * case for scale in (1.0, 1e15, 1e-30) for case in JACOBIANS.values()]:
            found = direction(make(), jacobian)
            assert (found.shape, found.dtype) == (jacobian.shape[1:], np.float32)
            assert np.all(np.isfinite(found))

    @pytest.mark.parametrize(
        "jacobian",
        [
            JACOBIANS["two that agree"],
            JACOBIANS["two in conflict"],
            JACOBIANS["two badly scaled"],
            JACOBIANS["opposite and unequal"],
            np.random.default_rng(1).normal(size=(2, 5)),
            np.random.default_rng(2).uniform(size=(5, 6)),
            np.kron(np.eye(2), [[1.0, 0.0], [-0.8, 0.6]]),
            np.kron(np.diag([1.0, 3.0, 10.0]), [[1.0, 0.0], [-2.0, 1.0]]),
        ],
        ids=["agree", "conflict", "scales", "opposite", "random", "five agree", "two pairs", "three pairs"],
    )
    def test_permutes_with_the_tasks(self, make, jacobian):
        """Cases without a conflict, or where no task conflicts with two: no order of projections matters there."""
        assert_permutes_with_the_tasks(make, jacobian)

    def test_a_task_that_is_not_active_weighs_nothing(self, make):
        for jacobian in JACOBIANS.values():
            for absent in range(len(jacobian)):
                active = np.arange(len(jacobian)) != absent
                for gradients in (jacobian, np.where(active[:, None], jacobian, 0.0)):
                    found = weights(make(), gradients, active)
                    assert found[absent] == 0
                    assert np.all(np.isfinite(found))

    @pytest.mark.parametrize("present", [[True, True, False], [False, True, True], [True, False, True]], ids=str)
    def test_the_gradient_of_a_task_that_is_not_active_has_no_influence(self, make, present):
        """Two tasks are balanced as if there were no third, whatever its gradient, in every order of projections."""
        jacobian, present = np.array([[1.0, 0.2, 0.0], [0.2, 1.0, 0.3], [-1.0, -2.0, 0.5]]), np.array(present)
        expected = direction(make(dtype="float64"), jacobian[present])
        for gradient in ([0.0, 0.0, 0.0], [-1.0, -2.0, 0.5], [100.0, -100.0, 3.0]):
            balancer, other = make(dtype="float64"), np.where(present[:, None], jacobian, gradient)
            for _ in range(8):
                np.testing.assert_allclose(direction(balancer, other, present), expected, rtol=1e-10, atol=1e-12)
                np.testing.assert_array_equal(weights(balancer, other, present)[~present], [0.0])

    def test_no_task_is_active(self, make):
        np.testing.assert_array_equal(weights(make(), np.zeros((3, 4)), [False] * 3), [0, 0, 0])
        np.testing.assert_array_equal(direction(make(), JACOBIANS["equal"], [False] * 4), [0, 0, 0])

    def test_one_task_alone_goes_its_own_way(self, make):
        np.testing.assert_allclose(direction(make(), [[1.0, -2.0]]), [1, -2], rtol=1e-6)
        jacobian = np.array([[0.0, 0.0], [1.0, -2.0], [0.0, 0.0]])
        np.testing.assert_allclose(direction(make(), jacobian, [False, True, False]), [1, -2], rtol=1e-6)

    def test_the_direction_is_the_weighted_sum_of_the_gradients(self, make):
        for jacobian in JACOBIANS.values():
            expected = weights(make(dtype="float64"), jacobian) @ jacobian
            np.testing.assert_allclose(direction(make(dtype="float64"), jacobian), expected, rtol=1e-10, atol=1e-12)

    @pytest.mark.parametrize("case", ["two in conflict", "two badly scaled", "five"])
    def test_float64_says_what_float32_says_but_finer(self, make, case):
        narrow, wide = direction(make(), JACOBIANS[case]), direction(make(dtype="float64"), JACOBIANS[case])
        assert (narrow.dtype, wide.dtype) == (np.float32, np.float64)
        assert 0 < scaled_error(narrow, wide) < 1e-5

    def test_active_may_be_left_out_or_be_a_list(self, make):
        jacobian = [[1.0, 0.0], [-0.8, 0.6]]
        everything = np.asarray(make().direction(jacobian))
        np.testing.assert_array_equal(make().direction(jacobian, np.array([True, True])), everything)
        np.testing.assert_array_equal(make().direction(jacobian, [True, True]), everything)

    @pytest.mark.parametrize("compiled", [False, True], ids=["graph", "xla"])
    def test_in_a_graph_as_in_eager_mode(self, make, compiled):
        jacobian = tf.constant([[1.0, 0.0, 2.0], [-0.8, 0.6, -3.0]])
        found = tf.function(make().direction, jit_compile=compiled)(jacobian)
        np.testing.assert_allclose(found, make().direction(jacobian), rtol=1e-5)
