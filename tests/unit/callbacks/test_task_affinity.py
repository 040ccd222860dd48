"""The look-ahead is what its definition says, and leaves the training as it would be without it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import MultiTaskModel, balancers, build_model, tasks
from keras_mtl.callbacks import TaskAffinity
from tests.models import second_stream, three_task_data, three_task_model, two_task_data, two_task_model

EVERYTHING = {
    "uncertainty and pcgrad": ["uncertainty", "pcgrad"],
}
MORE = {
    "auto_lambda": "auto_lambda",
    "equal": "equal",
    "famo": "famo",
    "upgrad in some steps": balancers.UPGrad(update_every=3),
}
slow = pytest.mark.slow


def busy_model(seed=0):
    """Dropout, noise, batch normalization and regularization, in the shared part and in a head."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((6,))
    x = keras.layers.Dense(16, activation="relu", kernel_regularizer="l2")(inputs)
    x = keras.layers.Dropout(0.3)(keras.layers.BatchNormalization()(x))
    x = keras.layers.ActivityRegularization(0.01)(keras.layers.GaussianNoise(0.1)(x))
    c = keras.layers.BatchNormalization()(keras.layers.Dense(8)(x))
    outputs = {
        "a": keras.layers.Dense(4, activation="softmax", name="a")(x),
        "b": keras.layers.Dense(1, name="b")(x),
        "c": keras.layers.Dense(1, name="c")(keras.layers.Dropout(0.5)(c)),
    }
    kinds = [tasks.Classification("a", 4), tasks.Regression("b"), tasks.Regression("c", weight=0.5)]
    return MultiTaskModel(inputs, outputs, kinds)


def everything(model):
    """All state: weights, random streams, optimizer, balancer, metrics."""
    variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    return [np.array(variable) for variable in variables]


def copied(found):
    return found if isinstance(found, (str, list)) else type(found).from_config(found.get_config())


def trained(build, callback, data, optimizer="adam", balancer="equal", strategy=None, **compile_arguments):
    with (strategy or tf.distribute.get_strategy()).scope():
        model = build()
        keras.utils.set_random_seed(1)
        optimizer, balancer = copied(optimizer), copied(balancer)
        model.compile(optimizer, balancer=balancer, **compile_arguments)
    logs = model.fit(data(), epochs=2, verbose=0, callbacks=callback, **second_stream(balancer)).history
    return model, logs


def assert_bitwise_the_same(build, callback, data, **arguments):
    without, logs = trained(build, [], data, **arguments)
    model, logs_with = trained(build, [callback], data, **arguments)
    assert callback.counts.max() > 1
    for first, second in zip(everything(without), everything(model), strict=True):
        np.testing.assert_array_equal(first, second)
    assert logs == logs_with


def shuffled(size=130):
    data = three_task_data(size, batch_size=1).unbatch().apply(tf.data.experimental.assert_cardinality(size))
    return data.shuffle(50, seed=3).batch(20)


@pytest.mark.parametrize(
    "balancer",
    [*EVERYTHING.values(), *(pytest.param(each, marks=slow) for each in MORE.values())],
    ids=[*EVERYTHING, *MORE],
)
def test_the_training_is_the_same_bit_for_bit(balancer):
    assert_bitwise_the_same(busy_model, TaskAffinity(every=2), shuffled, balancer=balancer)


SCHEDULE = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
OPTIMIZERS = {
    "sgd": (keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True, clipnorm=1.0), None),
    "averages": (keras.optimizers.AdamW(SCHEDULE, use_ema=True), None),
    "overwriting": (keras.optimizers.AdamW(0.1, use_ema=True, ema_overwrite_frequency=3), 0.1),
    "accumulating": (keras.optimizers.Adam(0.1, gradient_accumulation_steps=2), 0.1),
    "loss scale": (keras.optimizers.LossScaleOptimizer(keras.optimizers.Nadam(0.01), dynamic_growth_steps=3), None),
}


