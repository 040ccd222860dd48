"""Sequences of steps and epochs, and what every balancer of losses that has a state is held to on them."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import balancers

NUM_TASKS, NUM_GRADIENTS = 4, 6
NAMES = ["a", "b", "c", "d"]
_RNG = np.random.default_rng(5)
#: The losses, whether each task is active, the losses after the step, the tasks' gradients, and the slopes.
STEPS = [
    {
        "losses": _RNG.uniform(0.2, 3.0, NUM_TASKS) * active,
        "active": np.array(active),
        "after": _RNG.uniform(0.2, 3.0, NUM_TASKS) * active,
        "jacobian": _RNG.normal(size=(NUM_TASKS, NUM_GRADIENTS)) * np.array(active)[:, None],
        "slopes": _RNG.normal(size=NUM_TASKS) * active,
    }
    for active in (
        [True, True, True, True],
        [True, True, False, True],
        [True, False, False, True],
        [True, True, True, True],
        [False, True, True, True],
        [True, True, True, True],
        [False, False, True, False],
        [False, False, False, False],
        [True, True, True, True],
    )
]


def make(cls, *, task_weights=(1.0,) * NUM_TASKS, **arguments):
    balancer = cls(**{"dtype": "float64", **arguments})
    balancer.bind(NAMES, task_weights, [None] * NUM_TASKS, NUM_GRADIENTS)
    return balancer


def one(balancer, step, call=None):
    """One step with every hook, as the engine calls them; each step ends an epoch."""
    call = call or balancer
    values = {
        key: tf.constant(value, "bool" if key == "active" else balancer.compute_dtype) for key, value in step.items()
    }
    if isinstance(balancer, balancers.BilevelBalancer):
        balancer.lookahead(values["slopes"], 0.1, values["active"])
    rest = [values["jacobian"]] if isinstance(balancer, balancers.GradientNormBalancer) else []
    weights = np.asarray(call(values["losses"], values["active"], *rest))
    if balancer.needs_after_step:
        balancer.after_step(values["after"], values["active"])
    if balancer.needs_epoch_end:
        balancer.on_epoch_end(values["losses"], values["active"])
    return weights


def run(balancer, steps=STEPS, call=None):
    """The weights of each step, `[num_steps, num_tasks]`."""
    return np.array([one(balancer, step, call) for step in steps])


def reorder(step, order):
    return {key: value[order] for key, value in step.items()}


def scaled(step, factors):
    """The same step, where each loss has another unit."""
    factors = np.asarray(factors)
    by_task = {key: step[key] * factors for key in ("losses", "after", "slopes")}
    return {**step, **by_task, "jacobian": step["jacobian"] * factors[:, None]}


def softmax(logits, active):
    found = np.zeros(len(logits))
    if np.any(active):
        powers = np.exp(logits[active] - np.max(logits[active]))
        found[active] = powers / np.sum(powers)
    return found


class Adam:
    """The algorithm of the paper, for one number."""

    def __init__(self, learning_rate):
        self.learning_rate, self.m, self.v, self.t = learning_rate, 0.0, 0.0, 0

    def step(self, value, gradient):
        self.t += 1
        self.m = 0.9 * self.m + 0.1 * gradient
        self.v = 0.999 * self.v + 0.001 * gradient**2
        m, v = self.m / (1 - 0.9**self.t), self.v / (1 - 0.999**self.t)
        return value - self.learning_rate * m / (np.sqrt(v) + 1e-8)


# --- what each file claims: `new(**arguments)` makes a bound balancer, arguments other than the defaults ---


def permutes_with_the_tasks(new):
    expected, order = run(new()), [2, 0, 3, 1]
    received = run(new(), [reorder(step, order) for step in STEPS])
    np.testing.assert_allclose(received, expected[:, order], rtol=1e-10, atol=1e-12)


def an_absent_task_weighs_nothing_and_keeps_its_state(new):
    balancer = new()
    for step in STEPS:
        before = balancer.get_weights()
        weights = one(balancer, step)
        np.testing.assert_array_equal(weights[~step["active"]], 0)
        for old, value in zip(before, balancer.get_weights(), strict=True):
            if old.shape[:1] == (NUM_TASKS,):
                np.testing.assert_array_equal(value[~step["active"]], old[~step["active"]])


def an_absent_task_has_no_influence(new):
    """Whatever is said of a task that is not active, and as if it had never been there."""
    steps = [
        {**step, "active": step["active"] & [True, True, True, False]} for step in STEPS if np.any(step["active"][:3])
    ]
    noise = {"losses": 7.0, "after": 0.1, "slopes": -5.0, "jacobian": 3.0}
    other = [
        {
            key: value
            if key == "active"
            else np.where((step["active"].T if value.ndim == 1 else step["active"][:, None]), value, noise[key])
            for key, value in step.items()
        }
        for step in steps
    ]
    np.testing.assert_allclose(run(new(), other), run(new(), steps), rtol=1e-12)


def finite_for_extreme_losses(new):
    extremes = [
        [0, 0, 0, 0],
        [1e-38, 1e15, 1, 0],
        [1e15, 1e-38, 1e15, 0],
        [1e30, 1e-30, 2, 1],
        [-1, -1e15, 1, 0],
        [1] * 4,
    ]
    active = np.ones(NUM_TASKS, bool)
    for dtype in ("float32", "float64"):
        balancer = new(dtype=dtype)
        for seed, losses in enumerate([*extremes, *extremes]):
            losses = np.array(losses, float)
            jacobian = np.random.default_rng(seed).normal(size=(NUM_TASKS, NUM_GRADIENTS)) * losses[:, None]
            step = {"losses": losses, "active": active, "after": losses[::-1], "jacobian": jacobian, "slopes": losses}
            assert np.all(np.isfinite(one(balancer, step))), (dtype, losses)
            assert all(np.all(np.isfinite(value)) for value in balancer.get_weights()), (dtype, losses)


def a_loss_that_is_not_a_number_leaves_the_state(new):
    balancer, other = new(), new()
    bad = {**STEPS[0], **{key: np.array([1.0, np.nan, 2.0, 3.0]) for key in ("losses", "after", "slopes")}}
    one(balancer, bad)
    one(other, {**bad, "active": np.array([True, False, True, True])})
    for value, expected in zip(balancer.get_weights(), other.get_weights(), strict=True):
        if value.shape[:1] == (NUM_TASKS,):  # what is remembered until the next step may be that it is none
            np.testing.assert_allclose(value, np.where(np.isnan(value), value, expected), rtol=1e-12)
    np.testing.assert_allclose(one(balancer, STEPS[3]), one(other, STEPS[3]), rtol=1e-12)
    for value, expected in zip(balancer.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-12)
    assert np.all(np.isfinite(run(balancer)))


def by_xla_as_in_eager_mode(new):
    expected = run(new())
    balancer = new()
    np.testing.assert_allclose(run(balancer, call=tf.function(balancer, jit_compile=True)), expected, rtol=1e-9)


def config_round_trip(new):
    balancer = new()
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(balancer)))
    found = keras.saving.deserialize_keras_object(config)
    assert type(found) is type(balancer)
    assert found.get_config() == balancer.get_config()
    found.bind(NAMES, [1.0] * NUM_TASKS, [None] * NUM_TASKS, NUM_GRADIENTS)
    np.testing.assert_array_equal(run(found), run(balancer))


def state_is_handed_over(new):
    first, second = new(), new()
    run(first, STEPS[:5])
    store = {}
    first.save_own_variables(store)
    second.load_own_variables({key: np.array(value) for key, value in store.items()})
    np.testing.assert_array_equal(run(second, STEPS[5:]), run(first, STEPS[5:]))


def the_tasks_weights_multiply_it(new):
    task_weights = [0.5, 2.0, 0.0, 3.0]
    expected = one(new(), STEPS[0]) * task_weights
    np.testing.assert_allclose(one(new(task_weights=task_weights), STEPS[0]), expected, rtol=1e-6)


COMMON = [
    permutes_with_the_tasks,
    an_absent_task_weighs_nothing_and_keeps_its_state,
    an_absent_task_has_no_influence,
    finite_for_extreme_losses,
    a_loss_that_is_not_a_number_leaves_the_state,
    by_xla_as_in_eager_mode,
    config_round_trip,
    state_is_handed_over,
    the_tasks_weights_multiply_it,
]


def refuses(cls, **arguments):
    """Each argument with each of its values."""
    for name, values in arguments.items():
        for value in values:
            with pytest.raises(ValueError, match=f"`{name}.* Received: "):
                cls(**{name: value})
