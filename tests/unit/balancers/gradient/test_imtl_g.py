import numpy as np
import pytest

from keras_mtl.balancers import IMTLG
from tests.unit.balancers._properties import (
    JACOBIANS,
    assert_matches_reference,
    assert_permutes_with_the_tasks,
    assert_rotates_with_the_gradients,
    assert_scales_with_the_gradients,
    direction,
    scaled_error,
    weights,
)

INDEPENDENT = ["one task", "two that agree", "two in conflict", "two badly scaled", "five", "five, badly scaled"]


def closed_form(jacobian):
    """The paper's: the weights of all tasks but the first, from the differences of gradients and of unit vectors."""
    units = jacobian / np.linalg.norm(jacobian, axis=1, keepdims=True)
    differences, unit_differences = jacobian[0] - jacobian[1:], units[0] - units[1:]
    rest = jacobian[0] @ unit_differences.T @ np.linalg.inv(differences @ unit_differences.T)
    return np.concatenate([[1 - rest.sum()], rest])


class TestWeights:
    @pytest.mark.parametrize("num_tasks", [2, 3, 5, 8])
    def test_are_the_papers_closed_form(self, num_tasks):
        for seed in range(3):
            rng = np.random.default_rng(seed)
            jacobian = rng.normal(size=(num_tasks, 20)) * rng.uniform(0.3, 3, (num_tasks, 1))
            np.testing.assert_allclose(weights(IMTLG(dtype="float64"), jacobian), closed_form(jacobian), rtol=1e-8)

    @pytest.mark.parametrize(
        "jacobian, expected",
        [
            ([[3.0, 0.0], [0.0, 1.0]], [0.25, 0.75]),
            ([[1.0, 0.0], [-0.8, 0.6]], [0.5, 0.5]),
            ([[1.0, 0.0], [4.0, 0.0]], [0.8, 0.2]),
            ([[2.0, 0.0], [0.0, 0.0], [0.0, 2.0]], [0.5, 0.0, 0.5]),
            ([[1.0, 2.0], [-1.0, -2.0]], [0.0, 0.0]),
            ([[0.0, 0.0], [0.0, 0.0]], [0.0, 0.0]),
        ],
    )
    def test_by_hand(self, jacobian, expected):
        for dtype, tolerance in (("float32", 1e-6), ("float64", 1e-12)):
            np.testing.assert_allclose(weights(IMTLG(dtype=dtype), jacobian), expected, atol=tolerance)

    def test_may_be_negative(self):
        """The first lies between the others: to project as much on these takes a part of it away."""
        jacobian = np.array([[1.0, 0.0, 0.2], [1.0, 1.0, 0.0], [1.0, -1.0, 0.0]])
        found = weights(IMTLG(dtype="float64"), jacobian)
        np.testing.assert_allclose(found, closed_form(jacobian), rtol=1e-9)
        assert found.min() < 0

    def test_that_sum_to_zero_are_left_at_zero(self):
        """Two unit vectors with cosine 0.8 to a third between them: 3 of one length outweigh it exactly."""
        units = np.array([[1.0, 0.0, 0.1], [0.8, 0.6, 0.0], [0.8, -0.6, 0.0]])
        units /= np.linalg.norm(units, axis=1, keepdims=True)
        coefficients = np.linalg.solve(units @ units.T, np.ones(3))
        assert coefficients[0] < 0
        lengths = np.array([-coefficients[0] / coefficients[1:].sum(), 1.0, 1.0])
        for dtype in ("float32", "float64"):
            found = weights(IMTLG(dtype=dtype), units * lengths[:, None])
            np.testing.assert_array_equal(found, 0)


class TestDirection:
    @pytest.mark.parametrize("num_tasks", [2, 5, 20, 64])
    def test_projects_equally_on_all(self, num_tasks):
        rng = np.random.default_rng(num_tasks)
        jacobian = rng.normal(size=(num_tasks, 100)) * rng.uniform(0.5, 2, (num_tasks, 1))
        balancer = IMTLG(dtype="float64")
        projections = jacobian @ direction(balancer, jacobian) / np.linalg.norm(jacobian, axis=1)
        np.testing.assert_allclose(projections, projections[0], rtol=1e-10)
        assert weights(balancer, jacobian).sum() == pytest.approx(1)

    @pytest.mark.parametrize(
        "check",
        [assert_permutes_with_the_tasks, assert_rotates_with_the_gradients, assert_scales_with_the_gradients],
    )
    @pytest.mark.parametrize("case", [*INDEPENDENT, "parallel", "opposite and unequal", "equal"])
    def test_properties(self, check, case):
        check(IMTLG, JACOBIANS[case])

    def test_of_gradients_1e6_apart(self):
        jacobian = np.random.default_rng(0).normal(size=(6, 20)) * np.logspace(-3, 3, 6)[:, None]
        lengths = np.linalg.norm(jacobian, axis=1)
        equal = np.linalg.pinv(jacobian / lengths[:, None])  # the columns' sum projects by 1 on each gradient
        expected = equal.sum(axis=1) / np.sum(equal.T @ equal.sum(axis=1) / lengths)
        for dtype, tolerance in (("float32", 1e-5), ("float64", 1e-8)):
            assert scaled_error(direction(IMTLG(dtype=dtype), jacobian), expected) < tolerance

    def test_of_dependent_gradients_is_by_least_squares(self):
        jacobian = np.random.default_rng(2).normal(size=(6, 3))
        lengths = np.linalg.norm(jacobian, axis=1)
        found = weights(IMTLG(dtype="float64"), jacobian)
        nearest = np.linalg.pinv(jacobian / lengths[:, None]) @ np.ones(6)
        received = found @ jacobian
        np.testing.assert_allclose(received / np.linalg.norm(received), nearest / np.linalg.norm(nearest), rtol=1e-8)
        assert found.sum() == pytest.approx(1)


@pytest.mark.data
@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-6), ("float32", 1e-5)])
def test_matches_reference(pytestconfig, dtype, tolerance):
    make = lambda **_: IMTLG(dtype=dtype)  # noqa: E731
    assert_matches_reference(make, "imtl_g", pytestconfig.rootpath, tolerance=tolerance)
