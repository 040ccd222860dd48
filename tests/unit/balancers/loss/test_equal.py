"""The plain sum of the losses."""

import numpy as np

from keras_mtl.balancers import Equal
from tests.unit.balancers._properties import total


def call(balancer, losses, active=(True, True)):
    return np.asarray(balancer(np.asarray(losses, "float32"), np.asarray(active)))


def test_weights_are_the_tasks_own_whatever_the_losses():
    balancer = Equal()
    balancer.bind(["a", "b"], [0.25, 3.0], [None, None])
    for losses in ([2.0, 0.5], [0.0, 1e9], [-1.0, np.inf]):
        np.testing.assert_array_equal(call(balancer, losses), [0.25, 3.0])
    np.testing.assert_array_equal(call(balancer, [1.0, 1.0], [False, True]), [0, 3])


def test_weights_are_ones_without_tasks():
    np.testing.assert_array_equal(call(Equal(), [2.0, 0.5]), [1, 1])


def test_adds_nothing_and_has_nothing_to_train():
    balancer = Equal()
    balancer.bind(["a", "b"], [0.25, 3.0], [None, None])
    assert balancer.weights == []
    assert float(total(balancer, [2.0, 0.5])) == 2.0
    assert float(total(balancer, [2.0, 0.5], [True, False])) == 0.5


def test_is_of_use_for_one_task():
    assert Equal.useful_for_one_task
