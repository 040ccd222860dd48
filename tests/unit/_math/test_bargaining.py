"""The equation of bargaining weights, against SciPy's minimiser and by its own definition."""

import functools

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

from keras_mtl._math import bargain

ALPHAS = (0.5, 1.0, 2.0, 5.0)


def solve(gramian, shares=None, alpha=1.0, dtype="float64"):
    gramian = np.asarray(gramian, dtype)
    shares = np.ones(len(gramian)) if shares is None else np.asarray(shares, float)
    return np.asarray(bargain(tf.constant(gramian), tf.constant(shares), alpha))


def residual(gramian, weights, shares, alpha):
    """How far the two sides of the equation are apart, each task's in units of its own side."""
    return np.max(np.abs(gramian @ weights * weights ** (1 / alpha) / shares - 1))


def by_scipy(gramian, shares, alpha):
    """The minimiser of the potential, in the logarithms of the weights, and then the root of the equation."""
    power = 1 - 1 / alpha

    def potential(logs):
        weights = np.exp(logs)
        utility = logs if power == 0 else weights**power / power
        slope = weights * (gramian @ weights) - shares * weights**power
        return 0.5 * weights @ gramian @ weights - shares @ utility, slope

    def difference(logs):
        return np.exp(logs / alpha) * (gramian @ np.exp(logs)) / shares - 1

    begin = scipy.optimize.minimize(potential, np.zeros(len(gramian)), jac=True, method="BFGS").x
    found = scipy.optimize.root(difference, np.maximum(begin, -8.0), tol=1e-13)
    assert np.max(np.abs(found.fun)) < 1e-9
    return np.exp(found.x)


def random_jacobian(seed, num_tasks, size=None, bias=0.0):
    rng = np.random.default_rng(seed)
    size = size or num_tasks + 3
    return rng.normal(size=(num_tasks, size)) + bias * rng.normal(size=size)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("num_tasks", [2, 3, 5, 8])
def test_is_the_minimiser(alpha, num_tasks):
    for seed, bias in ((0, 0.0), (1, 1.5)):
        rng = np.random.default_rng(seed)
        jacobian = random_jacobian(seed, num_tasks, bias=bias) * rng.uniform(0.3, 3.0, (num_tasks, 1))
        shares = rng.uniform(0.3, 2.0, num_tasks)
        gramian = jacobian @ jacobian.T
        np.testing.assert_allclose(solve(gramian, shares, alpha), by_scipy(gramian, shares, alpha), rtol=1e-7)


@pytest.mark.parametrize(
    "gramian, alpha, expected",
    [
        ([[4.0]], 1.0, [0.5]),
        ([[4.0]], 2.0, [4 ** (-2 / 3)]),  # 4 a = a ** -0.5
        ([[4.0]], 0.5, [4 ** (-1 / 3)]),  # 4 a = a ** -2
        ([[4.0, 0.0], [0.0, 0.25]], 1.0, [0.5, 2.0]),
        # Two unit vectors: a = 1 / sqrt(1 + cosine) for both.
        ([[1.0, -0.96], [-0.96, 1.0]], 1.0, [5.0, 5.0]),
        ([[1.0, -0.96], [-0.96, 1.0]], 2.0, [0.04 ** (-2 / 3)] * 2),
        # Parallel, of the lengths 1 and 3: half of the gain for each.
        ([[1.0, 3.0], [3.0, 9.0]], 1.0, [0.5**0.5, 0.5**0.5 / 3]),
    ],
)
def test_by_hand(gramian, alpha, expected):
    np.testing.assert_allclose(solve(gramian, None, alpha), expected, rtol=1e-12)


@pytest.mark.parametrize("num_tasks", [20, 64])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_many_tasks(num_tasks, alpha):
    found = tf.function(functools.partial(bargain, alpha=alpha))
    for bias in (0.0, 1.0):
        jacobian = random_jacobian(num_tasks, num_tasks, 2 * num_tasks, bias)
        shares = np.random.default_rng(0).uniform(0.2, 3.0, num_tasks)
        weights = found(tf.constant(jacobian @ jacobian.T), tf.constant(shares)).numpy()
        assert np.all(weights > 0)
        assert residual(jacobian @ jacobian.T, weights, shares, alpha) < 1e-11


