"""A task whose loss or gradient is not finite in a batch is left out: all is as if it had no label there."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import MultiTaskModel, balancers, tasks
from tests.integration._nonfinite import BAD, ONE_OF_A_KIND, OPTIMIZERS, sgd, some_data, trained
from tests.models import largest_difference, others_slow, two_task_data


@pytest.mark.parametrize("balancer", others_slow(ONE_OF_A_KIND, by_default=("equal", "upgrad")))
@pytest.mark.parametrize("fault", [pytest.param("loss", marks=pytest.mark.slow), "gradient"])
def test_a_task_left_out_is_one_without_a_label(balancer, fault):
    root = "head" if fault == "gradient" else None
    model, history = trained(some_data(fault), balancer, "skip", root)
    # The same inputs: where the label is absent too, nothing is wrong.
    absent = "absent and gradient" if fault == "gradient" else "absent"
    expected, without = trained(some_data(absent), balancer, "skip", root)
    assert largest_difference(model, expected) <= 1e-6
    assert history.pop("b_skipped") == [2]
    assert without.pop("b_skipped") == [0]
    assert history["a_skipped"] == history["c_skipped"] == [0]
    for name, values in without.items():
        assert history[name] == pytest.approx(values, abs=1e-6), name


@pytest.mark.parametrize("balancer", others_slow(ONE_OF_A_KIND, by_default=("upgrad",)))
def test_where_nothing_is_wrong_it_changes_nothing(balancer):
    model, history = trained(some_data(), balancer, "skip")
    expected, without = trained(some_data(), balancer, None)
    assert largest_difference(model, expected) <= 1e-6
    for name, values in without.items():
        assert history[name] == pytest.approx(values, abs=1e-6), name


def test_by_default_it_is_as_in_keras():
    model, history = trained(some_data("loss"), "equal", None)
    assert not np.isfinite(model.get_layer("low").get_weights()[0]).all()
    assert not np.isfinite(history["loss"][0])
    assert not any(name.endswith("_skipped") for name in history)


def without_bad():
    """The batches in which nothing is wrong."""
    x, y = zip(*[batch for index, batch in enumerate(some_data()) if index not in BAD], strict=True)
    good = {name: np.concatenate([labels[name] for labels in y]) for name in y[0]}
    return tf.data.Dataset.from_tensor_slices((np.concatenate(x), good)).batch(20)


@pytest.mark.parametrize(
    "balancer",
    others_slow([*ONE_OF_A_KIND, "excess_mtl", "rlw", "stch"], by_default=("graddrop",))
    + [pytest.param(balancers.UPGrad(update_every=2), id="every2")],
)
def test_a_fault_below_the_features_leaves_the_whole_step_out(balancer):
    """What the balancer remembers stays as it was, too."""
    config = balancer if isinstance(balancer, str) else keras.saving.serialize_keras_object(balancer)
    model, history = trained(some_data("gradient"), config, "skip", root="trunk", optimizer=sgd())
    assert history["a_skipped"] == history["b_skipped"] == history["c_skipped"] == [2]
    expected, other = trained(without_bad(), config, "skip", root="trunk", optimizer=sgd())
    assert largest_difference(model, expected) <= 1e-6
    for ours, theirs in zip(model.variables, expected.variables, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-6, err_msg=ours.path)
    assert {name: values for name, values in history.items() if not name.endswith("_skipped")} == {
        name: pytest.approx(values, abs=1e-6) for name, values in other.items() if not name.endswith("_skipped")
    }


@pytest.mark.parametrize("name", others_slow(OPTIMIZERS, by_default=("sums", "adafactor")))
@pytest.mark.parametrize("balancer", ["equal", pytest.param("upgrad", marks=pytest.mark.slow)])
def test_no_state_of_an_optimizer_takes_in_what_is_not_finite(name, balancer):
    model, history = trained(some_data("gradient"), balancer, "skip", root="trunk", optimizer=OPTIMIZERS[name]())
    assert history["a_skipped"] == [2]
    for variable in [*model.variables, *model.optimizer.variables]:
        assert np.isfinite(variable.numpy()).all(), variable.path


def test_a_fault_at_a_loss_scale_of_1_leaves_the_scale():
    optimizer = keras.optimizers.LossScaleOptimizer(sgd(), initial_scale=1.0)
    model, history = trained(some_data("gradient"), "equal", "skip", "trunk", optimizer, policy="mixed_float16")
    assert history["a_skipped"] == [2]
    assert optimizer.dynamic_scale.numpy() == 1
    assert all(np.isfinite(value).all() for value in model.get_weights())


@pytest.mark.parametrize("replicas", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("batches", [(0, 1), pytest.param((1, 4), marks=pytest.mark.slow)])
def test_weights_that_serve_for_several_steps_are_not_worked_out_for_a_task_left_out(
    replicas, batches, two_replicas, monkeypatch
):
    monkeypatch.setitem(globals(), "BAD", batches)
    models = []
    for fault in ("loss", "absent"):
        with two_replicas.scope() if replicas == 2 else tf.distribute.get_strategy().scope():
            models.append(trained(some_data(fault), balancers.UPGrad(update_every=3), "skip", optimizer=sgd())[0])
    assert largest_difference(*models) <= 1e-6
    for ours, theirs in zip(*(model.gradient_balancer.variables for model in models), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-5, err_msg=ours.path)


@pytest.mark.parametrize("balancer", ["equal", "upgrad"])
def test_gradients_by_rows(balancer):
    """Those of an embedding; what is not finite in them belongs to one task."""
    x, y = two_task_data(120)
    words = np.random.default_rng(0).integers(0, 30, (120, 5))
    results = []
    for label in (1e30, np.nan):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((5,), dtype="int32")
        features = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(30, 8)(inputs))
        own = keras.layers.GlobalMaxPooling1D()(keras.layers.Embedding(30, 4, name="b_words")(inputs))
        outputs = {
            "a": keras.layers.Dense(4, activation="softmax", name="a")(features),
            "b": keras.layers.Dense(1, name="b")(keras.layers.Concatenate()([features, own])),
        }
        model = MultiTaskModel(inputs, outputs, [tasks.Classification("a", 4), tasks.Regression("b")])
        model.compile(sgd(), balancer=balancer, on_nonfinite="skip")
        labels = {"a": y["a"], "b": np.where(np.isin(np.arange(120) // 20, BAD), label, y["b"].squeeze())}
        history = model.fit(words, labels, batch_size=20, shuffle=False, verbose=0).history
        results.append((model, history["b_skipped"]))
    assert [skipped for _, skipped in results] == [[2], [0]]
    assert largest_difference(results[0][0], results[1][0]) <= 1e-6
