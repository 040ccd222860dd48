"""What a balancer remembers: made once, handed on, left alone where a task has no label or a gradient is not finite."""

import keras
import numpy as np
import pytest

from keras_mtl import balancers
from tests.models import others_slow
from tests.unit.balancers._any import (
    NUM_GRADIENTS,
    Compiled,
    assert_same_state,
    bind,
    bound,
    call,
    inputs,
    is_random,
    new,
    restore,
    state,
    usual_number_of_tasks,
)


@pytest.fixture(params=balancers.names())
def name(request):
    return request.param


def test_build_again_changes_nothing(name):
    num_tasks = usual_number_of_tasks(name)
    once, twice = new(name), new(name)
    for balancer in (once, twice, twice):
        balancer.build((num_tasks, NUM_GRADIENTS))
    assert [variable.shape for variable in twice.variables] == [variable.shape for variable in once.variables]
    assert (twice.num_tasks, twice.num_gradients) == (num_tasks, NUM_GRADIENTS)


def test_bind_builds_and_to_bind_again_keeps_the_state(name):
    balancer = bound(name)
    num_tasks = balancer.num_tasks
    assert balancer.built
    for weight in balancer.weights:
        if "float" in str(weight.dtype):
            weight.assign(weight + 0.5)
    identities, before = [id(variable) for variable in balancer.variables], state(balancer)
    bind(balancer, num_tasks, weights=[2.0] * num_tasks)
    assert [id(variable) for variable in balancer.variables] == identities
    assert_same_state(state(balancer), before)


def test_bind_refuses_another_number_of_tasks(name):
    balancer = bound(name)
    with pytest.raises(ValueError, match=r"has state for \d tasks. Received: \d tasks. Make a new one"):
        bind(balancer, balancer.num_tasks + 1)


def test_bind_refuses_fewer_tasks_than_it_needs(name):
    balancer = new(name)
    if balancer.min_tasks == 1:
        bind(balancer, 1)
    else:
        with pytest.raises(ValueError, match=f"needs at least {balancer.min_tasks} tasks"):
            bind(balancer, balancer.min_tasks - 1)


def test_bind_refuses_another_length_of_the_gradients(name):
    balancer = bound(name)
    if balancer.keeps_gradients:
        with pytest.raises(ValueError, match=f"has state for {NUM_GRADIENTS} shared parameters"):
            bind(balancer, balancer.num_tasks, num_gradients=NUM_GRADIENTS + 1)
    else:
        bind(balancer, balancer.num_tasks, num_gradients=NUM_GRADIENTS + 1)


@pytest.mark.parametrize("by", ["own variables", "weights"])
def test_state_is_handed_on(name, by):
    first, second = Compiled(name), Compiled(name)
    num_tasks = first.balancer.num_tasks
    for seed in range(2):
        first(*inputs(num_tasks, seed))
    end_epoch(first.balancer)
    if by == "own variables":
        for source, target in zip(parts(first.balancer), parts(second.balancer), strict=True):
            store = {}
            source.save_own_variables(store)
            target.load_own_variables({key: np.array(value) for key, value in store.items()})
    else:
        restore(second.balancer, state(first.balancer))
    for seed in range(2, 7):
        np.testing.assert_array_equal(second(*inputs(num_tasks, seed)), first(*inputs(num_tasks, seed)))
    assert_same_state(state(second.balancer), state(first.balancer))


def parts(balancer):
    """The balancer and those within it: Keras saves each by itself."""
    return [balancer, *(part for part in vars(balancer).values() if isinstance(part, balancers.Balancer))]


def end_epoch(balancer, active=None):
    if getattr(balancer, "needs_epoch_end", False):
        active = np.ones(balancer.num_tasks, bool) if active is None else active
        losses = keras.ops.convert_to_tensor(np.where(active, inputs(balancer.num_tasks, 9)[0], 0.0), "float32")
        balancer.on_epoch_end(losses, keras.ops.convert_to_tensor(active))


