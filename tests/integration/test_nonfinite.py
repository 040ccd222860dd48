"""A task whose loss or gradient is not finite in a batch: as Keras does, left out, or an error that names it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import MultiTaskModel, balancers, tasks
from tests.models import ONE_OF_EACH, largest_difference, others_slow, policies, two_task_data

FAMILIES = others_slow(each for each in ONE_OF_EACH if each != "auto_lambda")
BAD = (1, 4)  # the batches in which something is wrong


@keras.saving.register_keras_serializable("tests")
class Root(keras.layers.Layer):
    """The square root of `f^2 x^2 + x^2`: where `x` is 0 it is 0, and its gradient is not a number."""

    def call(self, features, x):
        return keras.ops.sqrt(keras.ops.square(features * x) + keras.ops.square(x))


def a_model(root=None, policy="float32"):
    """Three tasks; `root` says in which part there is a square root."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    switch = inputs[:, :1]
    with policies(policy):
        low = keras.layers.Dense(12, activation="tanh", name="low")(inputs)
        high = keras.layers.Dense(8, activation="tanh", name="high")(low)
        high = Root(name="root", dtype="float32")(high, switch) if root == "trunk" else high
        head = keras.layers.Dense(5, activation="tanh", name="b_hidden")(high)
        head = Root(name="root", dtype="float32")(head, switch) if root == "head" else head
        outputs = {
            "a": keras.layers.Dense(4, activation="softmax", name="a", dtype="float32")(high),
            "b": keras.layers.Dense(1, name="b", dtype="float32")(head),
            "c": keras.layers.Dense(1, name="c", dtype="float32")(low),
        }
    return MultiTaskModel(
        inputs, outputs, [tasks.Classification("a", 4), tasks.Regression("b"), tasks.Regression("c", weight=0.5)]
    )


