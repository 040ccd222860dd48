"""SDMGrad, against a general solver and the condition of a minimum on gradient vectors."""

import numpy as np
import pytest
import scipy.optimize

from keras_mtl.balancers import MGDA, SDMGrad
from tests.unit.balancers._properties import (
    JACOBIANS,
    assert_permutes_with_the_tasks,
    assert_rotates_with_the_gradients,
    assert_scales_with_the_gradients,
    direction,
)
from tests.unit.balancers.gradient import _shared


def bound(task_weights, **arguments):
    """A balancer that was told the weights of the tasks."""
    balancer = SDMGrad(dtype="float64", **arguments)
    names = [f"task_{index}" for index in range(len(task_weights))]
    balancer.bind(names, task_weights, [None] * len(names))
    return balancer


def least_norm(gradients, task_weights, strength):
    """By a general solver on the gradients."""
    mean, size = np.array(task_weights) @ gradients / sum(task_weights), len(gradients)
    scale = np.linalg.norm(mean)
    solution = scipy.optimize.minimize(
        lambda w: np.sum((w @ gradients + strength * mean) ** 2) / scale**2,
        np.full(size, 1 / size),
        bounds=[(0, 1)] * size,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    return solution.x @ gradients + strength * mean


@pytest.mark.parametrize("strength", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("task_weights", [[1.0] * 5, [2.0, 1.0, 0.0, 0.0, 1.0]])
def test_is_the_direction_of_least_norm(task_weights, strength):
    for gradients in (JACOBIANS["five"], JACOBIANS["five"] * np.array([[1.0], [0.2], [3.0], [1.0], [0.5]])):
        expected = least_norm(gradients, task_weights, strength)
        found = direction(bound(task_weights, direction_strength=strength), gradients)
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("num_tasks", [3, 10, 40])
def test_no_task_gains_less_than_the_squared_norm_of_the_direction(num_tasks):
    """The condition of the minimum, for uneven lengths and at once: a gradient with `strength * g0` added to it."""
    for dtype, tolerance in (("float64", 1e-9), ("float32", 1e-4)):
        rng = np.random.default_rng(num_tasks)
        gradients = rng.normal(size=(num_tasks, 300)) + 0.3 * rng.normal(size=300)
        gradients *= np.exp(rng.normal(size=(num_tasks, 1)))
        mean = gradients.mean(axis=0)
        found = direction(SDMGrad(0.3, dtype=dtype), gradients).astype("float64")
        assert np.min((gradients + 0.3 * mean) @ found) > (1 - tolerance) * (found @ found)


def test_without_strength_it_is_mgda_and_with_much_the_mean():
    gradients = JACOBIANS["five"]
    np.testing.assert_allclose(
        direction(SDMGrad(0.0, dtype="float64"), gradients), direction(MGDA(dtype="float64"), gradients), rtol=1e-10
    )
    much = direction(SDMGrad(1e6, dtype="float64"), gradients) / 1e6
    np.testing.assert_allclose(much, gradients.mean(axis=0), atol=1e-5)


def test_is_zero_where_gradients_outdo_each_other():
    """Some mean of the gradients is `-direction_strength * g0`."""
    for dtype, tolerance in (("float64", 1e-9), ("float32", 1e-3)):
        found = direction(SDMGrad(dtype=dtype), JACOBIANS["more tasks than parameters"])
        np.testing.assert_allclose(found, [0, 0], atol=tolerance)


def test_preferences_count_by_their_ratio_among_the_active():
    gradients, active = JACOBIANS["five"], np.array([True, True, False, True, True])
    first = bound([1.0, 3.0, 50.0, 0.5, 0.0])
    second = bound([4.0, 12.0, 1.0, 2.0, 0.0])
    np.testing.assert_allclose(direction(first, gradients, active), direction(second, gradients, active), rtol=1e-12)
    assert np.max(np.abs(direction(bound([1.0] * 5), gradients) - direction(bound([1, 9, 1, 1, 1]), gradients))) > 1e-3
    assert SDMGrad.takes_preference


def test_one_task_alone():
    """Its own gradient, and the mean, which is the same, on top."""
    np.testing.assert_allclose(direction(SDMGrad(0.5), [[1.0, -2.0]]), [1.5, -3.0], rtol=1e-6)


@pytest.mark.parametrize(
    "check", [assert_permutes_with_the_tasks, assert_rotates_with_the_gradients, assert_scales_with_the_gradients]
)
@pytest.mark.parametrize("case", ["two in conflict", "five", "five, badly scaled"])
def test_properties(check, case):
    check(SDMGrad, JACOBIANS[case])


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
    check(SDMGrad)


def test_config():
    _shared.assert_round_trip(SDMGrad(direction_strength=0.5, update_every=2), direction_strength=0.5)


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="Parameter `direction_strength` should be .*Received: direction_strength=-1"):
        SDMGrad(direction_strength=-1.0)
