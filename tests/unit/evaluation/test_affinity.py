"""Pairs trained together: each model is what training it by hand gives; what is done is kept and not done again."""

import contextlib
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import balancers, build_model, optimizers, tasks
from keras_mtl.evaluation import GainMatrix, affinity, transfer_matrix
from keras_mtl.evaluation._plan import make_plan
from tests.models import others_slow
from tests.unit.evaluation._pairs import TASKS, build, cached, failing, held_out, labels, never, train

SETTINGS = {"epochs": 2, "optimizer": keras.optimizers.Adam(0.01), "verbose": 0, "seed": 3}


def by_hand(names):
    keras.utils.set_random_seed(3)
    subset = [task for task in TASKS if task.name in names]
    model = build(subset)
    keras.utils.set_random_seed(3)
    model.compile(keras.optimizers.Adam(0.01))
    model.fit(train(subset), epochs=2, verbose=0)
    logs = model.evaluate(held_out(subset), verbose=0, return_dict=True)
    return {task.name: logs[f"{task.name}_{task.primary_metric}"] for task in subset}


@pytest.fixture(scope="module")
def whole():
    return affinity(build, TASKS, train, held_out, **SETTINGS)


def test_each_pair_is_that_of_training_by_hand(whole):
    metrics = whole.metrics["validation"]
    for row, source in enumerate("abc"):
        for column, target in enumerate("abc"):
            if row <= column:
                found = by_hand({source, target})
                assert metrics[row, column] == pytest.approx(found[target], rel=1e-6)
                assert metrics[column, row] == pytest.approx(found[source], rel=1e-6)


def test_gains_have_the_sign_of_better(whole):
    metrics, gains = whole.metrics["validation"], whole.gains["validation"]
    np.testing.assert_array_equal(np.diag(gains), 0)
    assert gains[1, 0] == pytest.approx(100 * (metrics[1, 0] / metrics[0, 0] - 1))  # accuracy
    assert gains[0, 1] == pytest.approx(100 * (1 - metrics[0, 1] / metrics[1, 1]))  # error


def test_it_is_taken_up_where_it_was_left(tmp_path, whole):
    folder = tmp_path / "results"
    with pytest.raises(RuntimeError, match="broken off"):
        affinity(failing, TASKS, train, held_out, folder=folder, **SETTINGS)
    done = sorted(path.name for path in folder.iterdir())
    assert done == ["a+b.json", "a.json", "b.json", "c.json", "settings.json"]
    # What is there is taken, and not done again.
    marked = json.loads((folder / "a.json").read_text())
    marked["found"]["validation"]["a"] = 0.125
    (folder / "a.json").write_text(json.dumps(marked))
    settings = json.loads((folder / "settings.json").read_text())
    settings["build"] = settings["build"].replace("failing", "build")
    (folder / "settings.json").write_text(json.dumps(settings))
    found = affinity(build, TASKS, train, held_out, folder=folder, **SETTINGS)
    assert found.metrics["validation"][0, 0] == 0.125
    expected = whole.metrics["validation"].copy()
    expected[0, 0] = 0.125
    np.testing.assert_allclose(found.metrics["validation"], expected, rtol=1e-6)
    assert len(list(folder.iterdir())) == 7

    def never(subset):
        raise AssertionError("it was all there")

    never.__module__, never.__qualname__ = build.__module__, build.__qualname__
    again = affinity(never, TASKS, train, held_out, folder=folder, **SETTINGS)
    np.testing.assert_array_equal(again.metrics["validation"], found.metrics["validation"])


def small(subset):
    return build_model("mlp", subset, input_shape=(6,))


def test_a_task_may_be_called_settings(tmp_path):
    kinds = [tasks.Regression(name) for name in ("settings", "b")]
    x = np.random.default_rng(0).normal(size=(40, 6)).astype("float32")
    data = tf.data.Dataset.from_tensor_slices((x, {task.name: x[:, 0] for task in kinds})).batch(20)
    arguments = {**SETTINGS, "epochs": 1, "folder": tmp_path / "results"}
    first, again = (affinity(small, kinds, data, data, **arguments) for _ in range(2))
    np.testing.assert_array_equal(first.metrics["validation"], again.metrics["validation"])
    assert (tmp_path / "results" / "settings.json").is_file()


