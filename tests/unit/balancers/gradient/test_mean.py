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


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-6), ("float64", 1e-12)])
def test_direction(dtype, tolerance):
    for jacobian in JACOBIANS.values():
        expected = np.add.reduce(jacobian) / len(jacobian)
        received = direction(Mean(dtype=dtype), jacobian)
        np.testing.assert_allclose(received, expected, rtol=tolerance, atol=tolerance * np.max(np.abs(jacobian)))


def test_the_mean_is_that_of_the_active_tasks():
    np.testing.assert_array_equal(weights(Mean(), np.eye(3), [True, False, True]), [0.5, 0, 0.5])
    np.testing.assert_array_equal(weights(Mean(), np.eye(3), [False, True, False]), [0, 1, 0])
    np.testing.assert_array_equal(weights(Mean(), np.eye(3), [False, False, False]), [0, 0, 0])


@pytest.mark.parametrize(
    "check", [assert_permutes_with_the_tasks, assert_scales_with_the_gradients, assert_rotates_with_the_gradients]
)
def test_properties(check):
    for case in ("five", "five, badly scaled", "more tasks than parameters"):
        check(Mean, JACOBIANS[case])


@pytest.mark.data
def test_matches_reference(pytestconfig):
    assert_matches_reference(Mean, "mean", pytestconfig.rootpath)
