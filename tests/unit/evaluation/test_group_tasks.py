"""The groups are the best ones, of all that there are."""

import itertools
import time

import numpy as np
import pytest

from keras_mtl.evaluation import group_tasks


def value_of(affinity, groups, alone):
    """The sum over the tasks of the best value of a group for it: minus infinity if one has no group."""
    best = np.full(len(affinity), -np.inf)
    for group in groups:
        for task in group:
            others = [other for other in group if other != task]
            value = np.mean([affinity[other, task] for other in others]) if others else alone
            best[task] = max(best[task], value)
    return best.sum()


def best_by_brute_force(affinity, num_models, alone):
    number = len(affinity)
    every = [group for size in range(1, number + 1) for group in itertools.combinations(range(number), size)]
    choices = (groups for count in range(1, num_models + 1) for groups in itertools.combinations(every, count))
    return max(value_of(affinity, groups, alone) for groups in choices)


@pytest.mark.parametrize("number, num_models", [(1, 1), (2, 1), (2, 2), (3, 2), (4, 1), (4, 2), (4, 3), (5, 2)])
@pytest.mark.parametrize("alone", [0.0, -1e6, 0.4])
def test_against_brute_force(number, num_models, alone):
    for seed in range(5):
        affinity = np.random.default_rng(seed).normal(size=(number, number))
        expected = best_by_brute_force(affinity, num_models, alone)
        found = group_tasks(affinity, num_models, alone=alone)
        assert found.value == pytest.approx(expected)
        assert len(found.groups) <= num_models
        groups = [tuple(int(name) for name in group) for group in found.groups]
        assert value_of(affinity, groups, alone) == pytest.approx(found.value)
        for task, index in found.serves.items():
            assert task in found.groups[index]


def test_a_task_helps_in_a_group_that_does_not_serve_it():
    # 0 helps 1 and 2 and is hurt by both; without it they hurt each other.
    affinity = [[0, 1, 1], [-1, 0, -0.5], [-1, -0.5, 0]]
    found = group_tasks(affinity, 3, ["a", "b", "c"])
    assert found.groups == (("a",), ("a", "b"), ("a", "c"))
    assert found.serves == {"a": 0, "b": 1, "c": 2}
    assert found.value == 2
    assert str(found) == "a\na + b (without serving a)\na + c (without serving a)"


def test_no_more_models_and_no_larger_groups_than_pay():
    assert group_tasks(np.zeros((4, 4)), 4).groups == (("0", "1", "2", "3"),)
    assert group_tasks(np.ones((4, 4)), 3).groups == (("0", "1", "2", "3"),)
    # Two pairs, to which a third task neither adds nor takes.
    affinity = np.zeros((4, 4))
    affinity[0, 1] = affinity[1, 0] = affinity[2, 3] = affinity[3, 2] = 1
    assert group_tasks(affinity, 4).groups == (("0", "1"), ("2", "3"))


def test_the_diagonal_does_not_count():
    affinity = np.array([[9.0, 1.0], [1.0, np.nan]])
    assert group_tasks(affinity, 2).value == 2


def test_twelve_tasks_take_seconds():
    rng = np.random.default_rng(0)
    affinity = rng.normal(size=(12, 12))
    begin = time.process_time()
    found = group_tasks(affinity, 4)
    assert time.process_time() - begin < 30
    groups = [tuple(int(name) for name in group) for group in found.groups]
    assert value_of(affinity, groups, 0.0) == pytest.approx(found.value)
    # No exchange of one group for another is better.
    for index in range(len(groups)):
        for _ in range(200):
            other = tuple(np.flatnonzero(rng.random(12) < 0.5))
            assert value_of(affinity, [*groups[:index], other, *groups[index + 1 :]], 0.0) <= found.value + 1e-9


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((np.zeros((2, 3)), 1), r"shape \(num_tasks, num_tasks\). Received: shape \(2, 3\)"),
        ((np.zeros((0, 0)), 1), "shape"),
        ((np.zeros((13, 13)), 2), "at most 12 tasks.*Received: 13 tasks"),
        (([[0, np.nan], [0, 0]], 1), r"finite off the diagonal.*1 pairs.*\[\(0, 1\)\].*never measured"),
        ((np.zeros((2, 2)), 0), "`num_models` should be an integer of at least 1"),
        ((np.zeros((2, 2)), 1, ["a"]), "2 different names"),
        ((np.zeros((2, 2)), 1, ["a", "a"]), "2 different names"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        group_tasks(*arguments)


def test_alone_is_a_number():
    with pytest.raises(ValueError, match="`alone` should be a finite number"):
        group_tasks(np.zeros((2, 2)), 1, alone=float("nan"))
