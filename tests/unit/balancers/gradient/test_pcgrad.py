"""Gradient surgery, against algorithm 1 of its paper written out on gradient vectors."""

import collections
import functools
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl.balancers import PCGrad
from tests.unit.balancers._properties import (
    JACOBIANS,
    assert_does_not_conflict,
    assert_matches_reference,
    assert_permutes_with_the_tasks,
    assert_rotates_with_the_gradients,
    assert_scales_with_the_gradients,
    direction,
    scaled_error,
    weights,
)

TWO_TASKS = {name: case for name, case in JACOBIANS.items() if len(case) == 2}


def project(gradients, task, others):
    """Lines 4 to 8 of the algorithm: one task's gradient, projected off the others in their order."""
    projected = gradients[task].copy()
    for other in others:
        product = projected @ gradients[other]
        if product < 0:
            projected = projected - product / (gradients[other] @ gradients[other]) * gradients[other]
    return projected


def projections(gradients, task):
    """What becomes of one task's gradient, in each order of the others."""
    others = [other for other in range(len(gradients)) if other != task]
    return [project(gradients, task, order) for order in itertools.permutations(others)]


def directions(gradients):
    """The result for each combination of the tasks' orders: `[num_combinations, num_parameters]`."""
    found = np.zeros((1, gradients.shape[1]))
    for task in range(len(gradients)):
        distinct = np.unique(np.round(projections(gradients, task), 13), axis=0)
        found = (found[:, None] + distinct).reshape(-1, gradients.shape[1])
    return found


def distance(received, candidates):
    """How far the nearest candidate is."""
    return np.min(np.max(np.abs(candidates - received), axis=1))


class TestTwoTasks:
    @pytest.mark.parametrize(
        "first, second, expected",
        [
            # <1, 2> = -1, |2|^2 = 2, |1|^2 = 1: (1, 0) + (-1, 1) / 2 and (-1, 1) + (1, 0)
            ([1, 0], [-1, 1], [0.5, 1.5]),
            # <1, 2> = -6, |2|^2 = 25, |1|^2 = 4: (2, 0) + 0.24 (-3, 4) and (-3, 4) + 1.5 (2, 0)
            ([2, 0], [-3, 4], [1.28, 4.96]),
            # <1, 2> = -100, |2|^2 = 2, |1|^2 = 10000: (100, 0) + 50 (-1, 1) and (-1, 1) + 0.01 (100, 0)
            ([100, 0], [-1, 1], [50, 51]),
            # opposite gradients leave nothing of each other
            ([1, 2], [-2, -4], [0, 0]),
            # no conflict: the sum
            ([1, 2], [2, 4], [3, 6]),
            ([1, 0], [0, 3], [1, 3]),
            ([1, 1], [1, 0], [2, 1]),
            ([0, 0], [-1, 1], [-1, 1]),
        ],
    )
    def test_by_hand(self, first, second, expected):
        for dtype, tolerance in (("float32", 1e-5), ("float64", 1e-12)):
            for gradients in ([first, second], [second, first]):
                received = direction(PCGrad(dtype=dtype), np.array(gradients, float))
                np.testing.assert_allclose(received, expected, rtol=tolerance, atol=tolerance)

    def test_weights_by_hand(self):
        received = weights(PCGrad(dtype="float64"), np.array([[2.0, 0.0], [-3.0, 4.0]]))
        np.testing.assert_allclose(received, [1 + 1.5, 1 + 0.24], rtol=1e-12)

    @pytest.mark.parametrize("case", TWO_TASKS)
    def test_is_the_algorithm(self, case):
        gradients = TWO_TASKS[case]
        expected = project(gradients, 0, [1]) + project(gradients, 1, [0])
        received = direction(PCGrad(dtype="float64"), gradients)
        np.testing.assert_allclose(received, expected, rtol=1e-12, atol=1e-12)

    def test_is_the_algorithm_on_random_gradients(self):
        rng, conflicts = np.random.default_rng(0), 0
        for size in (1, 2, 3, 10, 1000):
            for _ in range(6):
                gradients = rng.normal(size=(2, size)) * 10.0 ** rng.integers(-3, 4, (2, 1))
                expected = project(gradients, 0, [1]) + project(gradients, 1, [0])
                for dtype, tolerance in (("float32", 1e-5), ("float64", 1e-12)):
                    received = direction(PCGrad(dtype=dtype), gradients)
                    assert np.max(np.abs(received - expected)) < tolerance * np.max(np.abs(gradients))
                conflicts += gradients[0] @ gradients[1] < 0
        assert 5 < conflicts < 25

    @pytest.mark.parametrize(
        "check",
        [
            assert_permutes_with_the_tasks,
            assert_scales_with_the_gradients,
            assert_rotates_with_the_gradients,
            assert_does_not_conflict,
        ],
    )
    def test_properties(self, check):
        for gradients in TWO_TASKS.values():
            check(PCGrad, gradients)

    @pytest.mark.data
    def test_matches_reference(self, pytestconfig):
        assert_matches_reference(PCGrad, "pcgrad", pytestconfig.rootpath, num_tasks=2)


