"""What every balancer of gradients keeps to."""

import numpy as np
import pytest

from keras_mtl import balancers
from tests.unit.balancers._any import Compiled, bound, inputs, is_random, names_of, new, state, usual_number_of_tasks
from tests.unit.balancers._properties import JACOBIANS, direction, weights

WIDTH = 8
# As few traces as can be: all cases for a number of tasks have one shape. Zeros at the end change no inner product.
PADDED = {name: np.pad(case, ((0, 0), (0, WIDTH - case.shape[1]))) for name, case in JACOBIANS.items()}
CASES = {
    2: {name: case for name, case in PADDED.items() if len(case) == 2},
    5: {name: case[np.arange(5) % len(case)] for name, case in PADDED.items()},
}
for cases in CASES.values():
    (size,) = {len(case) for case in cases.values()}
    cases["zero"] = np.zeros((size, WIDTH))
    cases["huge and tiny"] = cases["two in conflict"] * np.where(np.arange(size) % 2, 1e-30, 1.0)[:, None]
SCALES = (1.0, 1e15, 1e-15, 1e-30)

DIRECTIONS = names_of(balancers.DirectionBalancer)
GRAMIANS = [name for name in names_of(balancers.GramianBalancer) if not balancers.classes()[name].needs_jacobian]


@pytest.fixture(params=DIRECTIONS, scope="module")
def name(request):
    return request.param


class TestDirection:
    @pytest.mark.parametrize("num_tasks", CASES)
    def test_is_finite(self, name, num_tasks):
        """At once, and in the second step: state that is not finite shows there."""
        if num_tasks < balancers.classes()[name].min_tasks:
            return
        compiled = Compiled(name, num_tasks, num_gradients=WIDTH)
        for case, jacobian in CASES[num_tasks].items():
            for scale in SCALES:
                compiled.reset()
                for _ in range(2):
                    found = compiled(np.ones(num_tasks), scale * jacobian)
                    assert (found.shape, found.dtype) == ((WIDTH,), np.float32)
                    assert np.all(np.isfinite(found)), (case, scale)
                for variable, value in state(compiled.balancer).items():
                    assert np.all(np.isfinite(value.astype("float64"))), (case, scale, variable)
        compiled.reset()
        for _ in range(3):
            np.testing.assert_array_equal(compiled(np.ones(num_tasks), np.zeros((num_tasks, WIDTH))), 0)
        for scale in (1e15, 1e-30, 0.0, 1.0):  # from one to the other
            found = compiled(np.ones(num_tasks), scale * CASES[num_tasks]["two in conflict"])
            assert np.all(np.isfinite(found)), scale

    def test_tasks_that_are_not_active(self, name):
        """Whatever their gradients are; and none but zeros where there are no others."""
        num_tasks = usual_number_of_tasks(name)
        compiled = Compiled(name)
        for absent in ({0}, {1}, set(range(1, num_tasks)), set(range(num_tasks))):
            active = np.array([task not in absent for task in range(num_tasks)])
            losses, jacobian = inputs(num_tasks)
            expected = None
            for gradient in (0.0, 1.0, -30.0, 1e15):
                compiled.reset()
                given = np.where(active[:, None], jacobian, gradient)
                found = [compiled(losses, given, active) for _ in range(2)]
                assert np.all(np.isfinite(found))
                expected = found if expected is None else expected
                np.testing.assert_array_equal(found, expected)
                assert active.any() or not np.any(found)

    def test_is_as_if_a_task_that_is_never_active_were_not_there(self, name):
        """All but the random ones, which draw as many numbers as there are tasks."""
        num_tasks = usual_number_of_tasks(name)
        more, fewer = Compiled(name, num_tasks, dtype="float64"), Compiled(name, num_tasks - 1, dtype="float64")
        if is_random(more.balancer) and name != "pcgrad":  # with two tasks it has no choice of order
            return
        for absent in range(num_tasks):
            present = np.arange(num_tasks) != absent
            more.reset()
            fewer.reset()
            for seed in range(2):
                losses, jacobian = inputs(num_tasks, seed)
                expected = fewer(losses[present], jacobian[present])
                received = more(losses, jacobian, present)
                np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-6 * np.max(np.abs(expected)))

    def test_active_may_be_left_out_or_be_a_list(self, name):
        num_tasks = usual_number_of_tasks(name)
        jacobian = inputs(num_tasks)[1]
        expected = direction(new(name), jacobian)
        for active in (np.ones(num_tasks, bool), [True] * num_tasks):
            np.testing.assert_array_equal(new(name).direction(jacobian.tolist(), active), expected)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_is_of_the_balancers_dtype(self, name, dtype):
        num_tasks = usual_number_of_tasks(name)
        losses, jacobian = inputs(num_tasks)
        assert Compiled(name, dtype=dtype)(losses, jacobian).dtype == dtype

    def test_is_for_one_task_finite(self, name):
        if balancers.classes()[name].min_tasks == 1:
            found = direction(new(name), [[1.0, -2.0]])
            assert found @ [1.0, -2.0] >= 0
            assert np.all(np.isfinite(found))


# These divide by small singular values, or the rest is small that others are to share.
TOLERANCES = {"aligned_mtl": 5e-3, "nash_mtl": 3e-3, "fairgrad": 3e-3}


