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


def test_the_list_of_evaluate_is_in_the_order_of_its_names():
    model = two_task_model()
    model.compile("adam", on_nonfinite="skip")
    x, y = two_task_data(40)
    values = model.evaluate(x, y, verbose=0)
    expected = model.evaluate(x, y, verbose=0, return_dict=True)
    assert dict(zip(model.metrics_names, values, strict=True)) == pytest.approx(expected)
