"""Labels that are missing: the loss is the mean over those that there are, and nothing else is touched."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import MultiTaskModel, tasks
from tests.models import largest_difference, others_slow

NAMES = ("kind", "flag", "size", "box")


def make(optimizer=None, balancer="equal", jit_compile=False, normalized=False, **task_arguments):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    trunk = keras.layers.Dense(8, activation="tanh", name="trunk")(inputs)
    outputs = {}
    for name, units, activation in (
        ("kind", 3, "softmax"),
        ("flag", 1, "sigmoid"),
        ("size", 1, None),
        ("box", 4, None),
    ):
        hidden = keras.layers.Dense(5, activation="tanh", name=f"{name}_hidden")(trunk)
        if normalized:
            hidden = keras.layers.BatchNormalization(name=f"{name}_norm")(hidden)
        outputs[name] = keras.layers.Dense(units, activation=activation, name=name)(hidden)
    kinds = [
        tasks.Classification("kind", 3, **task_arguments.get("kind", {})),
        tasks.BinaryClassification("flag"),
        tasks.Regression("size"),
        tasks.Regression("box", num_outputs=4, **task_arguments.get("box", {})),
    ]
    model = MultiTaskModel(inputs, outputs, kinds)
    model.compile(optimizer or keras.optimizers.Adam(0.01), balancer=balancer, jit_compile=jit_compile)
    return model


def data(size=24, seed=0, absent=()):
    """Half of the labels of each task missing at random, and all of those in `absent`."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(size, 6)).astype("float32")
    y = {
        "kind": rng.integers(0, 3, size),
        "flag": rng.integers(0, 2, size),
        "size": rng.normal(size=size).astype("float32"),
        "box": rng.normal(size=(size, 4)).astype("float32"),
    }
    missing = {name: rng.random(size) < 0.5 for name in NAMES}
    for name in NAMES:
        missing[name][0] = False
        missing[name] |= name in absent
    y["kind"][missing["kind"]] = -1
    y["flag"][missing["flag"]] = -1
    y["size"][missing["size"]] = np.nan
    y["box"][missing["box"], rng.integers(0, 4)] = np.nan  # one of four numbers will do
    return x, y, {name: ~absent for name, absent in missing.items()}


def reference(model, x, y, present):
    """The loss of each task over its labels alone, by Keras."""
    predictions = model.predict(x, verbose=0)
    return {
        task.name: float(task.loss(y[task.name][present[task.name]], predictions[task.name][present[task.name]]))
        for task in model.tasks
    }


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_loss_is_the_mean_over_the_labels_that_there_are(jit_compile):
    model = make(jit_compile=jit_compile)
    x, y, present = data()
    expected = reference(model, x, y, present)
    logs = model.evaluate(x, y, batch_size=24, verbose=0, return_dict=True)
    for name in NAMES:
        assert logs[f"{name}_loss"] == pytest.approx(expected[name], rel=1e-6), name
    assert logs["loss"] == pytest.approx(sum(expected.values()), rel=1e-6)
    assert model.fit(x, y, batch_size=24, verbose=0).history["kind_loss"][0] == pytest.approx(
        expected["kind"], rel=1e-6
    )


def test_batches_count_by_their_labels():
    model = make()
    x, y, present = data()
    expected = reference(model, x, y, present)
    logs = model.evaluate(x, y, batch_size=5, verbose=0, return_dict=True)
    for name in NAMES:
        assert logs[f"{name}_loss"] == pytest.approx(expected[name], rel=1e-5), name


def test_metrics_leave_missing_labels_out():
    model = make()
    x, y, present = data()
    predictions = model.predict(x, verbose=0)
    logs = model.evaluate(x, y, batch_size=5, verbose=0, return_dict=True)
    for task in model.tasks:
        rows = present[task.name]
        for metric in task.metrics:
            labels = y[task.name][rows]
            metric.update_state(labels if labels.ndim > 1 else labels[:, None], predictions[task.name][rows])
            assert logs[f"{task.name}_{metric.name}"] == pytest.approx(float(metric.result()), rel=1e-5), metric.name


