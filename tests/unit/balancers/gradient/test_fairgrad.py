import numpy as np
import pytest
import scipy.optimize

from keras_mtl.balancers import FairGrad
from tests.unit.balancers._properties import (
    JACOBIANS,
    assert_does_not_conflict,
    assert_matches_reference,
    assert_permutes_with_the_tasks,
    assert_rotates_with_the_gradients,
    direction,
    scaled_error,
    weights,
)

ALPHAS = (0.5, 1.0, 2.0, 5.0)
SOLVABLE = ["two that agree", "two in conflict", "two badly scaled", "five", "five, badly scaled", "parallel", "equal"]


def fairest(jacobian, alpha):
    """By definition: the largest sum of alpha-fair utilities of the gains on a ball, with the length that follows.

    At the solution, `d = J' a` with `a = gains ** -alpha`, so that the direction says how long it is.
    """
    basis = np.linalg.svd(jacobian, full_matrices=False)[2]
    reduced = jacobian @ basis.T

    def negative(point):
        unit = point / np.linalg.norm(point)
        gains = reduced @ unit
        if np.min(gains) <= 0:
            return np.inf
        return -np.sum(np.log(gains)) if alpha == 1 else -np.sum(gains ** (1 - alpha)) / (1 - alpha)

    begin = np.linalg.pinv(reduced) @ np.ones(len(reduced))
    options = {"xatol": 1e-13, "fatol": 1e-15, "maxiter": 40000, "maxfev": 40000}
    point = scipy.optimize.minimize(negative, begin, method="Nelder-Mead", options=options).x
    unit = point / np.linalg.norm(point) @ basis
    # t u = J' ((t J u) ** -alpha), so t ** (1 + alpha) = u' J' (J u) ** -alpha
    gains = jacobian @ unit
    return unit * np.sum(gains ** (1 - alpha)) ** (1 / (1 + alpha))


@pytest.mark.parametrize("alpha", ALPHAS)
class TestDirection:
    @pytest.mark.parametrize("num_tasks", [2, 3, 4])
    def test_shares_the_descent_out_fairly(self, alpha, num_tasks):
        jacobian = (
            np.random.default_rng(num_tasks).normal(size=(num_tasks, 6)) * np.linspace(0.5, 2, num_tasks)[:, None]
        )
        received = direction(FairGrad(alpha, dtype="float64"), jacobian)
        assert scaled_error(received, fairest(jacobian, alpha)) < 1e-5

    def test_solves_the_papers_equation(self, alpha):
        for num_tasks in (5, 20):
            jacobian = np.random.default_rng(0).normal(size=(num_tasks, 60)) * np.logspace(-2, 2, num_tasks)[:, None]
            found = weights(FairGrad(alpha, dtype="float64"), jacobian)
            np.testing.assert_allclose(jacobian @ jacobian.T @ found, found ** (-1 / alpha), rtol=1e-9)

    @pytest.mark.parametrize("case", [case for case in JACOBIANS if case != "all zero"])
    def test_properties(self, alpha, case):
        def make(**arguments):
            return FairGrad(alpha, **arguments)

        assert_does_not_conflict(make, JACOBIANS[case])
        if case in SOLVABLE:
            assert_permutes_with_the_tasks(make, JACOBIANS[case])
            assert_rotates_with_the_gradients(make, JACOBIANS[case])

    def test_the_length_for_gradients_of_another_length(self, alpha):
        jacobian = JACOBIANS["five"]
        for scale in (1e-3, 100.0):
            received = direction(FairGrad(alpha, dtype="float64"), scale * jacobian)
            expected = direction(FairGrad(alpha, dtype="float64"), jacobian) * scale ** ((1 - alpha) / (1 + alpha))
            assert scaled_error(received, expected) < 1e-10

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_is_zero_where_gradients_cancel(self, alpha, dtype):
        for case in ("opposite", "opposite and unequal", "three that cancel", "all zero"):
            np.testing.assert_array_equal(direction(FairGrad(alpha, dtype=dtype), JACOBIANS[case]), 0)

    def test_a_zero_gradient_does_not_count(self, alpha):
        jacobian = JACOBIANS["five"].copy()
        jacobian[2] = 0
        rest = np.delete(jacobian, 2, axis=0)
        received, expected = (direction(FairGrad(alpha, dtype="float64"), case) for case in (jacobian, rest))
        np.testing.assert_allclose(received, expected, rtol=1e-9)

    def test_float32_with_gradients_1e6_apart(self, alpha):
        jacobian = np.random.default_rng(4).normal(size=(6, 30)) * np.logspace(-3, 3, 6)[:, None]
        expected = direction(FairGrad(alpha, dtype="float64"), jacobian)
        assert scaled_error(direction(FairGrad(alpha), jacobian), expected) < 1e-5


@pytest.mark.parametrize(
    "alpha, expected",
    [
        # gradients 4 and 1 long at a right angle: a = length ** (-2 alpha / (alpha + 1)), the direction is length * a
        (0.5, [4 ** (1 / 3), 1.0]),
        (1.0, [1.0, 1.0]),
        (2.0, [4 ** (-1 / 3), 1.0]),
        (5.0, [4 ** (-2 / 3), 1.0]),
    ],
)
def test_by_hand(alpha, expected):
    for dtype, tolerance in (("float32", 1e-6), ("float64", 1e-12)):
        received = direction(FairGrad(alpha, dtype=dtype), np.diag([4.0, 1.0]))
        np.testing.assert_allclose(received, expected, rtol=tolerance)


def test_the_larger_alpha_is_the_more_even_are_the_gains():
    jacobian = np.random.default_rng(1).normal(size=(4, 8)) * np.array([[3.0], [1.0], [0.5], [0.1]])
    gains = [jacobian @ direction(FairGrad(alpha, dtype="float64"), jacobian) for alpha in (0.2, 0.5, 1, 2, 5, 20)]
    spread = [np.max(item) / np.min(item) for item in gains]
    assert np.all(np.diff(spread) < 0)
    assert spread[0] > 100 * spread[-1]


def test_there_is_a_direction_where_the_gradients_do_not_cancel():
    for seed, num_tasks, size, expected in ((119, 64, 128, 82.343450), (11, 40, 100, 83.997634)):
        rng = np.random.default_rng(seed)
        jacobian = rng.normal(size=(num_tasks, size))
        jacobian *= np.logspace(-3, 3, num_tasks)[rng.permutation(num_tasks), None]
        for dtype in ("float64", "float32"):
            found = direction(FairGrad(10.0, dtype=dtype), jacobian)
            assert np.linalg.norm(found) == pytest.approx(expected, rel=1e-5)
            unit = jacobian / np.linalg.norm(jacobian, axis=1, keepdims=True)
            assert np.min(unit @ found) > -1e-6 * expected


def test_alpha_is_2_by_default():
    assert FairGrad().alpha == 2.0


@pytest.mark.parametrize("alpha", [0, -1.0, float("inf"), float("nan"), "2", None, True])
def test_alpha_is_checked(alpha):
    with pytest.raises(ValueError, match="`alpha` should be a finite number .*Received: alpha="):
        FairGrad(alpha=alpha)


@pytest.mark.data
@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-6), ("float32", 1e-5)])
def test_matches_reference(pytestconfig, dtype, tolerance):
    make = lambda **_: FairGrad(alpha=2.0, dtype=dtype)  # noqa: E731
    assert_matches_reference(make, "fairgrad_alpha2", pytestconfig.rootpath, tolerance=tolerance)
