"""What the logs say of each task by itself."""

import numpy as np
import pytest

from keras_mtl.model._trackers import TaskMeans, TaskSums
from tests.models import two_task_data, two_task_model


def test_sums():
    sums = TaskSums(["a_skipped", "b_skipped"], "skipped")
    sums.update_state(np.array([1.0, 0.0]))
    sums.update_state(np.array([2.0, 0.0]))
    assert {name: float(value) for name, value in sums.result().items()} == {"a_skipped": 3, "b_skipped": 0}
    sums.reset_state()
    assert {float(value) for value in sums.result().values()} == {0}


def test_means_are_weighted_and_0_without_a_weight():
    means = TaskMeans(["a_loss", "b_loss"], "task_losses")
    means.update_state(np.array([10 * 0.5, 0.0]), np.array([10.0, 0.0]))
    means.update_state(np.array([30 * 2.5, 0.0]), np.array([30.0, 0.0]))
    assert {name: float(value) for name, value in means.result().items()} == {"a_loss": 2, "b_loss": 0}
    means.reset_state()
    means.update_state(np.array([1.0, 6.0]), np.array([1.0, 2.0]))
    assert {name: float(value) for name, value in means.result().items()} == {"a_loss": 1, "b_loss": 3}


@pytest.mark.parametrize("on_nonfinite", [None, "skip"])
def test_lists_are_in_the_order_of_their_names(on_nonfinite):
    model = two_task_model()
    model.compile("adam", on_nonfinite=on_nonfinite)
    x, y = two_task_data(40)
    counts = [] if on_nonfinite is None else ["a_skipped", "b_skipped"]
    assert model.metrics_names == ["loss", "a_loss", "b_loss", "a_accuracy", "b_mae", *counts]
    values = model.evaluate(x, y, verbose=0)
    expected = model.evaluate(x, y, verbose=0, return_dict=True)
    assert list(zip(model.metrics_names, values, strict=False)) == [
        (name, pytest.approx(expected[name])) for name in model.metrics_names if name not in counts
    ]
    names, expected = model.metrics_names, model.test_on_batch(x, y, return_dict=True)
    assert model.test_on_batch(x, y) == pytest.approx([expected[name] for name in names if name in expected])
    values = model.train_on_batch(x, y)
    assert len(values) == len(names)
    assert values[1:3] == pytest.approx([model.get_metrics_result()[name] for name in ("a_loss", "b_loss")])
    assert values[5:] == [0] * len(counts)


def test_logs_of_a_step_of_the_users_own_are_in_the_list_too():
    class Own(type(two_task_model())):
        def test_step(self, data):
            return {**super().test_step(data), "a_third": 3.0}

    plain = two_task_model()
    model = Own(plain.input, plain.output, plain.tasks)
    model.compile("adam")
    assert [float(value) for value in model.test_on_batch(*two_task_data(8))][4] == 3