@pytest.mark.parametrize("balancer", ["equal", "sum", "pcgrad"])
def test_training_equals_that_on_the_labels_alone(balancer):
    """One step of plain descent, its gradients worked out from the labelled rows of each task."""
    model = make(keras.optimizers.SGD(0.1), balancer)
    x, y, present = data()
    with tf.GradientTape(persistent=True) as tape:
        predictions = model(x, training=True)
        losses = [
            task.loss(y[task.name][present[task.name]], tf.boolean_mask(predictions[task.name], present[task.name]))
            for task in model.tasks
        ]
        total = tf.add_n(losses)
    trunk = model.get_layer("trunk").kernel
    jacobian = np.stack([tape.gradient(loss, trunk.value).numpy().ravel() for loss in losses])
    expected = {v.path: v.numpy() - 0.1 * tape.gradient(total, v.value).numpy() for v in model.trainable_variables}
    before = trunk.numpy()
    model.fit(x, y, batch_size=24, verbose=0)
    for variable in model.trainable_variables:
        if balancer != "pcgrad" or not variable.path.startswith("trunk"):
            np.testing.assert_allclose(variable, expected[variable.path], rtol=1e-5, atol=1e-6)
    if balancer == "pcgrad":  # within the span of the tasks' gradients
        moved = (before - trunk.numpy()).ravel() / 0.1
        _, rest, *_ = np.linalg.lstsq(jacobian.T, moved, rcond=None)
        assert rest.sum() < 1e-8
        assert np.abs(moved).max() > 1e-3


@pytest.mark.parametrize(
    "balancer",
    others_slow(["equal", "upgrad", "famo", "uncertainty", "dwa", "nash_mtl", "gradnorm"], by_default=("upgrad",)),
)
@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_task_without_a_label_in_the_batch_is_left_alone(balancer, jit_compile):
    """Adam has momentum and the head has moving statistics: neither moves it."""
    model = make(keras.optimizers.AdamW(0.01), balancer, jit_compile, normalized=True)
    x, y, _ = data()
    model.fit(x, y, batch_size=24, epochs=3, verbose=0)
    own = [layer for layer in model.layers if layer.name.startswith("size")]
    before = [weights.copy() for layer in own for weights in layer.get_weights()]
    trunk = model.get_layer("trunk").kernel.numpy()
    x, y, _ = data(seed=1, absent=["size"])
    logs = model.train_on_batch(x, y, return_dict=True)
    after = [weights for layer in own for weights in layer.get_weights()]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.abs(model.get_layer("trunk").kernel.numpy() - trunk).max() > 1e-4
    assert all(np.isfinite(value) for value in logs.values())
    assert all(np.isfinite(np.asarray(weight)).all() for weight in model.weights)


def test_what_the_optimizer_keeps_for_the_task_is_left_alone_too():
    """Twice the same: with a batch without the task in between, and without that batch."""
    states = []
    for between in (True, False):
        model = make(keras.optimizers.Adam(0.01))
        x, y, _ = data()
        for _ in range(3):
            model.train_on_batch(x, y)
        if between:
            other_x, other_y, _ = data(seed=1, absent=NAMES)  # no task has a label
            model.train_on_batch(other_x, other_y)
        slots = [v for v in model.optimizer.variables if "size" in v.path]
        assert len(slots) == 8  # two moments of two kernels and two biases
        states.append([v.numpy() for v in slots])
    for one, other in zip(*states, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_missing_label_in_one_task_says_nothing_of_another():
    x, y, _ = data()
    whole = make()
    rows = y["kind"] != -1
    logs = whole.evaluate(x, y, verbose=0, return_dict=True)
    assert logs["kind_loss"] == pytest.approx(
        whole.evaluate(x[rows], {**{k: v[rows] for k, v in y.items()}}, verbose=0, return_dict=True)["kind_loss"],
        rel=1e-5,
    )


def test_weights_of_zero_are_missing_labels():
    x, y, present = data()
    full = {name: np.where(present[name].reshape(-1, *[1] * (y[name].ndim - 1)), y[name], 0) for name in NAMES}
    masked, sentinel = make(), make()
    masked.fit(x, full, sample_weight={n: p.astype("float32") for n, p in present.items()}, shuffle=False, verbose=0)
    sentinel.fit(x, y, shuffle=False, verbose=0)
    assert largest_difference(masked, sentinel) < 1e-6


def test_arrays_without_any_label_of_a_task_are_refused():
    x, y, _ = data()
    y["flag"][:] = -1
    model = make()
    for method in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match="Labels 'flag' of task 'flag' .* Received: labels that are all missing"):
            method(x, y)


