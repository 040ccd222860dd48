"""What a paper may claim of its method: each is a check that says so, for gradients and losses of several kinds."""

import numpy as np

from tests.unit.balancers._any import inputs
from tests.unit.balancers._properties import JACOBIANS

WIDTH = 8
_RNG = np.random.default_rng(3)


def padded(jacobian):
    """With zeros at the end, which change no inner product: all cases for a number of tasks have one trace."""
    return np.pad(jacobian, ((0, 0), (0, WIDTH - jacobian.shape[1])))


# Gradients in general position, with and without a conflict.
CASES = {
    2: [padded(JACOBIANS[name]) for name in ("two that agree", "two in conflict", "two badly scaled")],
    5: [JACOBIANS["five"], JACOBIANS["five, badly scaled"], _RNG.uniform(size=(5, WIDTH))],
}
# Where no order of projections matters: no conflict, or no task in conflict with two.
UNAMBIGUOUS = {
    2: CASES[2],
    5: [
        _RNG.uniform(size=(5, WIDTH)),
        np.pad(np.kron(np.eye(2), [[1.0, 0.0], [-0.8, 0.6]]), ((0, 1), (0, WIDTH - 4))) + np.eye(5, WIDTH, WIDTH - 5),
    ],
}
# A positive combination of the gradients is zero.
_STATIONARY_FIVE = _RNG.normal(size=(5, WIDTH))
_STATIONARY_FIVE[4] = -(_RNG.uniform(0.2, 1.0, 4) @ _STATIONARY_FIVE[:4])
STATIONARY = {2: [padded(JACOBIANS[name]) for name in ("opposite", "opposite and unequal")], 5: [_STATIONARY_FIVE]}


# --- claims about directions: each takes `find(jacobian) -> direction`, from a fresh state ---


def permutes(find, num_tasks, cases=CASES):
    """The order of the tasks does not matter."""
    for jacobian in cases[num_tasks]:
        for seed in range(2):
            order = np.random.default_rng(seed).permutation(num_tasks)
            assert_close(find(jacobian[order]), find(jacobian))


def permutes_where_no_order_matters(find, num_tasks):
    """The order of the tasks does not matter where no task conflicts with two others."""
    permutes(find, num_tasks, UNAMBIGUOUS)


def rotates(find, num_tasks):
    """It depends on nothing but the gradients' inner products, and lies in their span."""
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(WIDTH, WIDTH)))[0]
    for jacobian in CASES[num_tasks]:
        assert_close(find(jacobian @ rotation), find(jacobian) @ rotation)


def is_homogeneous(find, num_tasks):
    """All gradients multiplied by a positive number multiply the direction by it."""
    for jacobian in CASES[num_tasks]:
        for factor in (1e-4, 7.0, 1e5):
            assert_close(find(factor * jacobian) / factor, find(jacobian))


def ignores_the_scale(find, num_tasks):
    """All gradients multiplied by a positive number leave the direction as it is."""
    for jacobian in CASES[num_tasks]:
        for factor in (1e-3, 7.0, 1e3):
            assert_close(find(factor * jacobian), find(jacobian))


def ignores_the_scale_of_one_task(find, num_tasks):
    """One task's gradient multiplied by a positive number leaves the direction as it is."""
    for jacobian in CASES[num_tasks][:2]:
        for factor in (0.1, 30.0):
            scales = np.where(np.arange(num_tasks) == 1, factor, 1.0)[:, None]
            assert_close(find(scales * jacobian), find(jacobian))


def points_regardless_of_the_scale_of_one_task(find, num_tasks):
    """One task's gradient multiplied by a positive number may change the length of the direction, no more."""

    def unit(vector):
        return vector / np.linalg.norm(vector)

    for jacobian in CASES[num_tasks][:2]:
        for factor in (0.1, 30.0):
            scales = np.where(np.arange(num_tasks) == 1, factor, 1.0)[:, None]
            received, expected = unit(find(scales * jacobian)), unit(find(jacobian))
            assert_close(received * np.sign(received @ expected), expected)


def is_linear_in_the_scales(find, num_tasks):
    """As the tasks' gradients are multiplied by positive numbers, the direction depends on these linearly."""
    rng = np.random.default_rng(1)
    for jacobian in CASES[num_tasks]:
        first, second = rng.uniform(0.2, 2.0, (2, num_tasks, 1))
        assert_close(find((first + second) * jacobian), find(first * jacobian) + find(second * jacobian))


