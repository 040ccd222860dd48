"""Gradient sign dropout, against its definition and by its distribution."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl.balancers import GradDrop
from tests.unit.balancers._properties import JACOBIANS, direction
from tests.unit.balancers.gradient import _shared


def reference(gradients, numbers, leak):
    """Algorithm 1 of the paper, with the identity as its function of the purity, a number at a time."""
    total = np.zeros(gradients.shape[1])
    for k in range(gradients.shape[1]):
        column = gradients[:, k]
        purity = 0.5 * (1 + column.sum() / np.abs(column).sum())
        for value in column:
            mask = (purity > numbers[k] and value > 0) or (purity < numbers[k] and value < 0)
            total[k] += (leak + (1 - leak) * mask) * value
    return total


@pytest.mark.parametrize("leak", [0.0, 0.3, 1.0])
def test_is_the_definition(leak):
    generator, balancer = keras.random.SeedGenerator(4), GradDrop(leak, seed=4, dtype="float64")
    for active in ([True] * 5, [True, False, True, True, False]):
        gradients = JACOBIANS["five"]
        numbers = np.array(keras.random.uniform((8,), seed=generator))
        expected = reference(gradients * np.array(active)[:, None], numbers, leak)
        np.testing.assert_allclose(direction(balancer, gradients, active), expected, atol=1e-12)


def test_the_distribution():
    """Of 3 and -1, 3 is picked with probability 3/4; each number of the gradient on its own."""
    gradients = tf.constant(np.tile([[3.0], [-1.0]], 500))
    balancer = GradDrop(seed=0, dtype="float64")
    step = tf.function(balancer.direction)
    found = np.array([step(gradients) for _ in range(40)])
    assert set(np.unique(found)) == {-1.0, 3.0}
    assert np.mean(found == 3) == pytest.approx(0.75, abs=0.01)
    np.testing.assert_allclose(np.mean(found == 3, axis=0), 0.75, atol=0.35)  # over the steps
    np.testing.assert_allclose(np.mean(found == 3, axis=1), 0.75, atol=0.1)  # over the numbers


def test_where_the_tasks_agree_nothing_is_dropped():
    gradients = np.abs(JACOBIANS["five"]) * np.where(np.arange(8) % 2, 1, -1)
    for seed in range(5):
        found = direction(GradDrop(seed=seed, dtype="float64"), gradients)
        np.testing.assert_allclose(found, gradients.sum(axis=0), rtol=1e-12)


def test_with_a_full_leak_it_is_the_sum():
    np.testing.assert_allclose(direction(GradDrop(1.0), JACOBIANS["five"]), JACOBIANS["five"].sum(axis=0), rtol=1e-4)


def test_permutes_and_scales():
    gradients, order = JACOBIANS["five"], np.array([3, 1, 4, 0, 2])
    expected = direction(GradDrop(seed=1, dtype="float64"), gradients)
    np.testing.assert_allclose(direction(GradDrop(seed=1, dtype="float64"), gradients[order]), expected, atol=1e-12)
    found = direction(GradDrop(seed=1, dtype="float64"), 1e6 * gradients)
    np.testing.assert_allclose(found, 1e6 * expected, rtol=1e-12)


def test_compiles():
    """XLA draws other numbers than eager mode."""
    balancer, gradients = GradDrop(seed=0), tf.constant([[3.0] * 50, [-1.0] * 50, [100.0] * 50])
    balancer.build(gradients.shape)
    step = tf.function(balancer.direction, jit_compile=True)
    first, second = (np.array(step(gradients, tf.constant([True, True, False]))) for _ in range(2))
    assert set(np.unique([first, second])) == {-1.0, 3.0}
    assert np.any(first != second)


@pytest.mark.parametrize(
    "check",
    [
        _shared.assert_finite_and_still_without_tasks,
        _shared.assert_absent_gradient_has_no_influence,
        _shared.assert_state_is_handed_on,
    ],
)
def test_keeps_to_the_contract(check):
    check(functools.partial(GradDrop, 0.1, seed=2))


def test_config():
    _shared.assert_round_trip(GradDrop(0.5, seed=3), leak=0.5, seed=3)


@pytest.mark.parametrize("leak", [-0.1, 1.5, True])
def test_leak_is_checked(leak):
    with pytest.raises(ValueError, match="Parameter `leak` should be a number from 0 to 1. Received: leak="):
        GradDrop(leak)


def test_seed_is_checked():
    with pytest.raises(ValueError, match="`seed` .*integer"):
        GradDrop(seed=1.5)


class Halved:
    def call(self, jacobian, active):
        return super().call(jacobian, active) / 2

    def direction(self, jacobian, active=None):
        return super().direction(jacobian, active) / 2


@pytest.mark.parametrize("name", ["call", "direction"])
def test_only_its_own_call_goes_number_by_number(name):
    replaced = {name: vars(Halved)[name]}
    assert GradDrop.by_number
    assert type("Renamed", (GradDrop,), {}).by_number
    assert not type("Own", (GradDrop,), replaced).by_number
    assert not type("Mixed", (type("Mixin", (), replaced), GradDrop), {}).by_number
    assert type("Said", (GradDrop,), {**replaced, "by_number": True}).by_number
