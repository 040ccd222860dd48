"""From one task to another: what is trained, from where, and what it is compared with."""

import keras
import numpy as np
import pytest

from keras_mtl import MultiTaskModel, build_model, tasks
from keras_mtl.evaluation import transfer_matrix
from tests.unit.evaluation._pairs import TASKS, build, cached, held_out, never, train

SETTINGS = {"epochs": 2, "optimizer": keras.optimizers.Adam(0.01), "verbose": 0, "seed": 3}


@pytest.fixture(scope="module")
def whole():
    return transfer_matrix(build, TASKS, train, held_out, train, **SETTINGS)


def test_it_is_training_one_after_the_other(whole):
    keras.utils.set_random_seed(3)
    model = build(TASKS)
    trained = {}
    for name in ("b", "a"):
        task = next(task for task in TASKS if task.name == name)
        part = MultiTaskModel(model.input, {name: model.output[name]}, [task])
        keras.utils.set_random_seed(3)
        part.compile(keras.optimizers.Adam(0.01))
        part.fit(train([task]), epochs=2, verbose=0)
        trained[name] = part.evaluate(held_out([task]), verbose=0, return_dict=True)
    metrics = whole.metrics["validation"]
    assert metrics[1, 1] == pytest.approx(trained["b"]["b_mae"], rel=1e-6)
    assert metrics[1, 0] == pytest.approx(trained["a"]["a_accuracy"], rel=1e-6)


def test_a_task_that_is_the_same_helps(whole):
    assert list(whole.metrics) == ["validation", "test"]
    assert whole.gains["validation"][1, 2] > 5  # b and c have the same labels
    assert whole.gains["validation"][2, 1] > 5
    assert str(whole).startswith("| fine-tuned from, % on test | a (accuracy) |")
    assert "% on validation" in whole.to_markdown("validation")


def test_what_is_left_is_as_if_it_had_not_been_broken_off(whole, tmp_path):
    folder = tmp_path / "results"
    first = transfer_matrix(build, TASKS, train, held_out, train, folder=folder, **SETTINGS)
    names = sorted(path.stem for path in folder.iterdir())
    assert names == ["a", "a-b", "a-c", "b", "b-a", "b-c", "c", "c-a", "c-b", "settings"]
    (folder / "b-c.json").unlink()  # the second target of its source, with a stream of dropout behind it
    (folder / "c.json").unlink()
    second = transfer_matrix(build, TASKS, train, held_out, train, folder=folder, **SETTINGS)
    for part in ("validation", "test"):
        np.testing.assert_allclose(second.metrics[part], first.metrics[part], rtol=1e-6)
        np.testing.assert_allclose(first.metrics[part], whole.metrics[part], rtol=1e-6)


@pytest.mark.slow
def test_two_processes_find_what_one_does(whole):
    found = transfer_matrix(build, TASKS, train, held_out, train, workers=2, **SETTINGS)
    np.testing.assert_allclose(found.metrics["test"], whole.metrics["test"], rtol=1e-5)


def test_tasks_without_shared_weights_are_refused():
    def apart(subset):
        return build_model("mlp", subset, "independent", input_shape=(6,))

    kinds = [tasks.Regression("b"), tasks.Regression("c")]
    with pytest.raises(ValueError, match=r"by shared weights.*Received: tasks \['b', 'c'\]"):
        transfer_matrix(apart, kinds, never, never, never, **SETTINGS)


def test_a_backbone_that_the_first_call_made_is_refused_before_any_training():
    with pytest.raises(ValueError, match="`build` should make a new model.*2 trained weights"):
        transfer_matrix(cached(), TASKS, never, never, never, epochs=1, verbose=0)
