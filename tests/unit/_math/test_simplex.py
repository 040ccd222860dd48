"""Points of the simplex, against a general solver and what defines a projection."""

import numpy as np
import pytest
import scipy.optimize
import tensorflow as tf

from keras_mtl._math import (
    active_shares,
    equal_shares,
    preferred_shares,
    project_on_simplex,
    simplex_step,
    with_active_shares,
)


def project(values, active=None, dtype="float64"):
    values = np.asarray(values, dtype)
    active = np.ones(len(values), bool) if active is None else np.asarray(active)
    return np.asarray(project_on_simplex(tf.constant(values), tf.constant(active)))


@pytest.mark.parametrize(
    "values, expected",
    [
        ([0.2, 0.3, 0.5], [0.2, 0.3, 0.5]),
        ([7.0], [1.0]),
        ([1.0, 1.0], [0.5, 0.5]),
        ([2.0, 0.0, 0.0], [1.0, 0.0, 0.0]),
        ([0.6, 0.6, -0.4], [0.5, 0.5, 0.0]),
        ([-5.0, -5.2, -9.0], [0.6, 0.4, 0.0]),
        ([1e15, 0.0, -1e15], [1.0, 0.0, 0.0]),
        ([1e-38, 0.0], [0.5, 0.5]),
    ],
)
def test_by_hand(values, expected):
    for dtype, tolerance in (("float32", 1e-6), ("float64", 1e-12)):
        found = project(values, dtype=dtype)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, atol=tolerance)


def test_is_the_nearest_point():
    rng = np.random.default_rng(0)
    for size in (2, 3, 6):
        for _ in range(5):
            values = rng.normal(size=size)
            solution = scipy.optimize.minimize(
                lambda point, values=values: np.sum((point - values) ** 2),
                np.full(size, 1 / size),
                bounds=[(0, 1)] * size,
                constraints={"type": "eq", "fun": lambda point: point.sum() - 1},
                options={"ftol": 1e-14},
            )
            np.testing.assert_allclose(project(values), solution.x, atol=1e-6)


def test_tasks_that_are_not_active_are_left_out():
    values, active = np.array([0.9, 100.0, 0.4, -100.0, np.nan]), np.array([True, False, True, False, False])
    np.testing.assert_allclose(project(values, active), [0.75, 0, 0.25, 0, 0], atol=1e-12)
    np.testing.assert_array_equal(project(values, np.zeros(5, bool)), np.zeros(5))


def test_compiles():
    values, active = tf.constant([0.9, 100.0, 0.4]), tf.constant([True, False, True])
    found = tf.function(project_on_simplex, jit_compile=True)(values, active)
    np.testing.assert_allclose(found, [0.75, 0, 0.25], atol=1e-6)


@pytest.mark.parametrize("step_size", [0.0, 0.1, 3.0, 1e20])
def test_a_step_is_a_projected_step(step_size):
    rng = np.random.default_rng(0)
    for _ in range(5):
        shares, slopes = rng.dirichlet(np.ones(4)), rng.normal(size=4)
        found = simplex_step(tf.constant(shares), tf.constant(slopes), step_size, tf.constant([True] * 4))
        np.testing.assert_allclose(found, project(shares - step_size * slopes), atol=1e-12)
    huge = simplex_step(
        tf.constant([0.5, 0.5]), tf.constant([-3e38, 3e38]), step_size, tf.constant([True, True])
    )  # the slopes' difference is no float
    np.testing.assert_array_equal(huge, [1, 0] if step_size > 0 else [0.5, 0.5])


def test_shares_of_the_active():
    active, none = tf.constant([True, False, True]), tf.constant([False] * 3)
    np.testing.assert_allclose(active_shares(tf.constant([0.1, 0.6, 0.3]), active), [0.25, 0, 0.75], rtol=1e-6)
    np.testing.assert_allclose(active_shares(tf.constant([0.0, 1.0, 0.0]), active), [0.5, 0, 0.5], rtol=1e-6)
    np.testing.assert_array_equal(active_shares(tf.constant([0.1, 0.6, 0.3]), none), [0, 0, 0])
    weights, shares = tf.constant([0.1, 0.6, 0.3]), tf.constant([0.5, 0.0, 0.5])
    np.testing.assert_allclose(with_active_shares(weights, shares, active), [0.2, 0.6, 0.2], rtol=1e-6)
    np.testing.assert_array_equal(with_active_shares(weights, tf.zeros(3), none), weights)
    assert np.sum(equal_shares((3,), "float64")) == 1


def test_preferred_shares_are_those_of_the_active_and_none_where_none_counts():
    active = tf.constant([True, False, True])
    np.testing.assert_allclose(preferred_shares(tf.constant([0.1, 0.6, 0.3]), active), [0.25, 0, 0.75], rtol=1e-6)
    np.testing.assert_array_equal(preferred_shares(tf.constant([0.0, 1.0, 0.0]), active), [0, 0, 0])
