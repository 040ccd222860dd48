"""Krum, against its definition written out on gradient vectors."""

import functools

import numpy as np
import pytest

from keras_mtl.balancers import Krum
from tests.unit.balancers._properties import (
    JACOBIANS,
    assert_permutes_with_the_tasks,
    assert_rotates_with_the_gradients,
    assert_scales_with_the_gradients,
    direction,
    weights,
)
from tests.unit.balancers.gradient import _shared

NAMES = [f"task_{index}" for index in range(7)]


def reference(gradients, num_faulty, num_selected):
    """The mean of the gradients of least score, the sum of squared distances to the nearest."""
    size = len(gradients)
    scores = []
    for i in range(size):
        distances = sorted(np.sum((gradients[i] - gradients[j]) ** 2) for j in range(size) if j != i)
        scores.append(sum(distances[: size - num_faulty - 2]))
    return gradients[np.argsort(scores, kind="stable")[:num_selected]].mean(axis=0)


@pytest.mark.parametrize("num_faulty, num_selected", [(0, 1), (1, 1), (2, 1), (0, 3), (1, 4), (2, 7)])
def test_is_the_definition(num_faulty, num_selected):
    rng, balancer = np.random.default_rng(0), Krum(num_faulty, num_selected, dtype="float64")
    for _ in range(10):
        gradients = rng.normal(size=(7, 4)) * rng.lognormal(size=(7, 1))
        expected = reference(gradients, num_faulty, num_selected)
        np.testing.assert_allclose(direction(balancer, gradients), expected, atol=1e-12)


def test_distances_are_squared():
    """The first task's are 3 and 3, the fourth's 1 and 4.5: less in all, if squared, and more, if not."""
    gradients = np.array([[0.0], [3.0], [-3.0], [100.0], [101.0], [95.5]])
    np.testing.assert_array_equal(weights(Krum(2), gradients), [1, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(weights(Krum(2), gradients[::-1]), [0, 0, 0, 0, 0, 1])


def test_a_wrong_gradient_has_no_influence():
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(7, 4)) + 3.0
    for wrong in (1e3, -1e6, 1e12):
        outliers = gradients.copy()
        outliers[[1, 4]] = wrong
        found = weights(Krum(2, 3, dtype="float64"), outliers)
        assert found[1] == found[4] == 0
        assert found.sum() == pytest.approx(1)


def test_to_select_all_is_the_mean():
    for case in ("five", "five, badly scaled", "more tasks than parameters"):
        gradients = JACOBIANS[case]
        found = direction(Krum(num_selected=len(gradients), dtype="float64"), gradients)
        np.testing.assert_allclose(found, gradients.mean(axis=0), rtol=1e-12)


def test_of_equal_scores_the_first_is_chosen():
    np.testing.assert_array_equal(weights(Krum(), np.ones((4, 2))), [1, 0, 0, 0])
    np.testing.assert_array_equal(weights(Krum(num_selected=2), np.zeros((4, 2))), [0.5, 0.5, 0, 0])


def test_tasks_that_are_not_active_are_left_out():
    rng, active = np.random.default_rng(1), np.array([True, False, True, True, False, True, True])
    gradients = rng.normal(size=(7, 3))
    for num_faulty, num_selected in ((0, 1), (1, 2), (2, 6)):
        found = direction(Krum(num_faulty, num_selected, dtype="float64"), gradients, active)
        np.testing.assert_allclose(found, reference(gradients[active], num_faulty, num_selected), atol=1e-12)


def test_where_too_few_are_active_it_is_their_mean():
    gradients = np.random.default_rng(1).normal(size=(7, 3))
    for count in (1, 2, 3, 4):
        active = np.arange(7) < count
        found = direction(Krum(2, dtype="float64"), gradients, active)
        np.testing.assert_allclose(found, gradients[:count].mean(axis=0), rtol=1e-12)


@pytest.mark.parametrize(
    "check", [assert_permutes_with_the_tasks, assert_rotates_with_the_gradients, assert_scales_with_the_gradients]
)
def test_properties(check):
    for num_selected in (1, 3):
        check(functools.partial(Krum, 1, num_selected), JACOBIANS["five"])


@pytest.mark.parametrize(
    "check",
    [
        _shared.assert_finite_and_still_without_tasks,
        _shared.assert_absent_gradient_has_no_influence,
        _shared.assert_compiles,
    ],
)
def test_keeps_to_the_contract(check):
    check(functools.partial(Krum, 1, 2))


def test_config():
    _shared.assert_round_trip(Krum(1, 2, update_every=3), num_faulty=1, num_selected=2, min_tasks=5)


@pytest.mark.parametrize(
    "arguments, needed", [({}, 3), ({"num_faulty": 1}, 5), ({"num_faulty": 2}, 7), ({"num_selected": 6}, 6)]
)
def test_it_needs_enough_tasks(arguments, needed):
    with pytest.raises(ValueError, match=f"`Krum` needs at least {needed} tasks. Received: {needed - 1}"):
        Krum(**arguments).bind(NAMES[: needed - 1], [1.0] * (needed - 1), [None] * (needed - 1))
    Krum(**arguments).bind(NAMES[:needed], [1.0] * needed, [None] * needed)


@pytest.mark.parametrize("name, value", [("num_faulty", -1), ("num_faulty", 0.5), ("num_selected", 0)])
def test_arguments_are_checked(name, value):
    with pytest.raises(ValueError, match=f"Parameter `{name}` should be an integer .* Received: {name}={value}"):
        Krum(**{name: value})


@pytest.mark.parametrize("size", [1e3, 1e14, 1e18])
def test_small_gradients_are_told_apart_beside_a_huge_one(size):
    gradients = np.array([[5e-3, 5e-3], [1e-3, 0.0], [1e-3, 1e-4], [1e-3, -1e-4], [size, 0.0]])
    np.testing.assert_allclose(direction(Krum(1), gradients), [1e-3, 0.0], rtol=1e-6)