@pytest.mark.parametrize(
    "change, key",
    [
        ({"epochs": 3}, "epochs"),
        ({"seed": 4}, "seed"),
        ({"optimizer": "sgd"}, "optimizer"),
        ({"balancer": balancers.PCGrad(seed=1)}, "balancer"),
        ({"tasks": TASKS[:2]}, "tasks"),
        ({"build": failing}, "build"),
        ({"train": held_out}, "data"),
    ],
)
def test_a_folder_of_other_settings_is_refused(change, key, tmp_path):
    arguments = {"build": build, "tasks": TASKS, "train": train, "validation": held_out, **SETTINGS}
    broken = {**arguments, "train": _broken}
    with pytest.raises(RuntimeError):
        affinity(**broken, folder=tmp_path / "results")
    settings = tmp_path / "results" / "settings.json"
    settings.write_text(settings.read_text().replace(f"{_broken.__module__}._broken", f"{train.__module__}.train"))
    (tmp_path / "results" / "a.json").write_text(json.dumps({"run": "a", "found": {"validation": {"a": 0.5}}}))
    with pytest.raises(ValueError, match=rf"made with other settings: \['{key}'\] differ"):
        affinity(**{**arguments, **change}, folder=tmp_path / "results")


def _broken(subset):
    raise RuntimeError("broken off")