@pytest.mark.parametrize(
    "name", ["aligned_mtl", "cagrad", "config", "dual_proj", "fairgrad", "imtl_g", "mgda", "nash_mtl", "upgrad"]
)
def test_many_gradients_that_are_hard_to_tell_apart_in_float32(name):
    """With cosines of 0.999, with a sum of next to nothing, and with two that nearly cancel."""
    cases = []
    for num_tasks, noise in ((16, 0.01), (64, 0.03)):
        rng = np.random.default_rng(num_tasks)
        common = rng.normal(size=2000)
        cases.append(common + noise * rng.normal(size=(num_tasks, 2000)))
    cases.append(np.random.default_rng(217).normal(size=(64, 500)))
    cases[-1][-1] = 0.1 * cases[-1][-1] - cases[-1][0]
    if name not in ("aligned_mtl", "config", "imtl_g"):  # which need singular values that no float32 Gramian has
        for seed in (35, 175):
            jacobian = np.random.default_rng(seed).normal(size=(64, 67))
            cases.append(jacobian - 0.97 * jacobian.mean(axis=0))
    for number, jacobian in enumerate(cases):
        jacobian = jacobian.astype("float32")
        expected = direction(new(name, dtype="float64"), jacobian)
        error = np.linalg.norm(direction(new(name), jacobian) - expected) / np.linalg.norm(expected)
        assert error < TOLERANCES.get(name, 1e-3), number


def test_huge_gradients_need_no_square_where_the_gramian_is_not_needed():
    found = direction(balancers.Random(seed=0), np.array([[1e20, 1.0], [1e20, 1.0]]))
    np.testing.assert_allclose(found, [1e20, 1.0], rtol=1e-5)


@pytest.mark.parametrize("name", GRAMIANS)
class TestGramianBalancers:
    def test_the_direction_is_the_weighted_sum_of_the_gradients(self, name):
        num_tasks = usual_number_of_tasks(name)
        for seed in range(2):
            jacobian = inputs(num_tasks, seed)[1]
            balancer = new(name, dtype="float64")
            expected = np.asarray(balancer.weigh(jacobian @ jacobian.T, np.ones(num_tasks, bool))) @ jacobian
            received = direction(new(name, dtype="float64"), jacobian)
            np.testing.assert_allclose(received, expected, rtol=1e-10, atol=1e-12)

    def test_a_task_that_is_not_active_weighs_nothing(self, name):
        num_tasks = usual_number_of_tasks(name)
        jacobian = inputs(num_tasks)[1]
        for absent in range(num_tasks):
            active = np.arange(num_tasks) != absent
            found = np.asarray(bound(name).weigh(jacobian @ jacobian.T, active))
            assert found[absent] == 0
            assert np.all(np.isfinite(found))

    def test_weights_are_used_again(self, name):
        num_tasks = usual_number_of_tasks(name)
        balancer, active = bound(name, update_every=2), np.ones(num_tasks, bool)
        jacobian, due = inputs(num_tasks)[1], []
        assert balancer.is_due(active)  # nothing is known yet
        assert balancer.is_due(active)  # to ask changes nothing
        balancer.weigh(np.full((num_tasks, num_tasks), np.nan), active)
        assert balancer.is_due(active)  # and still nothing is known
        found = np.asarray(balancer.weigh(jacobian @ jacobian.T, active))
        np.testing.assert_array_equal(balancer.last_weights(active), found)
        some = np.arange(num_tasks) != 1
        np.testing.assert_array_equal(balancer.last_weights(some), found * some)
        balancer.advance(active)
        for _ in range(4):
            due.append(bool(balancer.is_due(active)))
            if due[-1]:
                balancer.weigh(jacobian @ jacobian.T, active)
            balancer.advance(active)
        assert due == [False, True, False, True]
        found = np.asarray(balancer.last_weights(active))
        # A task that has no label keeps the weight that it had.
        balancer.weigh(jacobian @ jacobian.T, some)
        assert np.asarray(balancer.last_weights(active))[1] == found[1]
        # It is for tasks that were weighed together that the weights serve.
        assert not balancer.is_due(some)
        assert not balancer.is_due(np.zeros(num_tasks, bool))
        assert balancer.is_due(active)
        balancer.weigh(np.full((num_tasks, num_tasks), np.nan), active)
        assert np.all(np.isfinite(balancer.last_weights(active)))

    def test_call_says_what_weigh_says(self, name):
        num_tasks = usual_number_of_tasks(name)
        jacobian = inputs(num_tasks)[1]
        expected = np.asarray(new(name).weigh(jacobian @ jacobian.T, np.ones(num_tasks, bool)))
        np.testing.assert_array_equal(weights(new(name), jacobian), expected)

    def test_in_a_loop_of_ones_own_it_is_built_when_it_is_asked(self, name):
        num_tasks = usual_number_of_tasks(name)
        active = np.ones(num_tasks, bool)
        assert bool(new(name, update_every=2).is_due(active))
        found = new(name, update_every=2).weigh_when_due(np.eye(num_tasks, dtype="float32"), active)
        assert np.all(np.isfinite(found))

    def test_a_loop_of_ones_own_uses_them_again_too(self, name):
        """Of two kinds of gradients, in turn, those of the first step of three are weighed."""
        num_tasks = usual_number_of_tasks(name)
        kept, anew = bound(name, update_every=3), bound(name)
        first = inputs(num_tasks)[1]
        second = first[::-1] * np.linspace(1.0, 2.0, num_tasks)[:, None]
        weights = np.asarray(anew.weigh(first @ first.T, np.ones(num_tasks, bool)))
        for jacobian in (first, second, second):
            np.testing.assert_allclose(kept.direction(jacobian), weights @ jacobian, rtol=1e-4, atol=1e-5)
        assert kept.is_due(np.ones(num_tasks, bool))
        bad = np.full_like(first, np.nan)
        assert np.isnan(kept.direction(bad)).all()
        assert kept.is_due(np.ones(num_tasks, bool))