class TestManyTasks:
    @pytest.mark.parametrize("num_tasks, seeds", [(3, range(6)), (4, range(6)), (5, [5, 6])])
    def test_the_direction_is_that_of_some_order(self, num_tasks, seeds):
        for seed in seeds:
            gradients = np.random.default_rng(seed).normal(size=(num_tasks, 6))
            gradients -= 0.8 * gradients.mean(axis=0)  # so that most tasks conflict
            candidates, balancer = directions(gradients), PCGrad(seed, dtype="float64")
            assert 7 < len(candidates) < 2e5
            for _ in range(5):
                assert distance(direction(balancer, gradients), candidates) < 1e-11
            assert distance(gradients.sum(axis=0), candidates) > 1e-3

    def test_every_order_has_the_same_chance(self):
        """Three tasks, for each of which the order matters: two orders for each, chosen for each on its own."""
        gradients = np.array([[1.0, 0.0, 0.0], [-0.4, 1.0, 0.1], [-0.6, -0.7, 0.9]])
        candidates = directions(gradients)
        assert len(candidates) == 8
        balancer, tensor = PCGrad(seed=0, dtype="float64"), tf.constant(gradients)
        step = tf.function(lambda: balancer.direction(tensor))
        found = np.array([step() for _ in range(1600)])
        distances = np.max(np.abs(found[:, None] - candidates), axis=2)
        assert np.max(np.min(distances, axis=1)) < 1e-12
        counts = np.bincount(np.argmin(distances, axis=1), minlength=8)
        np.testing.assert_allclose(counts, 200, atol=60)

    def test_all_orders_of_four_tasks_are_taken(self):
        """One task against three that agree with each other: its six orders."""
        gradients = np.array([[-3.0, -2.0, -1.0], [1.0, 0.2, 0.1], [0.1, 1.0, 0.3], [0.2, 0.1, 1.0]])
        rest = sum(project(gradients, task, [0]) for task in (1, 2, 3))
        kinds = np.array(projections(gradients, 0)) + rest
        balancer, tensor = PCGrad(seed=0, dtype="float64"), tf.constant(gradients)
        step = tf.function(lambda: balancer.direction(tensor))
        found = np.array([step() for _ in range(900)])
        candidates = np.unique(np.round(kinds, 9), axis=0)
        nearest = np.argmin(np.max(np.abs(found[:, None] - candidates), axis=2), axis=1)
        counts = collections.Counter(nearest.tolist())
        expected = collections.Counter(int(np.argmin(np.max(np.abs(candidates - kind), axis=1))) for kind in kinds)
        for candidate, orders in expected.items():
            assert counts[candidate] == pytest.approx(900 * orders / 6, abs=60)

    def test_gradients_are_projected_off_the_others_as_they_came(self):
        """Where the others were projected first, (1, 0) would be left as it is."""
        gradients = np.array([[1.0, 0.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 2.0]])
        np.testing.assert_allclose(direction(PCGrad(dtype="float64"), gradients), [0.5, 1.5, 2.0], rtol=1e-12)

    def test_conflict_is_looked_for_after_the_projections_before(self):
        """The second task has none with the first, until it has been projected off the third."""
        gradients = np.array([[1.0, 0.2, 0.0], [0.2, 1.0, 0.3], [-1.0, -2.0, 0.5]])
        first_then_third, third_then_first = project(gradients, 1, [0, 2]), project(gradients, 1, [2, 0])
        assert np.max(np.abs(first_then_third - third_then_first)) > 0.01
        candidates, balancer = directions(gradients), PCGrad(0, dtype="float64")
        found = [direction(balancer, gradients) for _ in range(40)]
        assert all(distance(item, candidates) < 1e-12 for item in found)
        assert len(np.unique(np.round(found, 9), axis=0)) == len(np.unique(np.round(candidates, 9), axis=0)) > 1

    def test_without_a_conflict_it_is_the_sum(self):
        gradients = np.random.default_rng(0).uniform(size=(5, 7))
        np.testing.assert_allclose(direction(PCGrad(dtype="float64"), gradients), gradients.sum(axis=0), rtol=1e-12)
        np.testing.assert_array_equal(weights(PCGrad(), np.eye(4)), [1, 1, 1, 1])

    def test_a_zero_gradient_changes_nothing(self):
        gradients = np.array([[2.0, 0.0], [0.0, 0.0], [-3.0, 4.0]])
        np.testing.assert_allclose(direction(PCGrad(dtype="float64"), gradients), [1.28, 4.96], rtol=1e-12)

    def test_gradients_may_be_huge_or_tiny(self):
        gradients = np.array([[2.0, 0.0], [-3.0, 4.0]])
        for scale in (1e-15, 1e15):
            assert scaled_error(direction(PCGrad(), scale * gradients), scale * np.array([1.28, 4.96])) < 1e-5