def test_that_of_a_task_that_is_not_active_is_left_alone(name):
    compiled = Compiled(name)
    balancer = compiled.balancer
    num_tasks = balancer.num_tasks
    for seed in range(3):
        compiled(*inputs(num_tasks, seed))
        end_epoch(balancer)
    for absent in ({1}, {0, num_tasks - 1}, set(range(num_tasks))):
        active, before = np.array([task not in absent for task in range(num_tasks)]), state(balancer)
        compiled(*inputs(num_tasks, 4), active)
        end_epoch(balancer, active)
        for task in absent:
            assert_same_state(state(balancer), before, task=(task, num_tasks))
    streams = [path for path in before if path not in state(balancer, seeds=False)]
    after = state(balancer)
    for path in streams:  # of which no part belongs to a task: no task was active in the last step
        np.testing.assert_array_equal(after[path], before[path], err_msg=path)


def test_that_of_active_tasks_is_not(name):
    """So that the test above has something to compare: most state changes in five steps and two epochs."""
    compiled = Compiled(name)
    before = state(compiled.balancer)
    for seed in range(5):
        compiled(*inputs(compiled.balancer.num_tasks, seed))
        if seed % 2:
            end_epoch(compiled.balancer)
    learnt = {str(index) for index, variable in enumerate(compiled.balancer.variables) if variable.trainable}
    for path, value in state(compiled.balancer).items():
        if path.split(":")[0] not in learnt and value.size > 1:  # the optimizer moves what is learnt
            assert np.any(value != before[path]), path


@pytest.mark.parametrize(
    "name", [name for name, cls in balancers.classes().items() if not issubclass(cls, balancers.LossBalancer)]
)
def test_gradients_that_are_not_finite_leave_it_and_give_nothing(name):
    compiled = Compiled(name)
    num_tasks = compiled.balancer.num_tasks
    for seed in range(2):
        compiled(*inputs(num_tasks, seed))
    before = state(compiled.balancer)
    values = [float("nan"), float("inf"), -float("inf")]
    if isinstance(compiled.balancer, balancers.GramianBalancer) and compiled.balancer.needs_gramian:
        values.append(1e25)  # its square has no place in float32
    for value in values:
        losses, jacobian = inputs(num_tasks, 5)
        jacobian[1, 2] = value
        assert np.all(np.isnan(compiled(losses, jacobian)))
        assert_same_state(state(compiled.balancer), before)
        # Those of a task that does not count do not matter.
        found = compiled(losses, jacobian, np.arange(num_tasks) != 1)
        assert np.all(np.isfinite(found))
        restore(compiled.balancer, before)
    assert np.all(np.isfinite(compiled(*inputs(num_tasks, 6))))


@pytest.mark.parametrize(
    "name", [name for name, cls in balancers.classes().items() if issubclass(cls, balancers.GradientNormBalancer)]
)
def test_gradient_norms_that_are_not_finite_leave_it_and_give_nothing(name):
    compiled = Compiled(name)
    num_tasks = compiled.balancer.num_tasks
    compiled(*inputs(num_tasks))
    before = state(compiled.balancer, seeds=False)
    losses, jacobian = inputs(num_tasks, 5)
    jacobian[1, 2] = float("nan")
    assert np.all(np.isnan(compiled(losses, jacobian)))
    assert_same_state(state(compiled.balancer, seeds=False), before)
    assert np.all(np.isfinite(compiled(losses, jacobian, np.arange(num_tasks) != 1)))


@pytest.mark.parametrize("name", others_slow(balancers.names()))
def test_in_eager_mode_in_a_graph_and_by_xla_it_is_the_same(name):
    eager = bound(name)
    graph, xla = Compiled(name), Compiled(name, jit_compile=True)
    num_tasks = eager.num_tasks
    active = np.arange(num_tasks) != (1 if num_tasks > eager.min_tasks else num_tasks)
    for seed, present in enumerate([np.ones(num_tasks, bool), active, active]):
        losses, jacobian = inputs(num_tasks, seed)
        tensors = (keras.ops.convert_to_tensor(value, "float32") for value in (losses, jacobian))
        expected = np.asarray(call(eager, *tensors, keras.ops.convert_to_tensor(present)))
        for compiled in (graph, xla):
            found = compiled(losses, jacobian, present)
            if compiled is xla and is_random(eager):  # XLA has random numbers of its own
                assert np.all(np.isfinite(found))
            else:
                np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    for compiled in (graph,) if is_random(eager) else (graph, xla):
        for path, value in state(compiled.balancer).items():
            np.testing.assert_allclose(value, state(eager)[path], rtol=1e-3, atol=1e-4, err_msg=path)