@pytest.mark.parametrize("name", ["sgd", *(pytest.param(name, marks=slow) for name in list(OPTIMIZERS)[1:])])
def test_with_other_optimizers_too(name):
    optimizer, learning_rate = OPTIMIZERS[name]
    assert_bitwise_the_same(
        busy_model, TaskAffinity(every=2, learning_rate=learning_rate), shuffled, optimizer=optimizer
    )


@slow
@pytest.mark.parametrize(
    "arguments",
    [{"steps_per_execution": 3}, {"run_eagerly": True}, {"jit_compile": True}],
    ids=lambda each: next(iter(each)),
)
def test_in_other_ways_of_running_too(arguments):
    assert_bitwise_the_same(busy_model, TaskAffinity(every=3), shuffled, **arguments)


@slow
def test_a_task_that_shares_nothing_helps_nobody_with_clipping_either():
    """One task has a part of its own: its step moves nothing that others read."""
    x, y = two_task_data(40)
    with tf.distribute.OneDeviceStrategy("CPU:0").scope():
        inputs = keras.Input((6,))
        trunk = keras.layers.Dense(4)(inputs)
        own = keras.layers.Dense(4)(inputs)
        outputs = {name: keras.layers.Dense(1, name=name)(own if name == "c" else trunk) for name in "abc"}
        model = MultiTaskModel(inputs, outputs, [tasks.Regression(name) for name in "abc"])
        model.compile(keras.optimizers.SGD(0.1, clipnorm=1.0))
    callback = TaskAffinity(every=1)
    model.fit(x, dict.fromkeys("abc", y["b"]), verbose=0, callbacks=[callback])
    assert (callback.affinity[2, :2] == 0).all()
    assert (callback.affinity[0, :2] != 0).all()


def assert_the_same_up_to_rounding(strategy, **arguments):
    # Not Adam: it blows up the rounding errors of a bias before batch normalization, whose gradient is 0.
    callback, sgd = TaskAffinity(every=3), keras.optimizers.SGD(0.01, momentum=0.9)
    (without, logs), (model, logs_with) = (
        trained(busy_model, callbacks, lambda: three_task_data(80), sgd, strategy=strategy, **arguments)
        for callbacks in ([], [callback])
    )
    assert callback.counts.max() > 1
    for first, second in zip(everything(without), everything(model), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-6)
    assert logs.keys() == logs_with.keys()
    for key, values in logs.items():
        assert values == pytest.approx(logs_with[key], rel=1e-5)


@slow
def test_under_two_replicas_up_to_rounding(two_replicas):
    assert_the_same_up_to_rounding(two_replicas)


@slow
@pytest.mark.parametrize("jit_compile", [False, True])
def test_under_a_strategy_of_one_replica_up_to_rounding(jit_compile):
    assert_the_same_up_to_rounding(tf.distribute.OneDeviceStrategy("CPU:0"), jit_compile=jit_compile)


@slow
@pytest.mark.parametrize("learning_rate", [None, 0.05])
def test_two_replicas_measure_what_one_does(learning_rate, two_replicas):
    found, clipping = [], keras.optimizers.Adam(0.01, global_clipnorm=0.1)
    for strategy in (two_replicas, None):
        callback = TaskAffinity(every=2, learning_rate=learning_rate)
        trained(three_task_model, [callback], lambda: three_task_data(80), clipping, strategy=strategy)
        found.append(callback)
    np.testing.assert_array_equal(found[0].counts, found[1].counts)
    np.testing.assert_allclose(found[0].affinity, found[1].affinity, atol=1e-5)


def by_hand(x, y, moved):
    """The affinities before the first step, `moved(gradients, variables)` being the variables after a step."""
    model = two_task_model()
    kinds = {task.name: task for task in model.tasks}
    shared = [model.get_layer(name).trainable_variables for name in ("trunk", "trunk_2")]
    shared = [variable for variables in shared for variable in variables]

    def losses():
        predictions = model(x)
        return [kinds[name].loss(y[name], predictions[name]) for name in "ab"]

    values = [np.array(variable) for variable in shared]
    rows = []
    for index in range(2):
        with tf.GradientTape() as tape:
            before = losses()
        gradients = tape.gradient(before[index], [variable.value for variable in shared])
        for variable, value in zip(shared, moved(gradients, values), strict=True):
            variable.assign(value)
        rows.append([1 - float(after) / float(loss) for after, loss in zip(losses(), before, strict=True)])
        for variable, value in zip(shared, values, strict=True):
            variable.assign(value)
    return np.array(rows)