def some_data(fault=None, size=120):
    """Batches of 20. `fault`: a label of b that overflows, inputs for `Root`, or labels of b that are absent."""
    x, y = two_task_data(size)
    y["c"] = (x[:, 1] - 2 * x[:, 0]).astype("float32")
    x[:, 0] = np.where(np.abs(x[:, 0]) < 0.2, 0.2, x[:, 0])
    rows = np.isin(np.arange(size) // 20, BAD)
    if fault == "loss":
        y["b"][rows] = 1e30
    if "absent" in (fault or ""):
        y["b"][rows] = np.nan
    if "gradient" in (fault or ""):
        x[rows & (np.arange(size) % 20 == 13), 0] = 0
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(20)


def trained(data, balancer, on_nonfinite, root=None, optimizer=None, policy="float32", epochs=1, **arguments):
    model = a_model(root, policy)
    model.compile(optimizer or keras.optimizers.Adam(0.01), balancer=balancer, on_nonfinite=on_nonfinite, **arguments)
    return model, model.fit(data, epochs=epochs, shuffle=False, verbose=0).history


@pytest.mark.parametrize("balancer", FAMILIES)
@pytest.mark.parametrize("fault", ["loss", "gradient"])
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


@pytest.mark.parametrize("balancer", FAMILIES)
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


def sgd():
    return keras.optimizers.SGD(0.1, momentum=0.9)


@pytest.mark.parametrize(
    "balancer",
    [*FAMILIES, *(pytest.param(each, marks=pytest.mark.slow) for each in ("db_mtl", "excess_mtl", "rlw", "stch"))]
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


OPTIMIZERS = {
    "sums": lambda: keras.optimizers.SGD(0.1, momentum=0.9, gradient_accumulation_steps=2),
    "adafactor": lambda: keras.optimizers.Adafactor(0.01),
    "nadam": lambda: keras.optimizers.Nadam(0.01),
    "averages": lambda: keras.optimizers.Adam(0.01, use_ema=True),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
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
@pytest.mark.parametrize("batches", [(0, 1), (1, 4)])
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


def infinite_input(value):
    """Data with one such number among the inputs of the second batch."""
    x, y = two_task_data(120)
    x[25, 3] = value
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(20)


def saturating(normalized=False):
    """Two tasks on a layer whose outputs, and their gradients, are finite where an input is infinite."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    x = keras.layers.BatchNormalization(name="norm")(inputs) if normalized else inputs
    x = keras.layers.Dense(12, activation="tanh", name="low")(x)
    outputs = {name: keras.layers.Dense(size, name=name)(x) for name, size in (("a", 4), ("b", 1))}
    outputs["a"] = keras.layers.Softmax()(outputs["a"])
    return MultiTaskModel(inputs, outputs, [tasks.Classification("a", 4), tasks.Regression("b")])


@pytest.mark.parametrize("balancer", ["equal", "upgrad", "graddrop"])
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_an_infinite_input_of_a_layer_that_saturates(balancer, value):
    model = saturating()
    model.compile(sgd(), balancer=balancer, on_nonfinite="skip")
    history = model.fit(infinite_input(value), shuffle=False, verbose=0).history
    assert history["a_skipped"] == history["b_skipped"] == [1]
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    model.compile(sgd(), balancer=balancer, on_nonfinite="raise")
    with pytest.raises(FloatingPointError, match="task 'a' and 'b' was not finite in step 2 of epoch 1"):
        model.fit(infinite_input(value), shuffle=False, verbose=0)


@pytest.mark.parametrize("replicas", [1, 2])
def test_moving_statistics_that_tasks_share_stay_finite(replicas, two_replicas):
    with two_replicas.scope() if replicas == 2 else tf.distribute.get_strategy().scope():
        model = saturating(normalized=True)
        model.compile(sgd(), on_nonfinite="skip")
    history = model.fit(infinite_input(np.nan), shuffle=False, verbose=0).history
    assert history["a_skipped"] == [1]
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    assert np.abs(model.get_layer("norm").moving_mean.numpy()).max() > 0


@pytest.mark.parametrize("eagerly", [False, True])
def test_moving_statistics_stay_finite_where_every_loss_is(eagerly):
    """The variance of a batch with 1e21 in it is infinite, what is normalized by it is not."""
    model = saturating(normalized=True)
    model.compile(sgd(), on_nonfinite="skip", run_eagerly=eagerly)
    model.fit(infinite_input(1e21), shuffle=False, verbose=0)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    assert np.abs(model.get_layer("norm").moving_mean.numpy()).max() > 0


@keras.saving.register_keras_serializable("tests")
class LargestSoFar(keras.layers.Layer):
    """Keeps the largest value of each channel that was above 1 in a batch: minus infinity until then."""

    def build(self, input_shape):
        low = keras.initializers.Constant(-np.inf)
        self.largest = self.add_weight(shape=input_shape[1:], initializer=low, trainable=False, name="largest")

    def call(self, inputs):
        found = keras.ops.max(inputs, axis=0)
        self.largest.assign(keras.ops.where(found > 1, keras.ops.maximum(found, self.largest), self.largest))
        return inputs


def test_what_was_never_finite_moves_as_without_the_guard():
    found = []
    for on_nonfinite in ("skip", None):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((6,))
        x = keras.layers.Dense(8, name="low")(LargestSoFar(name="kept")(inputs))
        outputs = {name: keras.layers.Dense(1, name=name)(x) for name in "ab"}
        model = MultiTaskModel(inputs, outputs, [tasks.Regression(name) for name in "ab"])
        model.compile(sgd(), on_nonfinite=on_nonfinite)
        rows = np.random.default_rng(0).normal(size=(60, 6)).astype("float32")
        rows[:, 2] = np.minimum(rows[:, 2], 0.9)
        model.fit(rows, dict.fromkeys("ab", rows[:, 0]), batch_size=20, shuffle=False, verbose=0)
        found.append(model.get_layer("kept").largest.numpy())
    np.testing.assert_array_equal(*found)
    assert np.isfinite(found[0]).sum() == 5


@keras.saving.register_keras_serializable("tests")
def group_lasso(kernel):
    """The lengths of a kernel's columns: at 0 the gradient of one is not a number."""
    return keras.ops.sum(keras.ops.sqrt(keras.ops.sum(keras.ops.square(kernel), axis=0)))


def test_a_regularization_loss_whose_gradient_is_not_finite():
    model = a_model()
    low = model.get_layer("low")
    low.kernel_regularizer = low.kernel.regularizer = group_lasso
    kernel = low.kernel.numpy()
    kernel[:, 2] = 0
    low.kernel.assign(kernel)
    model.compile(sgd(), on_nonfinite="skip")
    history = model.fit(some_data(), verbose=0).history
    assert history["a_skipped"] == history["b_skipped"] == history["c_skipped"] == [6]
    np.testing.assert_array_equal(low.kernel.numpy(), kernel)


def test_a_convolution_in_groups():
    """A fault in what the second group reads does not show in the first output."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 2))
    x = keras.layers.Conv2D(4, 3, groups=2, activation="tanh")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    outputs = {name: keras.layers.Dense(1, name=name)(x) for name in "ab"}
    model = MultiTaskModel(inputs, outputs, [tasks.Regression(name) for name in "ab"])
    model.compile(sgd(), on_nonfinite="skip")
    images = np.random.default_rng(0).normal(size=(30, 6, 6, 2)).astype("float32")
    images[12, 2, 2, 1] = np.inf
    labels = {name: np.ones(30, "float32") for name in "ab"}
    history = model.fit(images, labels, batch_size=10, shuffle=False, verbose=0).history
    assert history["a_skipped"] == history["b_skipped"] == [1]
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


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


@pytest.mark.parametrize("steps_per_execution", [1, 3])
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


@pytest.mark.parametrize("replicas", [1, 2])
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
        {"optimizer": keras.optimizers.Adam(0.01, gradient_accumulation_steps=2)},
        {"run_eagerly": True},
    ],
    ids=["xla", "several steps", "sums of gradients", "eagerly"],
)
@pytest.mark.parametrize("balancer", ["equal", "upgrad"])
def test_with_each_way_to_train(arguments, balancer):
    results = []
    for fault in ("loss", "absent"):
        given = dict(arguments)
        if "optimizer" in given:
            given["optimizer"] = keras.optimizers.Adam.from_config(given["optimizer"].get_config())
        results.append(trained(some_data(fault), balancer, "skip", **given))
    assert largest_difference(results[0][0], results[1][0]) <= 1e-6
    assert results[0][1]["b_skipped"] == [2]


@pytest.mark.parametrize("balancer", ["equal", "upgrad"])
def test_in_float16(balancer):
    """A loss that is not finite is the task's; an overflow of the scaled gradients is the optimizer's."""
    results = [trained(some_data(fault), balancer, "skip", policy="mixed_float16") for fault in ("loss", "absent")]
    assert largest_difference(results[0][0], results[1][0]) <= 1e-6
    assert results[0][1]["b_skipped"] == [2]
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1e-4), initial_scale=1e30)
    model, history = trained(some_data(), balancer, "skip", policy="mixed_float16", optimizer=scaled)
    assert scaled.dynamic_scale.numpy() < 1e30
    assert history["a_skipped"] == history["b_skipped"] == history["c_skipped"] == [0]


@pytest.mark.parametrize(
    "balancer", ["upgrad", *(pytest.param(each, marks=pytest.mark.slow) for each in ("equal", "famo"))]
)
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
