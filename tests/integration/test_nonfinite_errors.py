"""What is not finite as an error that names the task, to metrics, and in each way to train."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import balancers
from tests.integration._nonfinite import BAD, OPTIMIZERS, a_model, sgd, some_data, trained
from tests.models import largest_difference, others_slow


class Strict(keras.metrics.Mean):
    """A mean of squared errors that are to be numbers."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        errors = tf.debugging.check_numerics(tf.square(tf.cast(y_true, y_pred.dtype) - y_pred), "errors")
        super().update_state(errors, sample_weight)


@pytest.mark.parametrize("on_nonfinite", ["skip", "raise"])
def test_metrics_never_see_what_is_not_finite(on_nonfinite):
    arguments = {"metrics": {"b": [Strict(name="error")]}}
    if on_nonfinite == "raise":
        with pytest.raises(FloatingPointError, match="'b'"):
            trained(some_data("loss"), "equal", on_nonfinite, **arguments)
        return
    _, history = trained(some_data("loss"), "equal", on_nonfinite, **arguments)
    _, expected = trained(some_data("absent"), "equal", on_nonfinite, metrics={"b": [Strict(name="error")]})
    assert history["b_skipped"] == [len(BAD)]
    assert history["b_error"] == pytest.approx(expected["b_error"], abs=1e-5)


def test_metrics_go_on_unharmed():
    metric = {"b": ["root_mean_squared_error", "r2_score"]}
    _, history = trained(some_data("loss"), "equal", "skip", metrics=metric)
    _, expected = trained(some_data("absent"), "equal", "skip", metrics=metric)
    for name in ("b_root_mean_squared_error", "b_r2_score"):
        assert history[name] == pytest.approx(expected[name], abs=1e-5)


@pytest.mark.parametrize("steps_per_execution", [pytest.param(1, marks=pytest.mark.slow), 3])
@pytest.mark.parametrize(
    "balancer", ["equal", *(pytest.param(each, marks=pytest.mark.slow) for each in ("pcgrad", "gradnorm"))]
)
@pytest.mark.parametrize(("fault", "root"), [("loss", None), ("gradient", "head"), ("gradient", "trunk")])
def test_an_error_names_the_task_and_the_step_and_spares_the_weights(balancer, fault, root, steps_per_execution):
    model = a_model(root)
    model.compile(sgd(), balancer=balancer, on_nonfinite="raise", steps_per_execution=steps_per_execution)
    names = "'a' and 'b' and 'c'" if root == "trunk" else "'b'"
    steps = "step 2" if steps_per_execution == 1 else "one of the steps 1 to 3"
    with pytest.raises(FloatingPointError, match=f"task {names} was not finite in {steps} of epoch 1"):
        model.fit(some_data(fault), shuffle=False, verbose=0)
    before, _ = trained(some_data(fault).take(1), balancer, None, root, optimizer=sgd())
    assert largest_difference(model, before) <= 1e-6
    for ours, theirs in zip(model.variables, before.variables, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-6, err_msg=ours.path)


@pytest.mark.parametrize("replicas", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("fault", "root"), [("loss", None), ("gradient", "trunk")])
def test_an_error_spares_what_waits_in_sums_of_gradients(fault, root, replicas, two_replicas):
    """The second step, the faulty one, would apply the gradients of the first."""
    models = []
    for data, on_nonfinite in ((some_data(fault), "raise"), (some_data(fault).take(1), None)):
        with two_replicas.scope() if replicas == 2 else tf.distribute.get_strategy().scope():
            model = a_model(root)
            model.compile(OPTIMIZERS["sums"](), balancer="equal", on_nonfinite=on_nonfinite)
        models.append(model)
        if on_nonfinite:
            with pytest.raises(FloatingPointError, match="was not finite in step 2 of epoch 1"):
                model.fit(data, shuffle=False, verbose=0)
        else:
            model.fit(data, shuffle=False, verbose=0)
    ours, theirs = ([*model.variables, *model.optimizer.variables] for model in models)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-6, err_msg=one.path)
    assert any("accumulator" in variable.path and variable.numpy().any() for variable in theirs)