@pytest.mark.slow
@pytest.mark.parametrize("balancer", ["upgrad", "equal", "uncertainty"])
def test_uneven_replicas_are_one(balancer, two_replicas):
    """All labels of a task on one replica, batches that two do not divide, and a task without labels in some."""
    x, y, _ = data(42)
    for start in range(0, 42, 10):
        y["size"][start + 3 : start + 10] = np.nan
        y["kind"][start : start + 5] = -1
    y["flag"][10:20] = -1
    models, logs = [], []
    for scope in (two_replicas.scope(), tf.distribute.get_strategy().scope()):
        with scope:
            model = make(keras.optimizers.Adam(0.01), balancer, normalized=False)
        history = model.fit(x, y, batch_size=10, epochs=4, shuffle=False, verbose=0).history
        logs.append({**{k: v[-1] for k, v in history.items()}, **model.evaluate(x, y, 10, 0, return_dict=True)})
        models.append(model)
    assert models[0].optimizer.iterations.numpy() == 20
    assert largest_difference(*models) <= 1e-5
    for key, value in logs[0].items():
        assert logs[1][key] == pytest.approx(value, abs=1e-5), key


def test_what_no_active_task_reads_is_left_alone():
    """A layer that two of three tasks share, and the trunk where no task has a label."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    trunk = keras.layers.Dense(8, name="trunk")(inputs)
    both = keras.layers.Dense(4, name="both")(trunk)
    outputs = {"a": keras.layers.Dense(1)(trunk), "b": keras.layers.Dense(1)(both), "c": keras.layers.Dense(1)(both)}
    model = MultiTaskModel(inputs, outputs, [tasks.Regression(name) for name in "abc"])
    model.compile(keras.optimizers.Adam(0.01), balancer="uncertainty")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 6)).astype("float32"), {name: rng.normal(size=8).astype("float32") for name in "abc"}
    for _ in range(3):
        model.train_on_batch(x, y)
    nothing = np.full(8, np.nan, "float32")

    def state():
        return [model.get_layer(name).kernel.numpy() for name in ("trunk", "both")] + [
            model.loss_balancer.trainable_variables[0].numpy()
        ]

    before = state()
    model.train_on_batch(x, {**y, "b": nothing, "c": nothing})
    after = state()
    assert (before[0] != after[0]).any()
    np.testing.assert_array_equal(before[1], after[1])
    assert before[2][0] != after[2][0]
    np.testing.assert_array_equal(before[2][1:], after[2][1:])
    model.train_on_batch(x, dict.fromkeys("abc", nothing))
    for one, other in zip(after, state(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_accumulated_gradients_of_a_task_come_to_its_head():
    """Of two steps the first has a label of one task, the second one of the other."""
    model = make(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2))
    heads = {name: model.get_layer(name).kernel.numpy() for name in NAMES}
    for index in range(4):
        others = NAMES[:2] if index % 2 else NAMES[2:]
        x, y, _ = data(seed=index, absent=others)
        model.train_on_batch(x, y)
    for name in NAMES:
        assert np.abs(model.get_layer(name).kernel.numpy() - heads[name]).max() > 1e-4, name
    assert all(not v.numpy().any() for v in model.optimizer.variables if "gradient_accumulator" in v.path)


def test_a_weight_that_is_not_a_number_of_a_missing_label_does_not_count():
    x, y, present = data()
    model = make()
    weights = {name: np.where(present[name], 1.0, np.nan).astype("float32") for name in NAMES}
    logs = model.evaluate(x, y, sample_weight=weights, verbose=0, return_dict=True)
    assert logs == pytest.approx(model.evaluate(x, y, verbose=0, return_dict=True))
