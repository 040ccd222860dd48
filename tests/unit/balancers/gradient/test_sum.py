"""The sum of the gradients."""

import numpy as np
import pytest

from keras_mtl.balancers import Sum
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
        expected = np.add.reduce(jacobian)
        received = direction(Sum(dtype=dtype), jacobian)
        np.testing.assert_allclose(received, expected, rtol=tolerance, atol=tolerance * np.max(np.abs(jacobian)))


def test_weights_are_ones_for_active_tasks():
    np.testing.assert_array_equal(weights(Sum(), np.eye(3), [True, False, True]), [1, 0, 1])


@pytest.mark.parametrize(
    "check", [assert_permutes_with_the_tasks, assert_scales_with_the_gradients, assert_rotates_with_the_gradients]
)
def test_properties(check):
    for case in ("five", "five, badly scaled", "more tasks than parameters"):
        check(Sum, JACOBIANS[case])


@pytest.mark.data
def test_matches_reference(pytestconfig):
    assert_matches_reference(Sum, "sum", pytestconfig.rootpath)