def test_an_unlabelled_batch_that_is_not_finite_is_nobodys_fault():
    results = []
    for on_nonfinite in ("skip", "raise"):
        x, y = next(iter(some_data().unbatch().batch(60)))
        x, y = x.numpy(), {name: labels.numpy() for name, labels in y.items()}
        x[20:40] = np.nan
        y = {"a": np.where(np.arange(60) // 20 == 1, -1, y["a"]), **{n: y[n].copy() for n in "bc"}}
        y["b"][20:40] = y["c"][20:40] = np.nan
        model = a_model()
        model.compile(OPTIMIZERS["sums"](), balancer="equal", on_nonfinite=on_nonfinite)
        history = model.fit(x, y, batch_size=20, shuffle=False, verbose=0).history
        assert history["a_skipped"] == history["b_skipped"] == history["c_skipped"] == [0]
        assert all(np.isfinite(weight).all() for weight in model.get_weights())
        results.append(model)
    assert largest_difference(*results) <= 1e-6


def test_the_error_of_several_steps_at_once_and_of_a_batch():
    model = a_model()
    model.compile("adam", on_nonfinite="raise", steps_per_execution=3)
    with pytest.raises(FloatingPointError, match="task 'b' was not finite in one of the steps 1 to 3 of epoch 1"):
        model.fit(some_data("loss"), shuffle=False, verbose=0)
    model.compile("adam", on_nonfinite="raise")
    first, second, *_ = some_data("loss")
    model.train_on_batch(*first)
    with pytest.raises(FloatingPointError, match="task 'b' was not finite in the batch"):
        model.train_on_batch(*second)
    model.train_on_batch(*first)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({"jit_compile": True}, marks=pytest.mark.slow),
        {"steps_per_execution": 4},
        pytest.param({"optimizer": keras.optimizers.Adam(0.01, gradient_accumulation_steps=2)}, marks=pytest.mark.slow),
        pytest.param({"run_eagerly": True}, marks=pytest.mark.slow),
    ],
    ids=["xla", "several steps", "sums of gradients", "eagerly"],
)
@pytest.mark.parametrize("balancer", others_slow(["equal", "upgrad"], by_default=("upgrad",)))
def test_with_each_way_to_train(arguments, balancer):
    results = []
    for fault in ("loss", "absent"):
        given = dict(arguments)
        if "optimizer" in given:
            given["optimizer"] = keras.optimizers.Adam.from_config(given["optimizer"].get_config())
        results.append(trained(some_data(fault), balancer, "skip", **given))
    assert largest_difference(results[0][0], results[1][0]) <= 1e-6
    assert results[0][1]["b_skipped"] == [2]


@pytest.mark.parametrize("balancer", [pytest.param("equal", marks=pytest.mark.slow), "upgrad"])
def test_in_float16(balancer):
    """A loss that is not finite is the task's; an overflow of the scaled gradients is the optimizer's."""
    results = [trained(some_data(fault), balancer, "skip", policy="mixed_float16") for fault in ("loss", "absent")]
    assert largest_difference(results[0][0], results[1][0]) <= 1e-6
    assert results[0][1]["b_skipped"] == [2]
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1e-4), initial_scale=1e30)
    model, history = trained(some_data(), balancer, "skip", policy="mixed_float16", optimizer=scaled)
    assert scaled.dynamic_scale.numpy() < 1e30
    assert history["a_skipped"] == history["b_skipped"] == history["c_skipped"] == [0]


@pytest.mark.parametrize("balancer", others_slow(["equal", "famo", "upgrad"], by_default=("equal",)))
@pytest.mark.parametrize("fault", ["gradient", pytest.param("loss", marks=pytest.mark.slow)])
def test_on_two_replicas(balancer, fault, two_replicas):
    root = "head" if fault == "gradient" else None
    alone, history = trained(some_data(fault), balancer, "skip", root)
    with two_replicas.scope():
        model, found = trained(some_data(fault), balancer, "skip", root)
    assert largest_difference(model, alone) <= 1e-5
    assert found["b_skipped"] == [2]
    for name, values in history.items():
        assert found[name] == pytest.approx(values, abs=1e-5), name
    with two_replicas.scope():
        model = a_model(root)
        model.compile("adam", balancer=balancer, on_nonfinite="raise")
    with pytest.raises(FloatingPointError, match="task 'b' was not finite in step 2 of epoch 1"):
        model.fit(some_data(fault), shuffle=False, verbose=0)


def test_evaluation_is_as_in_keras(tmp_path):
    model, history = trained(some_data(), "equal", "skip")
    scores = model.evaluate(some_data("loss"), verbose=0, return_dict=True)
    assert not np.isfinite(scores["b_loss"])
    assert not any(name.endswith("_skipped") for name in scores)
    more = model.fit(some_data("loss"), validation_data=some_data(), verbose=0, shuffle=False).history
    assert more["b_skipped"] == [2]
    assert "val_b_skipped" not in more
    model.save(tmp_path / "model.keras")
    assert keras.saving.load_model(tmp_path / "model.keras").on_nonfinite == "skip"


def test_wrong_arguments_are_told():
    with pytest.raises(ValueError, match="Parameter `on_nonfinite` should be .*Received: on_nonfinite='ignore'"):
        a_model().compile("adam", on_nonfinite="ignore")
    with pytest.raises(ValueError, match="`AutoLambda` looks a step ahead.*on_nonfinite='skip'"):
        a_model().compile("adam", balancer=balancers.AutoLambda(), on_nonfinite="skip")
