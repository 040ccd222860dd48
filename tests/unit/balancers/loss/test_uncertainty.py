"""Weights learnt from uncertainty, against the likelihoods written out in NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl.balancers import Uncertainty
from tests.unit.balancers._properties import total

SQUARED, OTHER = keras.losses.MeanSquaredError(), keras.losses.SparseCategoricalCrossentropy()
LOSSES = np.array([2.0, 0.3, 5.0])
STATE = np.array([0.4, -1.1, 2.0])
TASK_WEIGHTS = np.array([1.0, 0.5, 3.0])
GAUSSIAN = [True, False, True]


def likelihood(losses, log_variance, task_weights, gaussian, active):
    """The negative log-likelihood of the paper, term by term, with sigma where the paper has it."""
    value = 0.0
    for loss, s, weight, is_gaussian, counts in zip(losses, log_variance, task_weights, gaussian, active, strict=True):
        sigma = np.sqrt(np.exp(s))
        data_term = loss / (2 * sigma**2) if is_gaussian else loss / sigma**2
        if counts:
            value += weight * (data_term + np.log(sigma))
    return value


def make(state=STATE, task_weights=TASK_WEIGHTS, gaussian=GAUSSIAN, **arguments):
    balancer = Uncertainty(**{"dtype": "float64", **arguments})
    names = [f"task_{index}" for index in range(len(state))]
    balancer.bind(names, task_weights, [SQUARED if is_gaussian else OTHER for is_gaussian in gaussian])
    balancer.log_variance.assign(state)
    return balancer


def gradient(balancer, losses=LOSSES, active=(True, True, True)):
    with tf.GradientTape() as tape:
        value = total(balancer, losses, active)
    return np.asarray(tape.gradient(value, balancer.log_variance.value))


ACTIVE = [[True, True, True], [True, False, True], [False, True, False], [False, False, False]]


@pytest.mark.parametrize("active", ACTIVE, ids=str)
@pytest.mark.parametrize("gaussian", [[True, False, True], [True, True, True], [False, False, False]], ids=str)
def test_the_total_is_the_likelihood(gaussian, active):
    expected = likelihood(LOSSES, STATE, TASK_WEIGHTS, gaussian, active)
    np.testing.assert_allclose(total(make(gaussian=gaussian), LOSSES, active), expected, rtol=1e-12)
    np.testing.assert_allclose(
        total(make(gaussian=gaussian, dtype="float32"), LOSSES, active), expected, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("active", ACTIVE, ids=str)
def test_its_gradient_is_that_of_the_likelihood(active):
    def value(state):
        return likelihood(LOSSES, state, TASK_WEIGHTS, GAUSSIAN, active)

    expected = [(value(STATE + step) - value(STATE - step)) / 2e-6 for step in 1e-6 * np.eye(3)]
    received = gradient(make(), active=active)
    np.testing.assert_allclose(received, expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(received[~np.array(active)], 0)


def test_no_gradient_of_the_losses_is_lost():
    losses = tf.constant(LOSSES)
    balancer = make()
    with tf.GradientTape() as tape:
        tape.watch(losses)
        value = tf.reduce_sum(balancer(tf.stop_gradient(losses), tf.constant([True] * 3)) * losses)
    expected = TASK_WEIGHTS * np.where(GAUSSIAN, 0.5, 1.0) * np.exp(-STATE)
    np.testing.assert_allclose(tape.gradient(value, losses), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "loss, factor",
    [
        (keras.losses.MeanSquaredError(), 0.5),
        (keras.losses.MeanAbsoluteError(), 1.0),
        (keras.losses.MeanSquaredLogarithmicError(), 1.0),
        (keras.losses.Huber(), 1.0),
        (keras.losses.BinaryCrossentropy(), 1.0),
        (keras.losses.SparseCategoricalCrossentropy(), 1.0),
        (None, 1.0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_factor_is_a_half_for_the_squared_error_alone(loss, factor):
    balancer = Uncertainty()
    balancer.bind(["a", "b"], [1.0, 1.0], [OTHER, loss])
    np.testing.assert_array_equal(balancer(np.ones(2, "float32"), np.ones(2, bool)), [1.0, factor])


def test_the_factor_of_a_class_of_ones_own():
    class OwnSquaredError(keras.losses.MeanSquaredError):
        pass

    balancer = Uncertainty()
    balancer.bind(["a"], [1.0], [OwnSquaredError()])
    np.testing.assert_array_equal(balancer(np.ones(1, "float32"), np.ones(1, bool)), [0.5])


@pytest.mark.parametrize("gaussian, variance", [(True, LOSSES), (False, 2 * LOSSES)], ids=["gaussian", "other"])
def test_the_minimum(gaussian, variance):
    """At the squared error for loss / (2 variance), and at twice the loss for loss / variance."""
    kinds = [gaussian] * 3
    np.testing.assert_allclose(gradient(make(np.log(variance), gaussian=kinds)), np.zeros(3), atol=1e-12)
    least = float(total(make(np.log(variance), gaussian=kinds), LOSSES))
    for step in (*np.eye(3), *-np.eye(3)):
        assert float(total(make(np.log(variance) + 0.1 * step, gaussian=kinds), LOSSES)) > least + 1e-3


def test_an_optimizer_finds_the_minimum():
    balancer, optimizer = make(np.zeros(3), np.ones(3)), keras.optimizers.Adam(0.1)
    for _ in range(300):
        optimizer.apply([tf.constant(gradient(balancer))], [balancer.log_variance])
    np.testing.assert_allclose(np.exp(balancer.log_variance), LOSSES * [1, 2, 1], rtol=1e-3)


def test_the_regularization_masks_tasks_that_are_not_active():
    balancer = make()
    for active in ACTIVE:
        expected = 0.5 * np.sum((TASK_WEIGHTS * STATE)[np.array(active)])
        np.testing.assert_allclose(balancer.regularization(np.array(active)), expected, rtol=1e-12)


def test_begins_with_variances_of_one_and_learns_them():
    balancer = Uncertainty()
    balancer.bind(["a", "b"], [1.0, 1.0], [OTHER, OTHER])
    assert [weight.name for weight in balancer.trainable_weights] == ["log_variance"]
    np.testing.assert_array_equal(balancer.log_variance, [0, 0])
    assert Uncertainty(trainable=False).trainable_weights == []


def test_factors_are_ones_without_tasks():
    np.testing.assert_array_equal(Uncertainty()(np.array([2.0, 0.5], "float32"), np.ones(2, bool)), [1, 1])


def test_other_tasks_bring_other_factors():
    balancer = make(gaussian=[True, True, True])
    balancer.bind(["a", "b", "c"], TASK_WEIGHTS, [OTHER, SQUARED, OTHER])
    expected = TASK_WEIGHTS * [1, 0.5, 1] * np.exp(-STATE)
    np.testing.assert_allclose(balancer(LOSSES, np.ones(3, bool)), expected, rtol=1e-12)


def test_a_variance_that_falls_without_an_end_stays_finite():
    balancer = make(np.array([-1e4, 0.0, -59.0]), dtype="float32")
    found = np.asarray(balancer(np.array([1e3, 1.0, 1.0], "float32"), np.ones(3, bool)))
    expected = TASK_WEIGHTS * np.where(GAUSSIAN, 0.5, 1.0) * np.exp([60.0, 0.0, 59.0])
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert np.isfinite(gradient(balancer)).all()


def test_a_variance_that_fell_too_far_finds_back_once_the_loss_has_grown():
    balancer = make(np.array([-62.0, 0.0, 0.0]), dtype="float32")
    found = np.asarray(gradient(balancer))
    assert found[0] < 0  # a step of descent raises it


def test_is_not_of_use_for_one_task():
    assert not Uncertainty.useful_for_one_task