@pytest.mark.parametrize("alpha", ALPHAS)
def test_gradients_of_very_different_lengths(alpha):
    for seed, bias in ((0, 0.0), (1, 1.0), (2, 0.0), (3, 3.0)):
        lengths = np.logspace(-3, 3, 6)[np.random.default_rng(seed).permutation(6), None]
        jacobian = random_jacobian(seed, 6, 20, bias) * lengths
        gramian = jacobian @ jacobian.T
        weights = solve(gramian, None, alpha)
        assert residual(gramian, weights, 1.0, alpha) < 1e-9
        np.testing.assert_allclose(solve(gramian, None, alpha, "float32"), weights, rtol=1e-4)


@pytest.mark.parametrize("num_tasks, size", [(10, 30), (40, 100), (64, 128)])
@pytest.mark.parametrize("alpha", [2.0, 5.0, 10.0, 30.0])
def test_many_gradients_of_very_different_lengths_at_any_fairness(alpha, num_tasks, size):
    """The gains of long gradients come from the others, and their own weight of 1e-50 adds nothing to them."""
    find = tf.function(functools.partial(bargain, alpha=alpha))
    for seed in (11, 100, 117, 119):
        rng = np.random.default_rng(seed)
        jacobian = rng.normal(size=(num_tasks, size))
        jacobian *= np.logspace(-3, 3, num_tasks)[rng.permutation(num_tasks), None]
        gramian, shares = jacobian @ jacobian.T, np.ones(num_tasks)
        weights = find(tf.constant(gramian), tf.constant(shares)).numpy()
        assert residual(gramian, weights, 1.0, alpha) < 1e-8
        narrow = find(tf.constant(gramian.astype("float32")), tf.constant(shares)).numpy()
        assert np.linalg.norm((narrow - weights) @ jacobian) < 1e-5 * np.linalg.norm(weights @ jacobian)


def test_lengths_do_not_matter_to_the_nash_solution():
    jacobian, lengths = random_jacobian(0, 4), np.array([1e-9, 1.0, 1e3, 1e9])
    scaled = jacobian * lengths[:, None]
    np.testing.assert_allclose(solve(scaled @ scaled.T) * lengths, solve(jacobian @ jacobian.T), rtol=1e-10)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_gradients_that_nearly_cancel(alpha):
    """The sum of the gradients is a thousandth of what it was: weights grow, and the equation holds."""
    for num_tasks in (3, 10):
        jacobian = random_jacobian(1, num_tasks, 50)
        jacobian = jacobian - 0.999 * jacobian.mean(axis=0)
        gramian = jacobian @ jacobian.T
        weights = solve(gramian, None, alpha)
        assert weights.max() > 3
        assert residual(gramian, weights, 1.0, alpha) < 1e-4


@pytest.mark.parametrize("alpha", ALPHAS)
def test_gradients_of_low_rank_on_one_side(alpha):
    """No positive combination vanishes, so there is a solution."""
    rng = np.random.default_rng(0)
    jacobian = rng.uniform(size=(6, 3)) @ rng.normal(size=(3, 8))
    gramian = jacobian @ jacobian.T
    weights = solve(gramian, None, alpha)
    assert residual(gramian, weights, 1.0, alpha) < 1e-9
    narrow = solve(gramian, None, alpha, "float32")
    assert np.linalg.norm((narrow - weights) @ jacobian) < 1e-3 * np.linalg.norm(weights @ jacobian)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_that_cancel_have_no_solution(alpha, dtype):
    rng = np.random.default_rng(0)
    opposite, positive = np.outer([1.0, -3.0], rng.normal(size=7)), rng.normal(size=(3, 7))
    cases = [
        opposite,
        np.concatenate([opposite, rng.normal(size=(3, 7))]),
        np.concatenate([positive, -np.array([[0.2, 1.0, 0.5]]) @ positive]),
        np.array([[1.0, 0.0], [-0.5, 0.75**0.5], [-0.5, -(0.75**0.5)]]),
    ]
    for jacobian in cases:
        np.testing.assert_array_equal(solve(jacobian @ jacobian.T, None, alpha, dtype), 0)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_tasks_that_do_not_take_part(alpha):
    """No gradient, or no share: the others' weights are what they would be among themselves."""
    jacobian, rest = random_jacobian(2, 5), [0, 2, 4]
    shares = np.array([1.0, 2.0, 0.5, 0.0, 1.5])
    jacobian[1] = 0.0
    weights = solve(jacobian @ jacobian.T, shares, alpha)
    np.testing.assert_array_equal(weights[[1, 3]], 0)
    np.testing.assert_allclose(weights[rest], solve(jacobian[rest] @ jacobian[rest].T, shares[rest], alpha), rtol=1e-10)
    np.testing.assert_array_equal(solve(np.zeros((3, 3)), None, alpha), 0)
    np.testing.assert_array_equal(solve(np.eye(3), np.zeros(3), alpha), 0)


