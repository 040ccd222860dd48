"""The best direction near an average, against all sets of vectors that may bound it."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_mtl._math import _conflict_averse, conflict_averse_weights
from tests.models import others_slow


def solve(vectors, average, radius, dtype="float64"):
    vectors = np.asarray(vectors, dtype)
    return np.asarray(conflict_averse_weights(tf.constant(vectors @ vectors.T), np.asarray(average, dtype), radius))


def reference(vectors, average, radius):
    """The best of the points of the sphere at which some of the vectors have the same product."""
    center = average @ vectors
    length = radius * np.linalg.norm(center)
    best = center
    for size in range(1, len(vectors) + 1):
        for subset in itertools.combinations(range(len(vectors)), size):
            # d = center + J' (t x - y), for the rows J of the subset: |t p - q| = length
            rows = vectors[list(subset)]
            p, q = np.linalg.pinv(rows) @ np.ones(size), np.linalg.pinv(rows) @ (rows @ center)
            for root in np.roots([p @ p, -2 * p @ q, q @ q - length**2]):
                if abs(root.imag) < 1e-12:
                    candidate = center + root.real * p - q
                    best = max(best, candidate, key=lambda point: np.min(vectors @ point))
    return best


def assert_is_best(vectors, average, radius, weights, tolerance):
    """On the sphere; what is added is not negative, and of vectors with the least product."""
    center, direction = average @ vectors, weights.astype("float64") @ vectors
    norms, length = np.linalg.norm(vectors, axis=1), np.linalg.norm(average @ vectors)
    assert np.linalg.norm(direction - center) == pytest.approx(radius * length, rel=tolerance)
    added = (weights - average) * norms / length
    products = vectors @ direction
    excess = (products - np.min(products[added > 1e-6])) / norms / length
    assert np.min(added) > -tolerance
    assert np.min(excess) > -tolerance
    assert np.max(np.abs(excess * added)) < tolerance


@pytest.mark.parametrize("num_tasks, size", [(1, 3), (2, 2), (2, 7), (3, 5), (4, 6), (6, 9)])
def test_is_the_best_of_all(num_tasks, size):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        vectors, average = rng.normal(size=(num_tasks, size)), rng.dirichlet(np.ones(num_tasks))
        for radius in (0.1, 0.5, 0.9):
            expected = reference(vectors, average, radius)
            np.testing.assert_allclose(solve(vectors, average, radius) @ vectors, expected, atol=1e-9)
            np.testing.assert_allclose(solve(vectors, average, radius, "float32") @ vectors, expected, atol=1e-4)


@pytest.mark.parametrize("num_tasks, size", [(20, 30), (20, 400), (64, 70), (64, 1000)])
@pytest.mark.parametrize("radius", [0.2, 0.8, 3.0])
def test_of_many(num_tasks, size, radius):
    rng = np.random.default_rng(0)
    vectors, average = rng.normal(size=(num_tasks, size)), np.full(num_tasks, 1 / num_tasks)
    assert_is_best(vectors, average, radius, solve(vectors, average, radius), 1e-9)
    assert_is_best(vectors, average, radius, solve(vectors, average, radius, "float32"), 1e-3)


@pytest.mark.parametrize("num_tasks, size", [(2, 3), (4, 6), (20, 30), (20, 2), (40, 1000)])
def test_newtons_method_alone_brings_the_same(monkeypatch, num_tasks, size):
    """What follows where variables and level, exchanged together, do not come to an end."""
    rng = np.random.default_rng(3)
    vectors, average = rng.normal(size=(num_tasks, size)), np.full(num_tasks, 1 / num_tasks)
    expected = solve(vectors, average, 0.5) @ vectors
    calls = []
    real = _conflict_averse.solve_nonnegative
    monkeypatch.setattr(_conflict_averse, "solve_nonnegative", lambda *given: calls.append(1) or real(*given))
    monkeypatch.setattr(_conflict_averse, "_JOINT_STEPS", -num_tasks)
    np.testing.assert_allclose(solve(vectors, average, 0.5) @ vectors, expected, atol=1e-9)
    assert 1 <= len(calls) < 15  # it was Newton's method, in eager mode


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-8), ("float32", 1e-2)])
@pytest.mark.parametrize("num_tasks", others_slow([16, 40, 64], by_default=(40,)))
def test_twice_as_many_vectors_as_dimensions(num_tasks, dtype, tolerance):
    """No combination of the vectors does better, the level of 0 being out of reach, in reach, or where it ends."""
    found = [
        tf.function(lambda gramian, average, radius=radius: conflict_averse_weights(gramian, average, radius))
        for radius in (0.2, 0.5, 0.9)
    ]
    for seed in range(3):
        rng = np.random.default_rng(seed)
        vectors = (rng.normal(size=(num_tasks, num_tasks // 2)) @ rng.normal(size=(num_tasks // 2, num_tasks))).astype(
            dtype
        )
        average = np.full(num_tasks, 1 / num_tasks, dtype)
        center = average.astype("float64") @ vectors
        for solution, radius in zip(found, (0.2, 0.5, 0.9), strict=True):
            weights = solution(tf.constant(vectors @ vectors.T), tf.constant(average)).numpy().astype("float64")
            length = radius * np.linalg.norm(center)
            assert np.linalg.norm(weights @ vectors - center) < length * (1 + tolerance)
            shares = np.maximum(weights - average, 0) / np.sum(np.maximum(weights - average, 0))
            bound = shares @ vectors @ center + length * np.linalg.norm(shares @ vectors)  # on the least product
            scale = np.linalg.norm(center) * np.min(np.linalg.norm(vectors, axis=1))
            assert np.min(vectors @ (weights @ vectors)) > bound - tolerance * scale


def test_vectors_of_different_lengths():
    for scales in ([1.0, 1e6], [1e-15, 1.0, 1e15], [1e15, 1e15], [1e-15, 1e-15]):
        scales = np.array(scales)
        vectors = scales[:, None] * np.random.default_rng(1).normal(size=(len(scales), 4))
        average = np.full(len(scales), 1 / len(scales))
        assert_is_best(vectors, average, 0.5, solve(vectors, average, 0.5), 1e-9)
        assert_is_best(vectors, average, 0.5, solve(vectors, average, 0.5, "float32"), 1e-3)


def test_parallel_vectors_add_to_the_average():
    vectors = np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]])
    for dtype, tolerance in (("float64", 1e-11), ("float32", 1e-5)):
        received = solve(vectors, np.full(3, 1 / 3), 0.5, dtype) @ vectors
        np.testing.assert_allclose(received, [3, 6], rtol=tolerance)


def test_unequal_opposite_vectors():
    """The shorter one is reached only as far as the ball goes: -1 of the average of -3/2 for (1, -4)."""
    received = solve([[1.0, 0.0], [-4.0, 0.0]], [0.5, 0.5], 0.5) @ np.array([[1.0, 0.0], [-4.0, 0.0]])
    np.testing.assert_allclose(received, [-0.75, 0], atol=1e-11)


def test_where_only_zero_is_without_conflict_and_in_the_ball_it_is_zero():
    vectors = np.array([[1.0, 0.0], [-4.0, 0.0]])
    for dtype, tolerance in (("float64", 1e-5), ("float32", 1e-2)):
        np.testing.assert_allclose(solve(vectors, [0.5, 0.5], 1.5, dtype) @ vectors, [0, 0], atol=tolerance)


def test_an_average_of_zero_stays():
    vectors = np.array([[1.0, 0.0], [-0.5, 0.75**0.5], [-0.5, -(0.75**0.5)]])
    for dtype in ("float64", "float32"):
        average = np.full(3, 1 / 3, dtype)
        np.testing.assert_array_equal(solve(vectors, average, 0.5, dtype), average)
    np.testing.assert_array_equal(solve(np.zeros((2, 3)), [0.5, 0.5], 0.5), [0.5, 0.5])


def test_a_zero_vector_has_no_say():
    vectors = np.random.default_rng(0).normal(size=(3, 4))
    padded = np.insert(vectors, 1, 0.0, axis=0)
    expected = solve(vectors, [0.2, 0.3, 0.1], 0.5)
    received = solve(padded, [0.2, 0.4, 0.3, 0.1], 0.5)
    np.testing.assert_allclose(received, np.insert(expected, 1, 0.4), rtol=1e-9)


def test_a_radius_of_zero_is_the_average():
    np.testing.assert_array_equal(solve(np.eye(3), [0.2, 0.3, 0.5], 0.0), [0.2, 0.3, 0.5])


def test_compiled():
    vectors, average = np.random.default_rng(0).normal(size=(6, 8)), np.full(6, 1 / 6)
    compiled = tf.function(
        lambda gramian: conflict_averse_weights(gramian, tf.constant(average), 0.5), jit_compile=True
    )
    found = compiled(tf.constant(vectors @ vectors.T))
    np.testing.assert_allclose(found, solve(vectors, average, 0.5), rtol=1e-8, atol=1e-10)
