"""What each method is said to do by its paper, or by what it is. What one does not claim is not asked of it."""

import functools

import numpy as np
import pytest

from keras_mtl import balancers
from tests.unit.balancers._any import Compiled, inputs, names_of
from tests.unit.balancers._claims import (
    CASES,
    OF_LOSSES,
    WIDTH,
    begins_with_equal_weights,
    does_not_conflict,
    does_not_look_at_the_losses,
    does_not_outgrow_the_gradients,
    evens_out_the_losses,
    ignores_a_common_scale,
    ignores_the_scale,
    ignores_the_scale_of_one_task,
    improves_all_alike,
    improves_all_tasks,
    is_a_mean,
    is_homogeneous,
    is_linear_in_the_scales,
    is_the_sum_without_conflict,
    permutes,
    permutes_where_no_order_matters,
    permutes_with_the_tasks,
    points_regardless_of_the_scale_of_one_task,
    rotates,
    sums_to_one,
    sums_to_the_number_of_tasks,
    vanishes_at_stationary_points,
    withstands_an_outlier,
)

_OF_ANGLES = {permutes, rotates, is_homogeneous}

CLAIMS = {
    # directions
    "sum": {*_OF_ANGLES, is_linear_in_the_scales, is_the_sum_without_conflict},
    "mean": {*_OF_ANGLES, is_linear_in_the_scales, is_a_mean, does_not_outgrow_the_gradients},
    "mgda": {*_OF_ANGLES, does_not_conflict, improves_all_tasks, vanishes_at_stationary_points, is_a_mean}
    | {does_not_outgrow_the_gradients},
    "pcgrad": {permutes_where_no_order_matters, rotates, is_homogeneous, is_linear_in_the_scales}
    | {is_the_sum_without_conflict},
    "gradvac": {permutes_where_no_order_matters, rotates, is_homogeneous, is_the_sum_without_conflict},
    "cagrad": _OF_ANGLES,
    "imtl_g": {*_OF_ANGLES, is_a_mean, improves_all_alike, points_regardless_of_the_scale_of_one_task},
    "nash_mtl": {permutes, rotates, does_not_conflict, improves_all_tasks}
    | {ignores_the_scale, ignores_the_scale_of_one_task},
    "aligned_mtl": {*_OF_ANGLES, is_a_mean},
    "fairgrad": {permutes, rotates, does_not_conflict, improves_all_tasks},
    "upgrad": {*_OF_ANGLES, is_linear_in_the_scales, does_not_conflict, vanishes_at_stationary_points, is_a_mean},
    "dual_proj": {*_OF_ANGLES, does_not_conflict, vanishes_at_stationary_points, is_a_mean},
    "config": {*_OF_ANGLES, improves_all_alike, improves_all_tasks, points_regardless_of_the_scale_of_one_task}
    | {is_linear_in_the_scales},
    "sdmgrad": _OF_ANGLES,
    "modo": {permutes, rotates, is_a_mean, does_not_outgrow_the_gradients},
    "moco": {permutes, rotates},
    "krum": {*_OF_ANGLES, is_a_mean, does_not_outgrow_the_gradients, withstands_an_outlier},
    "random": {rotates, is_homogeneous, does_not_outgrow_the_gradients, is_a_mean, is_linear_in_the_scales},
    "graddrop": {permutes, is_homogeneous, is_the_sum_without_conflict},
    "trimmed_mean": {permutes, is_homogeneous, is_a_mean, withstands_an_outlier},
    "db_mtl": _OF_ANGLES,
    "smoothed": _OF_ANGLES,  # the first step is that of the balancer within
    # weights of losses
    "equal": {permutes_with_the_tasks, does_not_look_at_the_losses, begins_with_equal_weights},
    "fixed": {permutes_with_the_tasks, does_not_look_at_the_losses, begins_with_equal_weights},
    "uncertainty": {does_not_look_at_the_losses, begins_with_equal_weights},
    "uncertainty_so": {permutes_with_the_tasks, sums_to_one},
    "dwa": {permutes_with_the_tasks, does_not_look_at_the_losses, begins_with_equal_weights}
    | {sums_to_the_number_of_tasks},
    "rlw": {does_not_look_at_the_losses, sums_to_one},
    "gls": {permutes_with_the_tasks, ignores_a_common_scale, evens_out_the_losses},
    "scale_invariant": {permutes_with_the_tasks, evens_out_the_losses},
    "imtl_l": {permutes_with_the_tasks, does_not_look_at_the_losses, begins_with_equal_weights},
    "stch": {permutes_with_the_tasks, evens_out_the_losses},  # its warm-up, on logarithms
    "famo": {permutes_with_the_tasks, evens_out_the_losses, ignores_a_common_scale, sums_to_one},
    "go4align": {permutes_with_the_tasks},
    "auto_lambda": {permutes_with_the_tasks, does_not_look_at_the_losses, begins_with_equal_weights},
    "gradnorm": {does_not_look_at_the_losses, begins_with_equal_weights, sums_to_the_number_of_tasks},
    "excess_mtl": {does_not_look_at_the_losses, begins_with_equal_weights, sums_to_one},
}


@pytest.fixture(scope="module")
def compiled():
    """One trace for all claims of a balancer."""
    return functools.cache(lambda name, num_tasks: Compiled(name, num_tasks, dtype="float64", num_gradients=WIDTH))


@pytest.mark.parametrize("name", balancers.names())
def test_every_balancer_has_a_row(name):
    assert name in CLAIMS
    kind = OF_LOSSES if name in names_of(balancers.LossBalancer) else set().union(*CLAIMS.values()) - OF_LOSSES
    assert CLAIMS[name] <= kind


def test_every_claim_can_be_refuted():
    """By a direction and weights that have no virtue at all."""
    for claim in set().union(*CLAIMS.values()):
        arguments = (bad_weights,) if claim in OF_LOSSES else (bad_direction, 5)
        with pytest.raises(AssertionError):
            claim(*arguments)


def bad_weights(losses):
    return np.array([losses[0] ** 2 + 5, -losses[1], 3.0])


def bad_direction(jacobian):
    return jacobian.sum(axis=0) ** 2 - 5 * jacobian[0] + 1


def rows(base):
    found = [(name, claim) for name in names_of(base) for claim in sorted(CLAIMS.get(name, ()), key=_name)]
    return [pytest.param(name, claim, id=f"{name}-{claim.__name__}") for name, claim in found]


def _name(function):
    return function.__name__


@pytest.mark.parametrize("name, claim", rows(balancers.DirectionBalancer))
@pytest.mark.parametrize("num_tasks", CASES)
def test_directions(compiled, name, claim, num_tasks):
    if num_tasks < balancers.classes()[name].min_tasks:
        return
    balancer = compiled(name, num_tasks)
    claim(lambda jacobian: balancer.reset()(np.ones(num_tasks), jacobian), num_tasks)


@pytest.mark.parametrize("name, claim", rows(balancers.LossBalancer))
def test_weights_of_losses(compiled, name, claim):
    balancer = compiled(name, 3)
    claim(lambda losses: balancer.reset()(losses, inputs(3, num_gradients=WIDTH)[1]))