def test_other_folders_are_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"which has no settings.json"):
        affinity(build, TASKS, train, held_out, folder=tmp_path, **SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_data_sets_and_balancers(tmp_path):
    x, y = labels(40, 0)
    data = tf.data.Dataset.from_tensor_slices((x, {"a": y["a"], "b": y["b"]})).batch(20)
    found = affinity(
        build, TASKS[:2], data, data, epochs=1, balancer=["uncertainty", balancers.PCGrad()], verbose=0, folder=tmp_path
    )
    assert np.isfinite(found.metrics["validation"]).all()
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert settings["data"]["train"]["batches"] == 2
    with pytest.raises(ValueError, match="'data'"):
        affinity(build, TASKS[:2], data.take(1), data, epochs=1, verbose=0, folder=tmp_path)


def test_progress_is_shown(capsys):
    affinity(build, TASKS[:2], train, held_out, epochs=1)
    assert "3/3" in capsys.readouterr().out


@pytest.mark.slow
def test_two_processes_find_what_one_does(whole, tmp_path):
    found = affinity(build, TASKS, train, held_out, workers=2, folder=tmp_path / "results", **SETTINGS)
    np.testing.assert_allclose(found.metrics["validation"], whole.metrics["validation"], rtol=1e-5)
    assert len(list((tmp_path / "results").iterdir())) == 7


@pytest.mark.slow
def test_a_process_that_fails_leaves_what_was_done(tmp_path):
    with pytest.raises(RuntimeError, match="broken off"):
        affinity(failing, TASKS, train, held_out, workers=2, folder=tmp_path / "results", **SETTINGS)
    assert {"a.json", "b.json"} <= {path.name for path in (tmp_path / "results").iterdir()}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"tasks": TASKS[:1]}, r"at least two tasks. Received: \['a'\]"),
        ({"epochs": 0}, "`epochs` should be an integer of at least 1"),
        ({"workers": 0}, "`workers` should be an integer of at least 1"),
        ({"balancer": "pcgard"}, "Unknown balancer: 'pcgard'"),
        ({"train": [1, 2]}, "`train` should be a batched `tf.data.Dataset`, or a function.*Received: a list"),
        ({"build": "mlp"}, "`build` should be a function"),
        ({"build": lambda subset: build(subset), "workers": 2}, "`build` should be a function that other processes"),
        ({"train": train(TASKS), "workers": 2}, "`train` should be a function.*a data set itself cannot be sent"),
        ({"train": train(TASKS[:2])}, r"should be \['c'\]"),
        ({"validation": held_out(TASKS[1:])}, r"should be \['a'\]"),
        ({"balancer": "krum"}, "`Krum` needs at least 3 tasks. Received: 2"),
        ({"balancer": ["equal", "trimmed_mean"]}, "`TrimmedMean` needs at least 3 tasks. Received: 2"),
        ({"balancer": "auto_lambda"}, "should need no second stream.*`AutoLambda`, which is bilevel"),
        ({"balancer": balancers.Fixed({"a": 1.0, "b": 2.0, "c": 3.0})}, r"`Fixed` should be \['a', 'b'\]"),
    ],
)
def test_bad_input_before_any_training(change, message, tmp_path):
    arguments = {"build": _broken, "tasks": TASKS, "train": train, "validation": held_out, **SETTINGS}
    with pytest.raises(ValueError, match=message):
        affinity(**{**arguments, **change}, folder=tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_the_table():
    metrics = np.array([[0.5, 2.0], [0.55, 4.0]])
    matrix = GainMatrix("trained together with", TASKS[:2], {"validation": metrics})
    assert str(matrix).splitlines() == [
        "| trained together with, % on validation | a (accuracy) | b (mae) |",
        "| --- | ---: | ---: |",
        "| a |  | +50.0 |",
        "| b | +10.0 |  |",
    ]
    zero = GainMatrix("", TASKS[:2], {"test": np.array([[0.0, 1.0], [0.5, 1.0]])})
    assert np.isnan(zero.gains["test"][1, 0])
    assert "+nan" in zero.to_markdown("test")


def test_a_model_alone_has_the_same_make():
    """`build` is called for the tasks of each model."""
    asked = []

    def noted(subset):
        asked.append([task.name for task in subset])
        return build_model("mlp", subset, input_shape=(6,))

    affinity(noted, [tasks.Classification("a", 4), tasks.Regression("b")], train, held_out, epochs=1, verbose=0)
    assert asked == [["a"], ["a", "b"], ["a"], ["b"], ["a", "b"]]  # the first two to see that it makes new ones


def test_the_name_that_keras_gives_an_optimizer_is_no_setting():
    first, second = (
        make_plan(
            *(build, TASKS, train, {"validation": held_out}),
            epochs=1,
            optimizer=optimizers.LayerwiseLearningRate("adamw"),
            balancer="equal",
            seed=0,
        ).settings("affinity")
        for _ in range(2)
    )
    assert first == second
    assert first["optimizer"]["config"]["inner_optimizer"]["class_name"] == "AdamW"
    assert first["optimizer"]["config"]["inner_optimizer"]["config"]["learning_rate"] == pytest.approx(0.001)


def test_the_names_that_keras_gives_balancers_and_metrics_are_no_settings():
    first, second = (
        make_plan(
            build,
            [tasks.BinaryClassification("a", metrics=[keras.metrics.Precision()]), *TASKS[1:]],
            *(train, {"validation": held_out}),
            epochs=1,
            optimizer="adam",
            balancer=balancers.Smoothed(balancers.PCGrad()),
            seed=0,
        )
        for _ in range(2)
    )
    assert first.tasks != second.tasks  # or there is nothing to be seen here
    assert first.balancer != second.balancer
    assert first.settings("affinity") == second.settings("affinity")
    assert [task["config"]["name"] for task in first.settings("affinity")["tasks"]] == ["a", "b", "c"]


def shared_base():
    base = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8), keras.layers.BatchNormalization()])
    return base, lambda subset: build_model(base, subset)


def test_a_model_that_goes_on_from_another_ones_weights_is_refused():
    base, of_base = shared_base()
    before = base.get_weights()
    with pytest.raises(ValueError, match="`build` should make a new model.*6 trained weights.*dense.*freeze it"):
        affinity(of_base, TASKS, train, held_out, epochs=1, verbose=0)
    for value, now in zip(before, base.get_weights(), strict=True):
        np.testing.assert_array_equal(value, now)
    base.trainable = False
    affinity(of_base, TASKS[:2], train, held_out, epochs=1, verbose=0)
    for value, now in zip(before, base.get_weights(), strict=True):
        np.testing.assert_array_equal(value, now)


