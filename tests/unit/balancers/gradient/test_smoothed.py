"""Averages of another balancer's weights over time."""

import functools

import keras
import numpy as np
import pytest

from keras_mtl.balancers import DBMTL, Krum, MoCo, MoDo, PCGrad, Random, SDMGrad, Smoothed, Sum, TrimmedMean
from tests.unit.balancers._properties import (
    JACOBIANS,
    assert_permutes_with_the_tasks,
    assert_rotates_with_the_gradients,
    assert_scales_with_the_gradients,
    direction,
    weights,
)
from tests.unit.balancers.gradient import _shared


def test_is_the_average_over_many_steps():
    """With a task that is absent now and then: its average stays, and begins with its own first weight."""
    rng = np.random.default_rng(0)
    balancer, inner = Smoothed("pcgrad", 0.7, dtype="float64"), PCGrad(dtype="float64")
    average, seen = np.zeros(2), np.zeros(2, bool)
    for active in ([1, 0], [0, 0], [1, 1], [1, 1], [0, 1], [1, 1]):
        active, gradients = np.array(active, bool), rng.normal(size=(2, 3)) + [[1.0], [-1.0]]
        gradients *= active[:, None]
        found = np.asarray(inner.weigh(gradients @ gradients.T, active))
        average = np.where(active, np.where(seen, 0.7 * average + 0.3 * found, found), average)
        seen |= active
        np.testing.assert_allclose(direction(balancer, gradients, active), (average * active) @ gradients, atol=1e-12)
        np.testing.assert_allclose(balancer.averages, average, atol=1e-12)


def test_without_momentum_it_is_the_balancer_within():
    for name, inner in (("pcgrad", PCGrad), ("modo", MoDo), ("sdmgrad", SDMGrad)):
        found, expected = Smoothed(name, 0.0, dtype="float64"), inner(dtype="float64")
        for case in ("two in conflict", "opposite and unequal", "one of two is zero"):
            np.testing.assert_array_equal(direction(found, JACOBIANS[case]), direction(expected, JACOBIANS[case]))


def test_mgda_is_the_default():
    gradients = np.array([[1.0, 0.0], [0.0, 2.0]])
    balancer = Smoothed(dtype="float64")
    np.testing.assert_allclose(direction(balancer, gradients), [0.8, 0.4], atol=1e-6)
    _shared.assert_round_trip(balancer)


def test_it_is_steadier_than_the_balancer_within():
    plain, smoothed = Random(seed=0), Smoothed(Random(seed=0), 0.95)
    found = np.array([[weights(balancer, np.eye(3)) for balancer in (plain, smoothed)] for _ in range(150)])[30:]
    assert np.all(found[:, 1].std(axis=0) < 0.35 * found[:, 0].std(axis=0))
    np.testing.assert_allclose(found.sum(axis=2), 1, rtol=1e-5)


def test_the_balancer_within_gets_the_dtype_and_the_gradients():
    balancer = Smoothed("pcgrad", gradients="features", dtype="float64")
    assert (balancer.balancer.compute_dtype, balancer.balancer.gradients) == ("float64", "features")
    assert Smoothed(PCGrad(gradients="features")).gradients == "features"
    assert Smoothed("pcgrad").gradients == "shared"
    _shared.assert_round_trip(balancer, gradients="features", momentum=0.9)
    with pytest.raises(
        ValueError, match="`gradients` should be what .* says, 'features'. Received: gradients='shared'"
    ):
        Smoothed(PCGrad(gradients="features"), gradients="shared")


def test_what_is_said_of_the_balancer_within_is_said_of_it():
    assert (Smoothed("sdmgrad").takes_preference, Smoothed("pcgrad").takes_preference) == (True, False)
    balancer = Smoothed(SDMGrad())
    balancer.bind(["a", "b"], [1.0, 3.0], [None, None])
    np.testing.assert_array_equal(balancer.balancer.preference(2), [1, 3])
    np.testing.assert_array_equal(balancer.preference(2), [1, 3])
    with pytest.raises(ValueError, match="`Krum` needs at least 5 tasks. Received: 2"):
        Smoothed(Krum(num_faulty=1)).bind(["a", "b"], [1.0, 1.0], [None, None])


