"""Dual balancing, against its formulas written out on gradient vectors."""

import numpy as np
import pytest

from keras_mtl.balancers import DBMTL
from tests.unit.balancers._properties import JACOBIANS, assert_permutes_with_the_tasks, direction, weights
from tests.unit.balancers.gradient import _shared


def test_is_the_algorithm_over_many_steps():
    """With a task that is absent now and then, and a step without any task, which is not counted."""
    rng = np.random.default_rng(0)
    averages, step, balancer = np.zeros((3, 4)), 0, DBMTL(0.8, 0.3, dtype="float64")
    for active in ([1, 1, 1], [1, 1, 0], [0, 0, 0], [0, 1, 1], [1, 0, 0], [1, 1, 1]):
        active, gradients = np.array(active, bool), rng.normal(size=(3, 4)) * [[1e-3], [1.0], [50.0]]
        found = direction(balancer, gradients, active)
        if not active.any():
            np.testing.assert_array_equal(found, np.zeros(4))
            continue
        step += 1
        share = 0.8 / step**0.3
        averages[active] = share * averages[active] + (1 - share) * gradients[active]
        norms = np.linalg.norm(averages[active], axis=1)
        expected = sum(average / norm for average, norm in zip(averages[active], norms, strict=True)) * np.max(norms)
        np.testing.assert_allclose(found, expected, rtol=1e-10)
        np.testing.assert_allclose(balancer.averages, averages, rtol=1e-12)
    assert int(balancer.num_steps) == 5


def test_weights_by_hand():
    np.testing.assert_allclose(weights(DBMTL(), np.array([[3.0, 4.0], [0.0, 0.5], [0.0, 0.0]])), [1, 10, 0])
    np.testing.assert_allclose(weights(DBMTL(), np.diag([2.0, 0.0]), [True, False]), [1, 0])


def test_all_gradients_become_as_long_as_the_longest():
    gradients = JACOBIANS["five, badly scaled"]
    balanced = weights(DBMTL(dtype="float64"), gradients)[:, None] * gradients
    np.testing.assert_allclose(np.linalg.norm(balanced, axis=1), np.max(np.linalg.norm(gradients, axis=1)), rtol=1e-12)


def test_the_tasks_weights_multiply_gradients_of_one_length():
    gradients, task_weights = JACOBIANS["five, badly scaled"], [1.0, 0.1, 0.0, 2.0, 1.0]
    balancer = DBMTL(dtype="float64")
    balancer.bind(list("abcde"), task_weights, [None] * 5, gradients.shape[1])
    balanced = weights(balancer, gradients)[:, None] * gradients
    expected = np.array(task_weights) * np.max(np.linalg.norm(gradients, axis=1))
    np.testing.assert_allclose(np.linalg.norm(balanced, axis=1), expected, rtol=1e-12)


def test_the_scale_of_one_task_that_is_not_the_longest_does_not_matter():
    gradients = JACOBIANS["five"]
    smallest = np.argmin(np.linalg.norm(gradients, axis=1))
    scaled = gradients.copy()
    scaled[smallest] *= 1e-3
    for beta in (0.0, 0.9):
        first, second = DBMTL(beta, dtype="float64"), DBMTL(beta, dtype="float64")
        for _ in range(3):
            np.testing.assert_allclose(direction(first, gradients), direction(second, scaled), rtol=1e-9)


def test_it_stands_on_the_logarithms_of_the_losses_and_on_features():
    assert (DBMTL.default_losses, DBMTL().gradients) == ("scale_invariant", "features")
    assert DBMTL(gradients="shared").gradients == "shared"
    assert (DBMTL.needs_jacobian, DBMTL.keeps_gradients) == (True, True)


def test_permutes_with_the_tasks():
    assert_permutes_with_the_tasks(DBMTL, JACOBIANS["five"])


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
    check(DBMTL)


def test_config():
    _shared.assert_round_trip(DBMTL(0.5, 0.0, gradients="shared"), beta=0.5, decay=0.0, gradients="shared")
    assert "update_every" not in DBMTL().get_config()


@pytest.mark.parametrize("name, value", [("beta", 1.0), ("beta", -0.1), ("decay", -0.5), ("update_every", 2)])
def test_arguments_are_checked(name, value):
    with pytest.raises(ValueError, match=f"`{name}`.*Received: {name}={value}"):
        DBMTL(**{name: value})