def test_a_step_of_descent_by_hand():
    x, y = two_task_data(20)
    y["b"] = y["b"][:, np.newaxis]
    expected = by_hand(
        x, y, lambda gradients, values: [v - 0.3 * g.numpy() for v, g in zip(values, gradients, strict=True)]
    )
    assert np.abs(expected).min() > 1e-4
    # Of the optimizer SGD with that rate, and as plain descent under another optimizer.
    for optimizer, learning_rate in ((keras.optimizers.SGD(0.3), None), (keras.optimizers.Adam(0.01), 0.3)):
        model = two_task_model(a={"weight": 7.0})  # weights do not count
        model.compile(optimizer)
        callback = TaskAffinity(learning_rate=learning_rate)
        model.fit(x, y, batch_size=20, verbose=0, callbacks=[callback])
        np.testing.assert_allclose(callback.affinity, expected, rtol=2e-3, atol=1e-6)
        assert callback.tasks == ("a", "b")


def test_the_optimizers_moments_are_in_its_step():
    x, y = two_task_data(40)
    y["b"] = y["b"][:, np.newaxis]
    adam = by_hand(
        x, y, lambda gradients, values: [v - 0.01 * np.sign(g.numpy()) for v, g in zip(values, gradients, strict=True)]
    )
    model = two_task_model()
    model.compile(keras.optimizers.Adam(0.01))
    callback = TaskAffinity(every=1)
    model.fit(x, y, batch_size=40, verbose=0, callbacks=[callback])
    np.testing.assert_allclose(callback.affinity, adam, rtol=1e-2, atol=1e-5)
    # With a momentum of nearly 1, what a task does in the second step drowns in what all did before.
    model = two_task_model()
    model.compile(keras.optimizers.SGD(0.1, momentum=0.999))
    model.fit(x, y, batch_size=40, epochs=30, verbose=0)
    callback = TaskAffinity(every=1)
    model.fit(x, y, batch_size=40, verbose=0, callbacks=[callback])
    spread = np.abs(callback.affinity[0] - callback.affinity[1])
    plain = TaskAffinity(every=1, learning_rate=0.1)
    model.fit(x, y, batch_size=40, verbose=0, callbacks=[plain])
    assert (spread < 0.5 * np.abs(callback.affinity).max(axis=0)).all()
    assert np.abs(plain.affinity[0] - plain.affinity[1]).max() > spread.max() / 10