def test_it_is_claimed_with_the_balancer_within():
    models, inner = [keras.Sequential([keras.layers.Dense(1)], name=name) for name in ("one", "two")], PCGrad()
    Smoothed(inner).claim(models[0])
    with pytest.raises(ValueError, match="belongs to the model 'one' already"):
        Smoothed(inner).claim(models[1])


def test_the_state_within_is_saved_once():
    balancer = Smoothed(MoDo(), update_every=2)
    balancer.build((3,))
    assert {variable.name for variable in balancer._own_variables()} == {
        "averages",
        "has_average",
        "age",
        "known_weights",
        "last_weights",
    }
    assert [variable.name for variable in balancer.balancer._own_variables()] == ["task_weights"]


def test_a_file_brings_back_both_states(tmp_path):
    def model():
        inputs = keras.Input((2,))
        model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
        model.balancer = Smoothed(MoDo(0.05), 0.5)
        model.balancer.build((5,))
        return model

    first, second = model(), model()
    for _ in range(3):
        direction(first.balancer, JACOBIANS["five"])
    first.save_weights(tmp_path / "model.weights.h5")
    second.load_weights(tmp_path / "model.weights.h5")
    for _ in range(2):
        np.testing.assert_array_equal(
            direction(first.balancer, JACOBIANS["five"]), direction(second.balancer, JACOBIANS["five"])
        )
    assert np.ptp(second.balancer.balancer.task_weights) > 0.01


@pytest.mark.parametrize(
    "check", [assert_permutes_with_the_tasks, assert_rotates_with_the_gradients, assert_scales_with_the_gradients]
)
def test_properties(check):
    check(functools.partial(Smoothed, "sdmgrad"), JACOBIANS["five"])


@pytest.mark.parametrize(
    "check",
    [
        _shared.assert_finite_and_still_without_tasks,
        _shared.assert_absent_gradient_has_no_influence,
        _shared.assert_state_is_handed_on,
        _shared.assert_compiles,
    ],
)
def test_keeps_to_the_contract(check):
    check(functools.partial(Smoothed, "sum", 0.5))


@pytest.mark.parametrize("inner", [PCGrad(seed=3), MoDo(0.5), Smoothed(Sum(), 0.2)], ids=lambda inner: inner.name)
def test_config(inner):
    balancer = Smoothed(inner, 0.5, update_every=3)
    _shared.assert_round_trip(balancer, momentum=0.5, update_every=3)
    found = Smoothed.from_config(balancer.get_config()).balancer
    assert found.get_config() == inner.get_config()


@pytest.mark.parametrize(
    "inner, reason",
    [
        ("uncertainty", "`Uncertainty`, which does not weigh gradients by their Gramian"),
        (TrimmedMean(), "`TrimmedMean`, which does not weigh gradients by their Gramian"),
        ("moco", "`MoCo`, which averages the gradients themselves"),
        (DBMTL(), "`DBMTL`, which averages the gradients themselves"),
        (MoCo(), "`MoCo`, which averages the gradients themselves"),
        (PCGrad(update_every=4), "`PCGrad` with update_every=4. Give `update_every` to `Smoothed`"),
    ],
    ids=str,
)
def test_other_balancers_are_refused(inner, reason):
    with pytest.raises(ValueError, match=f"Parameter `balancer` should be .* Received: {reason}"):
        Smoothed(inner)


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="Unknown balancer: 'pcgrat'"):
        Smoothed("pcgrat")


@pytest.mark.parametrize("momentum", [1.0, -0.1])
def test_momentum_is_checked(momentum):
    with pytest.raises(ValueError, match="Parameter `momentum` should be a finite number of at least 0 and below 1"):
        Smoothed("sum", momentum)


def test_another_dtype_within_is_refused():
    with pytest.raises(ValueError, match="what the balancer within says, 'float32'. Received: dtype='float64'"):
        Smoothed(PCGrad(), dtype="float64")
    Smoothed(PCGrad(dtype="float64"), dtype="float64")


def test_a_config_is_for_any_number_of_tasks():
    used = Smoothed("pcgrad")
    used.direction(np.eye(3))
    fresh = Smoothed.from_config(used.get_config())
    assert not fresh.built
    assert fresh.direction(np.eye(2)).shape == (2,)
