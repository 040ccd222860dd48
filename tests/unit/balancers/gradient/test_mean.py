"""The mean of the gradients."""

import numpy as np
import pytest

from keras_mtl.balancers import Mean
from tests.unit.balancers._properties import (
    JACOBIANS,
    assert_matches_reference,
    assert_permutes_with_the_tasks,
    assert_rotates_with_the_gradients,
    assert_scales_with_the_gradients,
    direction,
    weights,
)


@pytest.mark.parametrize("case", JACOBIANS)
def test_means(case):
    expected = np.add.reduce(JACOBIANS[case]) / len(JACOBIANS[case])
    np.testing.assert_allclose(direction(Mean(dtype="float64"), JACOBIANS[case]), expected, rtol=1e-12, atol=1e-12)


def test_the_mean_is_that_of_the_active_tasks():
    np.testing.assert_array_equal(weights(Mean(), np.eye(3), [True, False, True]), [0.5, 0, 0.5])
    np.testing.assert_array_equal(weights(Mean(), np.eye(3), [False, True, False]), [0, 1, 0])
    np.testing.assert_array_equal(weights(Mean(), np.eye(3), [False, False, False]), [0, 0, 0])


@pytest.mark.parametrize("case", ["five", "five, badly scaled", "more tasks than parameters"])
@pytest.mark.parametrize(
    "check", [assert_permutes_with_the_tasks, assert_scales_with_the_gradients, assert_rotates_with_the_gradients]
)
def test_properties(check, case):
    check(Mean, JACOBIANS[case])


@pytest.mark.data
def test_matches_reference(pytestconfig):
    assert_matches_reference(Mean, "mean", pytestconfig.rootpath)
