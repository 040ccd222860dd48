"""An ensemble predicts what its members predict together, and is a model like any other."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import MultiTaskModel, balancers, build_model, export, tasks
from keras_mtl.evaluation import Ensemble
from tests.models import two_task_data, two_task_model


def members(number=3):
    return [two_task_model(seed) for seed in range(number)]


X = two_task_data(40)[0]


def predictions(models):
    found = [model.predict(X, verbose=0) for model in models]
    return {name: np.stack([each[name] for each in found]) for name in found[0]}


def test_the_mean():
    models = members()
    every, found = predictions(models), Ensemble(models).predict(X, verbose=0)
    for name, values in every.items():
        np.testing.assert_allclose(found[name], values.mean(axis=0), atol=1e-6)


def test_weights_by_member_and_by_task():
    models = members()
    every = predictions(models)
    for weights in ([1, 2, 5], {"a": [1, 2, 5], "b": [0, 3, 1]}):
        found = Ensemble(models, "weighted", weights).predict(X, verbose=0)
        for name, values in every.items():
            share = np.array(weights[name] if isinstance(weights, dict) else weights, float)
            np.testing.assert_allclose(found[name], np.tensordot(share / share.sum(), values, 1), atol=1e-6)


def test_weights_in_an_array():
    models = members(2)
    listed, array = (Ensemble(models, "weighted", weights) for weights in ([1.0, 3.0], np.array([1.0, 3.0])))
    np.testing.assert_array_equal(listed.predict(X, verbose=0)["b"], array.predict(X, verbose=0)["b"])


def test_a_vote_counts_classes_and_takes_the_mean_of_numbers():
    models = members()
    every, found = predictions(models), Ensemble(models, "vote").predict(X, verbose=0)
    votes = np.eye(4)[every["a"].argmax(axis=-1)]
    assert (votes.std(axis=0) > 0).any()  # they do not all agree
    np.testing.assert_allclose(found["a"], votes.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(found["b"], every["b"].mean(axis=0), atol=1e-6)


def kinds(logits):
    bce, cce = keras.losses.BinaryCrossentropy(from_logits=logits), None
    if logits:
        cce = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return [
        tasks.Classification("one_of", 3, loss=cce, class_weights=[1.0, 2.0, 1.0]),
        tasks.BinaryClassification("yes", loss=bce),
        tasks.MultiLabelClassification("several", 3, loss=bce),
        tasks.OrdinalRegression("grade", 3),
    ]


def every_kind(logits, seed):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((6,))
    trunk = keras.layers.Dense(5, activation="tanh")(inputs)
    outputs = {
        "one_of": keras.layers.Dense(3, activation=None if logits else "softmax")(trunk),
        "yes": keras.layers.Dense(1, activation=None if logits else "sigmoid")(trunk),
        "several": keras.layers.Dense(3, activation=None if logits else "sigmoid")(trunk),
        "grade": kinds(False)[3].head(trunk),
    }
    return MultiTaskModel(inputs, outputs, kinds(logits))


@pytest.mark.parametrize("method", ["mean", "vote"])
@pytest.mark.parametrize("logits", [False, True])
def test_it_is_probabilities_that_are_combined(method, logits):
    models = [every_kind(logits, seed) for seed in range(3)]
    plain = predictions([every_kind(False, seed) for seed in range(3)])
    found = Ensemble(models, method).predict(X, verbose=0)
    for name, values in plain.items():
        if method == "vote":
            values = np.eye(3)[values.argmax(-1)] if name in ("one_of", "grade") else values > 0.5
        expected = values.mean(axis=0)
        got = found[name]
        if logits and name == "one_of":
            got = np.exp(got) / np.exp(got).sum(-1, keepdims=True)
        elif logits and name != "grade":
            got = 1 / (1 + np.exp(-got))
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_members_stay_as_they_are_and_lend_their_weights():
    models = members(2)
    before = [model.get_weights() for model in models]
    names = [[layer.name for layer in model.layers] for model in models]
    ensemble = Ensemble(models)
    assert [[layer.name for layer in model.layers] for model in models] == names
    assert ensemble.count_params() == 2 * models[0].count_params()
    for model, weights in zip(models, before, strict=True):
        for first, second in zip(model.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(first, second)
    models[0].set_weights([np.zeros_like(value) for value in before[0]])
    np.testing.assert_allclose(ensemble.predict(X, verbose=0)["b"], models[1].predict(X, verbose=0)["b"] / 2, atol=1e-6)


@pytest.mark.parametrize(
    "arguments", [{}, {"method": "weighted", "weights": {"a": [1, 3], "b": [1, 0]}}, {"method": "vote"}]
)
def test_it_is_saved_and_loaded_in_safe_mode(arguments, tmp_path):
    models = members(2)
    for model in models:
        model.compile("adam", balancer=balancers.PCGrad())
    ensemble = Ensemble(models, **arguments, name="together")
    ensemble.save(tmp_path / "ensemble.keras")
    loaded = keras.saving.load_model(tmp_path / "ensemble.keras")
    assert type(loaded) is Ensemble
    assert (loaded.name, loaded.method) == ("together", ensemble.method)
    assert loaded.get_config()["weights"] == ensemble.get_config()["weights"]
    expected, found = ensemble.predict(X, verbose=0), loaded.predict(X, verbose=0)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-6)
    again = Ensemble([loaded, two_task_model(7)])  # and is a member in its turn
    np.testing.assert_allclose(
        again.predict(X, verbose=0)["b"],
        (found["b"] + two_task_model(7).predict(X, verbose=0)["b"]) / 2,
        atol=1e-6,
    )


def test_it_is_exported(tmp_path):
    ensemble = Ensemble(members(2))
    export.saved_model(ensemble, tmp_path / "serving")
    loaded = tf.saved_model.load(tmp_path / "serving")
    expected = ensemble.predict(X, verbose=0)
    found = loaded.signatures["serving_default"](tf.constant(X))
    for name, values in expected.items():
        np.testing.assert_allclose(found[name].numpy(), values, atol=1e-6)
    assert list(loaded.signatures["b"](tf.constant(X))) == ["b"]


def test_it_is_evaluated_with_the_tasks_metrics():
    x, y = two_task_data(40)
    ensemble = Ensemble(members())
    ensemble.compile("sgd")
    logs = ensemble.evaluate(x, y, verbose=0, return_dict=True)
    found = ensemble.predict(x, verbose=0)
    assert logs["a_accuracy"] == pytest.approx((found["a"].argmax(-1) == y["a"]).mean())
    assert logs["b_mae"] == pytest.approx(np.abs(found["b"][:, 0] - y["b"]).mean(), rel=1e-5)


def test_inputs_by_name():
    def build(seed):
        keras.utils.set_random_seed(seed)
        inputs = {name: keras.Input((2,), name=name) for name in ("left", "right")}
        trunk = keras.layers.Dense(3)(keras.layers.concatenate(list(inputs.values())))
        outputs = {name: keras.layers.Dense(1)(trunk) for name in "ab"}
        return MultiTaskModel(inputs, outputs, [tasks.Regression(name) for name in "ab"])

    models = [build(0), build(1)]
    x = {"left": X[:, :2], "right": X[:, 2:4]}
    found, first, second = (model.predict(x, verbose=0)["a"] for model in (Ensemble(models), *models))
    np.testing.assert_allclose(found, (first + second) / 2, atol=1e-6)


def other(**arguments):
    kinds = arguments.pop("kinds", [tasks.Classification("a", 4), tasks.Regression("b")])
    return build_model("mlp", kinds, input_shape=arguments.pop("input_shape", (6,)))


@pytest.mark.parametrize(
    "second, message",
    [
        ({"kinds": [tasks.Classification("a", 4)]}, r"tasks of `models\[1\]` should be \['a', 'b'\].*absent: \['b'\]"),
        ({"kinds": [tasks.Classification("a", 5), tasks.Regression("b")]}, "'a'.*same kind and size.*4.*Received.*5"),
        ({"kinds": [tasks.Classification("a", 4), tasks.BinaryClassification("b")]}, "'b'.*BinaryClassification"),
        ({"input_shape": (7,)}, r"inputs of `models\[1\]`.*float32 \(batch, 6\).*Received: float32 \(batch, 7\)"),
    ],
)
def test_members_that_do_not_fit(second, message):
    with pytest.raises(ValueError, match=message):
        Ensemble([two_task_model(), other(**second)])


def test_other_bad_input():
    first, second = members(2)
    for arguments, message in [
        (([],), "a list of at least one model"),
        ((first,), "a list of at least one model"),
        (([first, keras.Sequential()],), r"`models\[1\]` should be a `MultiTaskModel`. Received: a Sequential"),
        (([first, first],), "different models"),
        (([first, second], "median"), "`method` should be one of"),
        (([first, second], "mean", [1, 1]), "`weights` goes with method='weighted'"),
        (([first, second], "weighted"), "a list of 2 numbers"),
        (([first, second], "weighted", [1, 1, 1]), "a list of 2 numbers"),
        (([first, second], "weighted", {"a": [1, 1]}), r"tasks of `weights`.*absent: \['b'\]"),
        (([first, second], "weighted", [1, -1]), r"`weights\[1\]` should be a finite number of at least 0"),
        (([first, second], "weighted", [0, 0]), "should not be all 0"),
        (([every_kind(True, 0), every_kind(False, 1)],), "agree on whether the outputs of task 'one_of' are logits"),
    ]:
        with pytest.raises(ValueError, match=message):
            Ensemble(*arguments)
    first.compile("sgd", loss={"a": keras.losses.SparseCategoricalCrossentropy(from_logits=True)})
    with pytest.raises(ValueError, match="was compiled says otherwise"):
        Ensemble([first, second])