def does_not_conflict(find, num_tasks):
    """No task's loss rises along the step."""
    for jacobian in CASES[num_tasks]:
        found = find(jacobian)
        cosines = jacobian @ found / np.linalg.norm(jacobian, axis=1) / np.linalg.norm(found)
        assert np.all(cosines >= -1e-5), cosines
    for jacobian in STATIONARY[num_tasks]:  # the direction is next to nothing
        products = jacobian @ find(jacobian)
        sizes = np.linalg.norm(jacobian, axis=1) * np.max(np.linalg.norm(jacobian, axis=1))
        assert np.all(products >= -1e-5 * sizes), products / sizes


def improves_all_tasks(find, num_tasks):
    """Where no combination of the gradients is zero, every task's loss falls along the step."""
    for jacobian in CASES[num_tasks]:
        assert np.all(jacobian @ find(jacobian) > 0)


def improves_all_alike(find, num_tasks):
    """The direction has the same inner product with each task's gradient divided by its length."""
    for jacobian in CASES[num_tasks][:2]:
        products = jacobian @ find(jacobian) / np.linalg.norm(jacobian, axis=1)
        assert_close(products, np.full(num_tasks, products.mean()), tolerance=1e-4)


def vanishes_at_stationary_points(find, num_tasks):
    """Where a positive combination of the gradients is zero, so is the direction."""
    for jacobian in STATIONARY[num_tasks]:
        assert np.max(np.abs(find(jacobian))) < 1e-4 * np.max(np.abs(jacobian))


def is_the_sum_without_conflict(find, num_tasks):
    """Where no two gradients conflict, it is their sum."""
    jacobian = np.random.default_rng(0).uniform(size=(num_tasks, WIDTH))
    assert_close(find(jacobian), jacobian.sum(axis=0))


def is_a_mean(find, num_tasks):
    """For equal gradients it is their gradient: the weights sum to 1."""
    jacobian = np.tile(_RNG.normal(size=WIDTH), (num_tasks, 1))
    assert_close(find(jacobian), jacobian[0])


def does_not_outgrow_the_gradients(find, num_tasks):
    """It is no longer than the longest gradient: a convex combination."""
    for jacobian in CASES[num_tasks]:
        assert np.linalg.norm(find(jacobian)) <= np.max(np.linalg.norm(jacobian, axis=1)) * (1 + 1e-6)


def withstands_an_outlier(find, num_tasks):
    """One task's gradient, however far off, does not carry the direction with it."""
    if num_tasks < 5:
        return
    jacobian = 1.0 + 0.1 * np.random.default_rng(0).normal(size=(num_tasks, WIDTH))
    jacobian[2] = 1e6
    found = find(jacobian)
    assert np.max(np.abs(found / found.mean() - 1)) < 0.5
    assert np.linalg.norm(found) < 100


# --- claims about the weights of losses: each takes `find(losses) -> weights`, from a fresh state ---


def permutes_with_the_tasks(find):
    """The order of the tasks does not matter."""
    losses, order = inputs(3)[0], np.array([2, 0, 1])
    assert_close(find(losses[order]), find(losses)[order])


def does_not_look_at_the_losses(find):
    """The first weights are the same whatever the losses are."""
    assert_close(find(inputs(3, 0)[0]), find(inputs(3, 1)[0]))


def ignores_a_common_scale(find):
    """All losses multiplied by a number leave the weights as they are."""
    losses = inputs(3)[0]
    for factor in (1e-3, 1e3):
        assert_close(find(factor * losses), find(losses))


def evens_out_the_losses(find):
    """Weighted, all losses are of one size: the step does not depend on the unit that a task's loss is in."""
    losses = inputs(3)[0]
    weighted = find(losses) * losses
    assert_close(weighted, np.full(3, weighted.mean()))


def begins_with_equal_weights(find):
    """The first weights are the same for all tasks of one kind of loss."""
    weights = find(inputs(3)[0])
    assert_close(weights[1:], np.full(2, weights[1]))  # the first is a mean squared error


def sums_to_the_number_of_tasks(find):
    """The weights are on average 1."""
    assert_close(find(inputs(3)[0]).sum(), 3.0)


def sums_to_one(find):
    """The weights are a convex combination."""
    weights = find(inputs(3)[0])
    assert np.all(weights >= 0)
    assert_close(weights.sum(), 1.0)


OF_LOSSES = {
    permutes_with_the_tasks,
    does_not_look_at_the_losses,
    ignores_a_common_scale,
    evens_out_the_losses,
    begins_with_equal_weights,
    sums_to_the_number_of_tasks,
    sums_to_one,
}


def assert_close(received, expected, tolerance=1e-5):
    np.testing.assert_allclose(
        received, expected, rtol=tolerance, atol=tolerance * max(np.max(np.abs(expected)), 1e-30)
    )
