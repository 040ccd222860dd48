"""Auto-Lambda, against Adam by the paper's gradient, and on a problem whose gradient is differentiated numerically."""

import numpy as np
import pytest

from keras_mtl import balancers
from keras_mtl.balancers import AutoLambda
from tests.unit.balancers.loss._steps import COMMON, NUM_TASKS, STEPS, Adam, make, refuses, run


def new(**arguments):
    return make(AutoLambda, **{"learning_rate": 0.02, "initial": 0.3, **arguments})


def reference(steps, task_weights, learning_rate, initial):
    weights, adams, found = np.full(NUM_TASKS, initial), [Adam(learning_rate) for _ in range(NUM_TASKS)], []
    for step in steps:
        for task in np.flatnonzero(step["active"]):
            # the second stream's loss by lambda: of what the loss is multiplied by, times the task's own weight
            gradient = -0.1 * step["slopes"][task] * task_weights[task]
            weights[task] = adams[task].step(weights[task], gradient)
        found.append(np.where(step["active"], weights * task_weights, 0.0))
    return np.array(found)


@pytest.mark.parametrize("task_weights", [np.ones(4), np.array([0.5, 2.0, 0.0, 1.0])], ids=str)
def test_is_adam_on_the_gradient(task_weights):
    received = run(new(task_weights=task_weights), STEPS * 2)
    np.testing.assert_allclose(received, reference(STEPS * 2, task_weights, 0.02, 0.3), rtol=1e-8)


def test_the_direction_is_that_of_the_second_streams_loss():
    """Quadratic losses in two parameters; the trial step and its loss are carried out."""
    rng = np.random.default_rng(0)
    centres, other, parameters, rate = rng.normal(size=(4, 2)), rng.normal(size=(4, 2)), np.zeros(2), 0.3
    primary = np.array([1.0, 0.0, 1.0, 0.0])
    lambdas = np.full(4, 0.3)

    def ahead(lambdas):
        return parameters - rate * lambdas @ (parameters - centres)

    def second_stream(lambdas):
        return np.sum(primary * 0.5 * np.sum((ahead(lambdas) - other) ** 2, axis=1))

    expected = [(second_stream(lambdas + s) - second_stream(lambdas - s)) / 2e-6 for s in 1e-6 * np.eye(4)]
    slopes = (parameters - centres) @ (primary @ (ahead(lambdas) - other))
    np.testing.assert_allclose(-rate * slopes, expected, rtol=1e-6)  # what the engine is to hand over
    balancer = new(primary=["a", "c"])
    balancer.lookahead(slopes, rate, np.ones(4, bool))
    moved = np.asarray(balancer(np.ones(4), np.ones(4, bool))) - lambdas
    np.testing.assert_allclose(moved, -0.02 * np.sign(expected), rtol=1e-5)
    assert second_stream(lambdas + moved) < second_stream(lambdas)


def test_a_step_of_training_changes_nothing():
    balancer, active = new(), np.ones(4, bool)
    for losses in ([1.0] * 4, [5.0, 0.0, 1.0, 1e9]):
        np.testing.assert_array_equal(balancer(np.array(losses), active), 0.3)


def test_primary_tasks():
    task_weights = [0.5, 2.0, 3.0, 1.0]
    np.testing.assert_array_equal(new(task_weights=task_weights).primary_weights(), task_weights)
    chosen = new(primary=("d", "b"), task_weights=task_weights)
    np.testing.assert_array_equal(chosen.primary_weights(), [0, 2, 0, 1])
    assert chosen.get_config()["primary"] == ["d", "b"]
    with pytest.raises(ValueError, match=r"tasks of \['a', 'b', 'c', 'd'\]. Received: .*not expected: \['x'\]"):
        new(primary=["a", "x"])
    unbound = AutoLambda(primary=["a"])
    unbound.build((2,))
    with pytest.raises(ValueError, match="Call `bind` first"):
        unbound.primary_weights()


@pytest.mark.parametrize("gradients", ["sum", "upgrad", None])
def test_the_tasks_weights_count_on_the_second_stream_in_any_pair(gradients):
    """Where they are the preference of the gradient balancer, they multiply no weight, but losses there."""
    balancer, names = AutoLambda(), ["a", "b", "c"]
    behind = None if gradients is None else balancers.get(gradients)
    balancers.bind_pair(balancer, behind, names, [1.0, 5.0, 0.0], [None] * 3, lambda kind: 0)
    np.testing.assert_array_equal(balancer.primary_weights(), [1, 5, 0])
    multiplied = [1, 5, 0] if gradients != "upgrad" else [1, 1, 1]
    np.testing.assert_allclose(balancer(np.ones(3), np.ones(3, bool)), 0.1 * np.array(multiplied), rtol=1e-6)
    balancer.bind(names, [2.0, 2.0, 2.0], [None] * 3)
    np.testing.assert_array_equal(balancer.primary_weights(), [2, 2, 2])


def test_arguments_are_checked():
    refuses(AutoLambda, primary=[[], "a", 3, [1]], learning_rate=[-1.0], initial=[-0.1, "x"])
    assert (AutoLambda().primary, AutoLambda().learning_rate, AutoLambda().initial) == (None, 1e-4, 0.1)


@pytest.mark.parametrize("check", COMMON)
def test_common(check):
    check(lambda **arguments: new(primary=["a", "c"], **arguments))