class TestSeed:
    gradients = np.random.default_rng(3).normal(size=(5, 6))

    def sequence(self, balancer, size=6):
        return np.array([direction(balancer, self.gradients) for _ in range(size)])

    def test_calls_differ(self):
        assert len(np.unique(np.round(self.sequence(PCGrad(seed=1)), 4), axis=0)) > 3

    def test_the_same_seed_brings_the_same_orders(self):
        np.testing.assert_array_equal(self.sequence(PCGrad(seed=1)), self.sequence(PCGrad(seed=1)))

    def test_another_seed_brings_others(self):
        assert np.any(self.sequence(PCGrad(seed=1)) != self.sequence(PCGrad(seed=2)))

    def test_without_a_seed_it_follows_that_of_keras(self):
        found = []
        for seed in (0, 0, 1):
            keras.utils.set_random_seed(seed)
            found.append(self.sequence(PCGrad()))
        np.testing.assert_array_equal(found[0], found[1])
        assert np.any(found[0] != found[2])
        assert np.any(self.sequence(PCGrad()) != self.sequence(PCGrad()))

    def test_the_seed_is_in_the_config(self):
        balancer = PCGrad.from_config(PCGrad(seed=5).get_config())
        assert balancer.seed == 5
        np.testing.assert_array_equal(self.sequence(balancer), self.sequence(PCGrad(seed=5)))
        assert PCGrad().get_config()["seed"] is None

    def test_a_graph_does_not_freeze_the_order(self):
        balancer = PCGrad(seed=1)
        step = tf.function(balancer.direction)
        found = np.array([step(tf.constant(self.gradients)) for _ in range(6)])
        np.testing.assert_allclose(found, self.sequence(PCGrad(seed=1)), rtol=1e-4, atol=1e-5)

    def test_replicas_agree_on_the_order(self, two_replicas):
        with two_replicas.scope():
            balancer = PCGrad(seed=1)
        run = tf.function(functools.partial(two_replicas.run, lambda: balancer.direction(self.gradients)))
        found = [two_replicas.experimental_local_results(run()) for _ in range(8)]
        for first, second in found:
            np.testing.assert_array_equal(first, second)
        assert len(np.unique(np.round([first for first, _ in found], 4), axis=0)) > 3

    @pytest.mark.parametrize("seed", ["7", 1.5])
    def test_a_seed_that_is_no_integer_is_refused(self, seed):
        with pytest.raises(ValueError, match="`seed` .*integer"):
            PCGrad(seed=seed)
