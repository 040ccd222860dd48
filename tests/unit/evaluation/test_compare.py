"""The comparison is matched, selects on validation, and says when sharing did not help."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console

from keras_mtl import balancers, build_model, evaluation, tasks
from keras_mtl.evaluation import Report, Result
from tests.models import largest_difference, two_task_data
from tests.unit.evaluation._pairs import cached

KINDS = [tasks.Classification("a", 4), tasks.Regression("b")]


def data(seed, size=60):
    return tf.data.Dataset.from_tensor_slices(two_task_data(size, seed)).batch(20)


def build(subset):
    return build_model("mlp", subset, input_shape=(6,))


@pytest.fixture(scope="module")
def report():
    return evaluation.compare(
        build,
        KINDS,
        data(0),
        data(1),
        data(2),
        balancers={"equal": "equal", "both": ["uncertainty", balancers.PCGrad(seed=0)]},
        epochs=2,
        optimizer=keras.optimizers.Adam(0.003),
    )


def test_every_model_is_there_with_its_metrics(report):
    assert [result.name for result in report.multi_task] == ["equal", "both"]
    assert set(report.single_task) == {"a", "b"}
    for result in report.multi_task:
        scores = result.model.evaluate(data(2), verbose=0, return_dict=True)
        assert result.test == pytest.approx({"a": scores["a_accuracy"], "b": scores["b_mae"]})
        scores = result.model.evaluate(data(1), verbose=0, return_dict=True)
        assert result.validation == pytest.approx({"a": scores["a_accuracy"], "b": scores["b_mae"]})
        assert result.validation != pytest.approx(result.test)
        assert len(result.history["loss"]) == 2
    for name, result in report.single_task.items():
        assert set(result.test) == {name}
        assert [task.name for task in result.model.tasks] == [name]
        assert int(result.model.optimizer.iterations) == 6
        assert float(result.model.optimizer.learning_rate.numpy()) == pytest.approx(0.003)


def test_single_task_models_are_of_the_same_make(report):
    for name, result in report.single_task.items():
        keras.utils.set_random_seed(0)
        again = build([task for task in KINDS if task.name == name])
        again.compile(keras.optimizers.Adam(0.003))
        again.fit(data(0).map(lambda x, y, name=name: (x, {name: y[name]})), epochs=2, verbose=0)
        assert largest_difference(result.model, again) <= 1e-6
        assert result.num_parameters == again.count_params()


def test_the_balancers_parameters_are_not_counted(report):
    equal, both = report.multi_task
    assert equal.num_parameters == both.num_parameters


def made_up(name, validation, test):
    return Result(name, validation, test, 10, 1.0, {}, None)


def made_up_report(first_test, second_test):
    singles = {"a": made_up("s", {"a": 0.8}, {"a": 0.8}), "b": made_up("s", {"b": 2.0}, {"b": 2.0})}
    multi = [
        made_up("first", {"a": 0.9, "b": 1.9}, first_test),
        made_up("second", {"a": 0.7, "b": 2.2}, second_test),
    ]
    return Report(KINDS, singles, multi)


def test_the_best_is_chosen_on_validation_whatever_the_test_says():
    report = made_up_report({"a": 0.4, "b": 4.0}, {"a": 0.99, "b": 0.1})
    assert report.best.name == "first"
    assert report.delta_m(report.best, "test") == pytest.approx(-75)
    assert report.verdict.startswith("Sharing did not help on average: on the test data `first`")
    assert "Δm of -75.0 %" in report.verdict
    assert "Better: none; worse: a, b" in report.verdict


def test_a_gain_is_said_too_and_the_table_has_it():
    report = made_up_report({"a": 0.88, "b": 2.1}, {"a": 0.5, "b": 2.5})
    assert report.verdict.startswith("Sharing helped on average")
    assert "Better: a; worse: b" in report.verdict
    lines = report.to_markdown().splitlines()
    assert lines[0].startswith("| model | a accuracy ↑ | b mae ↓ | Δm% test | Δm% valid. |")
    assert lines[2] == "| 2 × single-task | 0.8000 | 2.0000 | 0.0 | 0.0 | 20 | 2.0 |"
    assert lines[3] == "| first † | 0.8800 | 2.1000 | +2.5 | +8.8 | 10 | 1.0 |"
    console = Console(width=80)
    with console.capture() as capture:
        console.print(report.to_table())
    assert "first †" in capture.get()
    assert "parameters" in capture.get()
    assert "…" not in capture.get()


def test_a_single_task_metric_of_zero_leaves_delta_m_undefined():
    report = made_up_report({"a": 0.4, "b": 4.0}, {"a": 0.99, "b": 0.1})
    zero = made_up("s", {"a": 0.8}, {"a": 0.0})
    report = Report(KINDS, {**report.single_task, "a": zero}, report.multi_task)
    assert report.best.name == "first"
    assert "| +nan |" in report.to_markdown()
    assert "Δm of +nan %" in report.verdict


def test_a_weight_among_others_is_none_alone():
    report = evaluation.compare(
        build, [tasks.Classification("a", 4), tasks.Regression("b", weight=0.0)], data(0), data(1), data(2), epochs=3
    )
    alone = report.single_task["b"]
    assert alone.history["loss"] == pytest.approx(alone.history["b_loss"])
    assert alone.history["b_loss"][-1] < alone.history["b_loss"][0]


def test_a_model_that_diverged_does_not_cost_the_report():
    report = made_up_report({"a": 0.88, "b": 2.1}, {"a": 0.5, "b": 2.5})
    lost = made_up("lost", {"a": float("nan"), "b": 1.0}, {"a": float("nan"), "b": 1.0})
    report = Report(KINDS, report.single_task, [lost, *report.multi_task])
    assert report.best.name == "first"
    assert "| lost | nan |" in report.to_markdown()


def test_sample_weights_by_label_go_with_their_labels():
    x, y = two_task_data(40)
    weights = {"a": np.ones(40, "float32"), "b": np.zeros(40, "float32")}
    weighted = tf.data.Dataset.from_tensor_slices((x, y, weights)).batch(20)
    report = evaluation.compare(build, KINDS, weighted, data(1), data(2), epochs=1)
    assert report.single_task["b"].history["b_loss"] == [0.0]
    assert report.single_task["a"].history["a_loss"][0] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"balancers": ["equal", "pcgard"]}, "Unknown balancer: 'pcgard'"),
        ({"balancers": []}, "a list of different names of balancers, at least one"),
        ({"balancers": "pcgrad"}, "a list of different names of balancers.*Received: 'pcgrad'"),
        ({"balancers": ["equal", "equal"]}, "a list of different names of balancers"),
        ({"balancers": [["uncertainty", "pcgrad"]]}, "or a dict of balancers, or lists of them"),
        ({"balancers": {"f": balancers.Fixed({"a": 1.0})}}, r"tasks of the balancer `Fixed`.*absent: \['b'\]"),
        ({"epochs": 0}, "`epochs` should be an integer of at least 1"),
    ],
)
def test_bad_input_before_any_training(arguments, message):
    def never(subset):
        raise AssertionError("a model was built")

    with pytest.raises(ValueError, match=message):
        evaluation.compare(never, KINDS, data(0), data(1), data(2), **{"epochs": 1, **arguments})


def test_a_backbone_that_earlier_models_trained_is_refused():
    backbone = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8)])
    sets = [data(seed) for seed in range(3)]
    with pytest.raises(ValueError, match="`build` should make a new model.*2 trained weights"):
        evaluation.compare(lambda subset: build_model(backbone, subset), KINDS, *sets, epochs=1)


def test_a_backbone_that_the_first_call_made_is_refused_before_any_training():
    trained = []
    sets = [data(seed) for seed in range(3)]
    with pytest.raises(ValueError, match="`build` should make a new model.*2 trained weights"):
        evaluation.compare(cached(), KINDS, *sets, epochs=1, callbacks=trained.append)
    assert not trained


@pytest.mark.parametrize("within", ["build", pytest.param("call", marks=pytest.mark.slow)])
def test_a_model_may_be_made_for_replicas(two_replicas, within):
    def made(subset):
        return build_model("mlp", subset, input_shape=(6,))

    def on_two(subset):
        with two_replicas.scope():
            return made(subset)

    sets = [data(seed) for seed in range(3)]
    one = evaluation.compare(made, KINDS, *sets, balancers=["equal"], epochs=1)
    with two_replicas.scope() if within == "call" else contextlib.nullcontext():
        two = evaluation.compare(made if within == "call" else on_two, KINDS, *sets, balancers=["equal"], epochs=1)
    for first, second in zip([*one.single_task.values(), one.best], [*two.single_task.values(), two.best], strict=True):
        assert second.test == pytest.approx(first.test, rel=1e-5)