def test_a_backbone_that_the_first_call_made_is_refused_before_any_training():
    with pytest.raises(ValueError, match="`build` should make a new model.*2 trained weights"):
        affinity(cached(), TASKS, never, never, epochs=1, verbose=0)


def test_a_finished_folder_builds_nothing(tmp_path):
    calls = []

    def counted(subset):
        calls.append(len(subset))
        return build(subset)

    arguments = (counted, TASKS[:2], train, held_out)
    first = affinity(*arguments, folder=tmp_path / "results", epochs=1, verbose=0)
    assert calls == [1, 2, 1, 1, 2]
    again = affinity(*arguments, folder=tmp_path / "results", epochs=1, verbose=0)
    assert len(calls) == 5
    np.testing.assert_array_equal(first.metrics["validation"], again.metrics["validation"])


def test_a_build_that_is_refused_leaves_no_folder(tmp_path):
    with pytest.raises(ValueError, match="`build` should make a new model"):
        affinity(cached(), TASKS, never, never, folder=tmp_path / "results", epochs=1, verbose=0)
    assert not (tmp_path / "results").exists()


def matrix(build, tasks, train, part, **settings):
    return transfer_matrix(build, tasks, train, part, part, **settings)


def test_a_folder_in_which_another_call_began_meanwhile_is_left_to_it(tmp_path):
    folder = tmp_path / "results"

    def beginning(subset):
        folder.mkdir(exist_ok=True)
        (folder / "settings.json").write_text("another's")
        return build(subset)

    with pytest.raises(FileExistsError, match="settings.json"):
        affinity(beginning, TASKS, never, never, folder=folder, epochs=1, verbose=0)
    assert [path.name for path in folder.iterdir()] == ["settings.json"]
    assert (folder / "settings.json").read_text() == "another's"


@pytest.mark.parametrize("find", others_slow([affinity, matrix], by_default=(affinity,)))
@pytest.mark.parametrize("within", others_slow(["build", "call", "both"], by_default=("both",)))
def test_a_model_may_be_made_for_replicas(two_replicas, find, within):
    def made(subset):
        return build_model("mlp", subset, input_shape=(6,))

    def on_two(subset):
        with two_replicas.scope() if within != "call" else contextlib.nullcontext():
            return made(subset)

    arguments = (TASKS[:2], train, held_out)
    one = find(made, *arguments, epochs=1, verbose=0)
    with two_replicas.scope() if within != "build" else contextlib.nullcontext():
        two = find(on_two, *arguments, epochs=1, verbose=0)
        kept = cached() if within == "call" else cached(two_replicas.scope)
        with pytest.raises(ValueError, match="`build` should make a new model.*2 trained weights"):
            find(kept, *arguments, epochs=1, verbose=0)
    np.testing.assert_allclose(two.metrics["validation"], one.metrics["validation"], rtol=1e-5)


@pytest.mark.parametrize("number", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_labels_of_no_task_are_left_out(number):
    x, y = labels(80, 0)
    plain = tf.data.Dataset.from_tensor_slices((x, y)).batch(20)
    more = tf.data.Dataset.from_tensor_slices((x, {**y, "z": y["b"]})).batch(20)
    found = [affinity(build, TASKS[:number], each, each, epochs=1, verbose=0) for each in (plain, more)]
    np.testing.assert_array_equal(*(each.metrics["validation"] for each in found))


@pytest.mark.parametrize("made", [lambda subset: build(TASKS), lambda subset: None, lambda subset: keras.Sequential()])
def test_a_model_of_other_tasks_is_refused(made):
    with pytest.raises(ValueError, match=r"should return a `MultiTaskModel` of the tasks.*for the tasks \['a'\]"):
        affinity(made, TASKS, train, held_out, epochs=1, verbose=0)