def twins(size=200, seed=0):
    """Two tasks that are one, a third that is the opposite of theirs in the shared part, and the data."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((6,))
    trunk = keras.layers.Dense(4, use_bias=False, kernel_initializer="zeros")(inputs)
    total = keras.layers.Dense(1, kernel_initializer="ones", trainable=False)(trunk)
    outputs = {name: keras.layers.Activation("linear", name=name)(total) for name in ("one", "same", "opposite")}
    x = np.random.default_rng(seed).normal(size=(size, 6)).astype("float32")
    y = {"one": x[:, 0], "same": x[:, 0], "opposite": -x[:, 0]}
    return MultiTaskModel(inputs, outputs, [tasks.Regression(name) for name in outputs]), x, y


def test_tasks_that_are_alike_help_each_other_and_opposite_ones_do_not():
    model, x, y = twins()
    model.compile(keras.optimizers.SGD(0.01))
    callback = TaskAffinity(every=1)
    model.fit(x, y, batch_size=50, verbose=0, callbacks=[callback])
    one = callback.affinity[0]
    assert one[1] == pytest.approx(one[0])
    assert one[0] > 0 > one[2]


def test_a_task_without_a_label_has_no_affinity_in_that_batch():
    x, y = two_task_data(60)
    y["a"][:40] = -1  # in two batches of three
    model = two_task_model()
    model.compile(keras.optimizers.SGD(0.01))
    callback = TaskAffinity(every=1)
    model.fit(x, y, batch_size=20, shuffle=False, verbose=0, callbacks=[callback])
    assert callback.counts.tolist() == [[1, 1], [1, 3]]
    assert np.isfinite(callback.affinity).all()
    y["a"][:] = -1
    callback.reset()
    model.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(20), verbose=0, callbacks=[callback])
    assert callback.counts.tolist() == [[0, 0], [0, 3]]
    assert np.isnan(callback.affinity[0]).all()
    assert np.isnan(callback.affinity[:, 0]).all()


def test_a_loss_of_zero_has_no_affinity():
    model = MultiTaskModel(*_constant())
    model.compile("sgd")
    callback = TaskAffinity(every=1)
    model.fit(np.ones((4, 2)), {"a": np.zeros(4), "b": np.ones(4)}, verbose=0, callbacks=[callback])
    assert callback.counts.tolist() == [[0, 1], [0, 1]]


def _constant():
    inputs = keras.Input((2,))
    trunk = keras.layers.Dense(1, kernel_initializer="zeros")(inputs)
    outputs = {"a": keras.layers.Rescaling(1.0, name="a")(trunk), "b": keras.layers.Dense(1, name="b")(trunk)}
    return inputs, outputs, [tasks.Regression("a"), tasks.Regression("b")]


@pytest.mark.parametrize(
    "every, steps, executed, expected",
    [
        (None, 31, 1, 3),
        (3, 12, 2, 3),
        pytest.param(3, 10, 1, 4, marks=pytest.mark.slow),
        pytest.param(1, 4, 4, 1, marks=pytest.mark.slow),
    ],
)
def test_how_often_it_is_measured(every, steps, executed, expected):
    x, y = two_task_data(4 * steps)
    model = two_task_model()
    model.compile("adam", steps_per_execution=executed)
    callback = TaskAffinity(every=every)
    model.fit(x, y, batch_size=4, verbose=0, callbacks=[callback])
    assert (callback.counts == expected).all()  # None: every 15 steps for two tasks


def test_several_fits_are_one_training_and_another_model_begins_anew():
    x, y = two_task_data(40)
    callback = TaskAffinity(every=3)
    model = two_task_model()
    model.compile("adam")
    for expected in (1, 2, 2, 3):  # two steps a fit: before steps 0, 3, 6
        model.fit(x, y, batch_size=20, verbose=0, callbacks=[callback])
        assert (callback.counts == expected).all()
    model.compile("sgd")
    model.fit(x, y, batch_size=20, verbose=0, callbacks=[callback])
    assert (callback.counts == 4).all()
    other = two_task_model()
    other.compile("adam")
    other.fit(x, y, batch_size=20, verbose=0, callbacks=[callback])
    assert (callback.counts == 1).all()


def test_it_goes_on_from_its_state():
    def fit(callback, epochs, model):
        model.fit(three_task_data(60), epochs=epochs, verbose=0, callbacks=[callback])

    def new():
        model = three_task_model()
        model.compile("adam")
        return model

    whole = TaskAffinity(every=2)
    fit(whole, 3, new())
    model, first, second = new(), TaskAffinity(every=2), TaskAffinity(every=2)
    fit(first, 1, model)
    second.set_state(first.get_state())
    fit(second, 2, model)
    np.testing.assert_array_equal(second.counts, whole.counts)
    np.testing.assert_allclose(second.affinity, whole.affinity, rtol=1e-6)


def test_it_is_in_the_history_if_asked_for():
    x, y = two_task_data(40)
    model = two_task_model()
    model.compile("adam")
    plain = model.fit(x, y, verbose=0, callbacks=[TaskAffinity(every=1)]).history
    assert not any("affinity" in key for key in plain)
    callback = TaskAffinity(every=1, log=True)
    history = model.fit(x, y, verbose=0, epochs=2, callbacks=[callback]).history
    assert history["affinity_a_to_b"][-1] == pytest.approx(callback.affinity[0, 1])
    assert len(history["affinity_b_to_a"]) == 2


def test_a_measurement_that_fails_leaves_the_weights(monkeypatch):
    x, y = two_task_data(40)
    model = two_task_model()
    model.compile("adam", run_eagerly=True)
    model.fit(x, y, verbose=0)
    before = [np.array(variable) for variable in (*model.variables, *model.optimizer.variables)]
    apply = model.optimizer.apply

    def half(*arguments):
        apply(*arguments)
        raise MemoryError("half way")

    monkeypatch.setattr(model.optimizer, "apply", half)
    with pytest.raises(MemoryError, match="half way"):
        model.fit(x, y, verbose=0, callbacks=[TaskAffinity()])
    weights = [*model.variables, *model.optimizer.variables]
    for first, second in zip(before, weights, strict=True):
        np.testing.assert_array_equal(first, np.array(second))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"every": 0}, "`every` should be an integer of at least 1"),
        ({"learning_rate": -1.0}, "`learning_rate` should be a finite number of at least 0"),
        ({"learning_rate": 0.0}, "`learning_rate` should be more than 0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        TaskAffinity(**arguments)


def test_models_that_have_no_affinity_are_refused_before_training():
    x, y = two_task_data(20)

    def refused(model, message, callback=None, labels=y):
        weights = [np.array(variable) for variable in model.variables]
        with pytest.raises(ValueError, match=message):
            model.fit(x, labels, verbose=0, callbacks=[callback or TaskAffinity()])
        for first, second in zip(weights, model.variables, strict=True):
            np.testing.assert_array_equal(first, np.array(second))

    plain = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
    plain.compile("sgd", "mse")
    refused(plain, "is for a `MultiTaskModel`. Received: a Sequential", labels=y["b"])
    apart = build_model("mlp", [tasks.Classification("a", 4), tasks.Regression("b")], "independent", input_shape=(6,))
    apart.compile("sgd")
    refused(apart, "tasks that share trainable weights.*0 shared trainable variables")
    alone = build_model("mlp", [tasks.Regression("b")], input_shape=(6,))
    alone.compile("sgd")
    refused(alone, r"a model with the tasks \['b'\]", labels={"b": y["b"]})
    slow = two_task_model()
    slow.compile(keras.optimizers.SGD(gradient_accumulation_steps=2))
    refused(slow, "gradient_accumulation_steps=2.*give a `learning_rate`")
    averaging = two_task_model()
    averaging.compile(keras.optimizers.Adam(use_ema=True, ema_overwrite_frequency=10))
    refused(averaging, "overwrites the weights.*ema_overwrite_frequency=10")
    other = TaskAffinity()
    other.set_state({"tasks": ["a", "z"], "sums": np.zeros((2, 2)), "counts": np.zeros((2, 2)), "until_next": 0})
    model = two_task_model()
    model.compile("sgd")
    refused(model, r"state that was set is of the tasks \['a', 'z'\]", other)
    with pytest.raises(ValueError, match="should be what `get_state` returned"):
        other.set_state({})
    for key, value in (("sums", [[1.0]]), ("counts", [1, 2, 3, 4])):
        with pytest.raises(ValueError, match=r"of 2 tasks should have `sums` and `counts` of shape \(2, 2\). Received"):
            other.set_state({**other.get_state(), key: value})


def test_accumulated_gradients_with_plain_descent():
    x, y = two_task_data(40)
    model = two_task_model()
    model.compile(keras.optimizers.SGD(0.01, gradient_accumulation_steps=2))
    callback = TaskAffinity(every=1, learning_rate=0.01)
    model.fit(x, y, batch_size=10, verbose=0, callbacks=[callback])
    assert (np.diag(callback.affinity) > 0).all()