@pytest.mark.parametrize("alpha", [0.05, 50.0])
def test_extreme_fairness_is_finite(alpha):
    for scale in (1.0, np.logspace(-15, 15, 6)[:, None], 1e-15, 1e15):
        jacobian = random_jacobian(0, 6) * scale
        assert np.all(np.isfinite(solve(jacobian @ jacobian.T, None, alpha)))
    for scale in (1.0, 1e-6, 1e6):
        jacobian = random_jacobian(0, 6) * scale
        assert residual(jacobian @ jacobian.T, solve(jacobian @ jacobian.T, None, alpha), 1.0, alpha) < 1e-9


def test_an_indefinite_gramian_does_no_harm():
    """A Gramian that was rounded, or is none."""
    for gramian in ([[1.0, -1.0 - 1e-7], [-1.0 - 1e-7, 1.0]], [[1.0, 5.0], [5.0, 1.0]], -np.eye(2), np.ones((2, 2))):
        for dtype in ("float32", "float64"):
            assert np.all(np.isfinite(solve(gramian, None, 2.0, dtype)))


def test_compiled_by_xla():
    found = tf.function(functools.partial(bargain, alpha=2.0), jit_compile=True)
    opposite = np.outer([1.0, -2.0, 0.0], np.ones(6))
    for jacobian in (random_jacobian(0, 3), random_jacobian(1, 3) * np.array([[1e-3], [1.0], [1e3]]), opposite):
        gramian = jacobian @ jacobian.T
        received = found(tf.constant(gramian), tf.ones(3, "float64"))
        np.testing.assert_allclose(received, solve(gramian, None, 2.0), rtol=1e-9)


@pytest.mark.parametrize("size", [2, 4])
def test_a_large_alpha_by_xla(size):
    """Weights of 1e-200, and slopes of 1e200: the same as in a graph, and found as soon."""
    find, by_xla = (
        tf.function(functools.partial(bargain, alpha=1000.0), jit_compile=compiled) for compiled in (False, True)
    )
    from keras_mtl._math import _bargaining

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_bargaining, "_MAX_STEPS", 20)
        within_20 = tf.function(functools.partial(bargain, alpha=1000.0))
        for seed in range(20):
            jacobian = random_jacobian(seed, 4, size, 0.5)
            gramian, shares = tf.constant(jacobian @ jacobian.T), tf.ones(4, "float64")
            expected = find(gramian, shares).numpy()
            scale = np.linalg.norm(expected @ jacobian)
            for found in (by_xla(gramian, shares), within_20(gramian, shares)):
                assert np.linalg.norm((found.numpy() - expected) @ jacobian) <= 1e-6 * scale


def test_converges_in_few_steps():
    """On random gradients the solution is there after 6 steps: a cap of 6 changes nothing."""
    from keras_mtl._math import _bargaining

    for num_tasks in (10, 40):
        for bias in (0.0, 1.0):
            jacobian = random_jacobian(5, num_tasks, 1000, bias)
            gramian = jacobian @ jacobian.T
            for alpha in (1.0, 2.0):
                expected = solve(gramian, None, alpha)
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(_bargaining, "_MAX_STEPS", 6)
                    np.testing.assert_allclose(solve(gramian, None, alpha), expected, rtol=1e-12)
                    patch.setattr(_bargaining, "_MAX_STEPS", 1)
                    assert np.max(np.abs(solve(gramian, None, alpha) / expected - 1)) > 1e-7


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("alpha", [1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 1e3])
def test_orthogonal_gradients_of_any_lengths(alpha, dtype):
    """There the weight of a task is known: its squared length to the power of `-alpha / (1 + alpha)`."""
    for ratio in (1e-6, 1e-2, 0.5, 1e6):
        lengths = np.array([1.0, ratio])
        found = solve(np.diag(lengths**2), alpha=alpha, dtype=dtype)
        tolerance = 1e-10 if dtype == "float64" else 1e-5
        np.testing.assert_allclose(found, lengths ** (-2 * alpha / (1 + alpha)), rtol=tolerance)
