"""Frozen is frozen, to the bit; released weights move at the first step of their stage; a run can be resumed."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from keras_mtl import MultiTaskModel, balancers, optimizers, tasks
from keras_mtl.transfer import FineTuning, Stage
from tests.models import largest_difference, two_task_data

X, Y = two_task_data(60)
EQUAL, UPGRAD, PAIR = (
    pytest.param(each, marks=pytest.mark.slow) for each in ("equal", "upgrad", ["uncertainty", "pcgrad"])
)
STAGES = [Stage(2), Stage(2, layers=2, learning_rate=0.01), Stage(1, "*", learning_rate=0.001)]


class Counting(MultiTaskModel):
    """Counts how often its step is traced, which is when Python runs it."""

    traces = 0

    def train_step(self, data):
        type(self).traces += 1
        return super().train_step(data)


def build(cls=MultiTaskModel):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    x = keras.layers.Dense(8, activation="tanh", name="first")(inputs)
    x = keras.layers.BatchNormalization(name="first_bn")(x)
    x = keras.layers.Dense(8, activation="tanh", name="second")(x)
    x = keras.layers.BatchNormalization(name="second_bn")(x)
    outputs = {
        "a": keras.layers.Dense(4, activation="softmax", name="a")(x),
        "b": keras.layers.Dense(1, name="b")(x),
    }
    return cls(inputs, outputs, [tasks.Classification("a", 4), tasks.Regression("b")])


def compiled(balancer="equal", optimizer=None, cls=MultiTaskModel, **arguments):
    model = build(cls)
    model.compile(optimizer or keras.optimizers.AdamW(0.02, weight_decay=0.1), balancer=balancer, **arguments)
    return model


class Watch(keras.callbacks.Callback):
    """Notes the weights before the first step and after each, by layer."""

    def __init__(self):
        super().__init__()
        self.seen, self.epochs, self.rates, self.traces = [], [], [], []

    def note(self):
        self.seen.append({layer.name: layer.get_weights() for layer in self.model.layers if layer.weights})

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        if not self.seen:
            self.note()

    def on_train_batch_end(self, batch, logs=None):
        self.note()
        self.epochs.append(self.epoch)
        self.traces.append(Counting.traces)
        self.rates.append(float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)))

    def moved(self, layer, step):
        """Which weights of a layer are other ones after a step than before it."""
        return [bool(np.any(a != b)) for a, b in zip(self.seen[step][layer], self.seen[step + 1][layer], strict=True)]


def fit(model, stages=STAGES, epochs=5, callbacks=(), **kwargs):
    watch = Watch()
    given = [FineTuning(stages), *callbacks, watch]
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(20)
    return model.fit(data, epochs=epochs, callbacks=given, verbose=0, **kwargs), watch


@pytest.mark.parametrize("balancer", [pytest.param("equal", marks=pytest.mark.slow), "upgrad", PAIR], ids=str)
def test_each_stage_trains_what_it_says_from_its_first_step_on(balancer):
    Counting.traces = 0
    history, watch = fit(compiled(balancer, cls=Counting))
    assert history.history["stage"] == [1, 1, 2, 2, 3]
    assert watch.traces == [1] * 6 + [2] * 6 + [3] * 3
    for step, epoch in enumerate(watch.epochs):
        released = {"first": epoch == 4, "first_bn": epoch == 4, "second": epoch >= 2, "second_bn": epoch >= 2}
        for layer, expected in released.items():
            # kernel and bias, or scale, offset, mean and variance
            assert all(watch.moved(layer, step)) == any(watch.moved(layer, step)) == expected, (layer, step)
        assert all(watch.moved("a", step) + watch.moved("b", step))
    assert watch.rates == pytest.approx([0.02] * 6 + [0.01] * 6 + [0.001] * 3)


FOLLOWING = [name for name, cls in balancers.classes().items() if not cls.keeps_gradients and cls.min_tasks < 3]
VARIANTS = [
    balancers.UPGrad(gradients="features"),
    balancers.UPGrad(update_every=2),
    balancers.PCGrad(update_every=2, gradients="features"),
]


@pytest.mark.slow
@pytest.mark.parametrize("balancer", [*FOLLOWING, *map(keras.saving.serialize_keras_object, VARIANTS)], ids=str)
def test_every_balancer_that_keeps_no_gradients(balancer):
    """In the first stage nothing that is shared is trained, so that there is no gradient to balance."""
    model = compiled(balancer)
    more = {"balancing_data": tf.data.Dataset.from_tensor_slices((X, Y)).batch(20)} if balancer == "auto_lambda" else {}
    history, watch = fit(model, [Stage(1), Stage(1, layers=1), Stage(1, "*")], epochs=3, **more)
    assert np.isfinite(history.history["loss"]).all()
    assert not any(watch.moved("second", 0) + watch.moved("second", 3))
    assert all(watch.moved("a", 0) + watch.moved("b", 0) + watch.moved("second", 6) + watch.moved("first", 6))


@pytest.mark.parametrize(
    ("balancer", "more"), [(["uncertainty", "upgrad"], {}), ("uncertainty", {"on_nonfinite": "skip"})]
)
def test_a_balancer_that_is_learnt(balancer, more):
    """Its weights are no part of what is frozen and released."""
    model = compiled(balancer, **more)
    before = model.loss_balancer.get_weights()
    fit(model, [Stage(1), Stage(1, layers=1)], epochs=2)
    assert any(np.any(a != b) for a, b in zip(before, model.loss_balancer.get_weights(), strict=True))


@pytest.mark.parametrize("balancer", ["equal", UPGRAD])
def test_replicas(balancer, two_replicas):
    with two_replicas.scope():
        model = compiled(balancer, cls=Counting)
    Counting.traces = 0
    history, watch = fit(model, [Stage(1), Stage(1, layers=2)], epochs=2)
    # Steps of several kinds, on each replica, are traced at once.
    before = [0, *watch.traces[:-1]]
    changes = [step for step, pair in enumerate(zip(before, watch.traces, strict=True)) if pair[0] != pair[1]]
    assert changes == [0, 3]
    assert watch.traces[3] == 2 * watch.traces[0]
    assert history.history["stage"] == [1, 2]
    for step, epoch in enumerate(watch.epochs):
        for layer, expected in {"first": False, "first_bn": False, "second": epoch == 1}.items():
            assert all(watch.moved(layer, step)) == any(watch.moved(layer, step)) == expected
    for variable in model.get_layer("second").weights:
        first, second = two_replicas.experimental_local_results(variable.value)
        np.testing.assert_array_equal(first, second)


def test_a_stage_is_what_compiling_anew_with_the_same_state_gives():
    """Without state, that is by plain SGD, stages are fits of models that were compiled with those layers frozen."""
    staged = compiled(optimizer=keras.optimizers.SGD(0.05))
    fit(staged, [Stage(1), Stage(1, "second*")], epochs=2)
    by_hand = build()
    for frozen in (("first", "first_bn", "second", "second_bn"), ("first", "first_bn")):
        for layer in by_hand.layers:
            layer.trainable = layer.name not in frozen
        by_hand.compile(keras.optimizers.SGD(0.05))
        by_hand.fit(X, Y, batch_size=20, shuffle=False, verbose=0)
    assert largest_difference(staged, by_hand) <= 1e-6


@pytest.mark.parametrize("released", [None, "*"], ids=["nothing", "released"])
def test_the_optimizer_begins_anew_where_something_is_released(released):
    model = compiled(optimizer=keras.optimizers.Adam(0.01))
    states = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: states.append([v.numpy() for v in model.optimizer.variables]),
        on_epoch_end=lambda epoch, logs: states.append([v.numpy() for v in model.optimizer.variables]),
    )
    fit(model, [Stage(1), Stage(1, released)], epochs=2, callbacks=[note])
    assert states[1][0] == 3
    for position, (before, after) in enumerate(zip(states[1], states[2], strict=True)):
        is_kept = released is None or position == 1  # the learning rate
        np.testing.assert_array_equal(after, before if is_kept else 0 * before)
    assert states[-1][0] == (6 if released is None else 3)


def test_released_weights_take_steps_of_the_learning_rate():
    """As after another `compile`, not of several times that, as with moments of zero late in a training."""
    rate, model = 0.001, compiled(optimizer=keras.optimizers.Adam(0.001))
    _, watch = fit(model, [Stage(40), Stage(2, "*")], epochs=42)
    first = [kernel["first"][0] for kernel in watch.seen]
    assert np.abs(first[120] - first[0]).max() == 0
    steps = [np.abs(after - before).max() for before, after in zip(first[120:], first[121:], strict=False)]
    assert len(steps) == 6
    assert max(steps) < 1.1 * rate


@pytest.mark.parametrize(
    ("rule", "frozen_moves", "released_moves"),
    [
        ("follow", [False] * 4, [True] * 4),
        ("frozen", [False] * 4, [False] * 4),
        ("adapt", [False, False, True, True], [True] * 4),
    ],
)
def test_the_rule_for_batch_normalization(rule, frozen_moves, released_moves):
    _, watch = fit(compiled(), [Stage(1, "second*", batch_normalization=rule)], epochs=1)
    assert watch.moved("first_bn", 0) == frozen_moves
    assert watch.moved("second_bn", 0) == released_moves
    assert not any(watch.moved("first", 0))
    assert all(watch.moved("second", 0))


class KilledError(RuntimeError):
    pass


def kill_at(epoch, batch):
    seen = []

    def on_batch(step, logs):
        if seen == [epoch] and step == batch:
            raise KilledError

    def on_epoch(number, logs):
        seen[:] = [number]

    return keras.callbacks.LambdaCallback(on_epoch_begin=on_epoch, on_train_batch_end=on_batch)


SCHEDULE = keras.optimizers.schedules.ExponentialDecay(0.02, 3, 0.5)


@pytest.mark.parametrize(
    ("rate", "balancer"),
    [(SCHEDULE, "upgrad"), pytest.param(0.01, "uncertainty", marks=pytest.mark.slow)],
    ids=["schedule", "number"],
)
def test_a_run_that_was_killed_in_the_middle_of_a_stage_goes_on_there(rate, balancer, tmp_path):
    stages = [Stage(1), Stage(3, "second*", learning_rate=rate), Stage(1, "*", learning_rate=0.001)]
    whole = compiled(balancer)
    _, expected = fit(whole, stages)
    backup, killed = keras.callbacks.BackupAndRestore(tmp_path / "backup"), compiled(balancer)
    with pytest.raises(KilledError):
        fit(killed, stages, callbacks=[backup, kill_at(2, 1)])
    again = compiled(balancer)
    history, watch = fit(again, stages, callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "backup")])
    assert history.history["stage"] == [2, 2, 3]
    assert watch.rates == expected.rates[6:]
    assert largest_difference(whole, again) == 0
    assert not any(watch.moved("first", 0) + watch.moved("first_bn", 0))


def test_schedules_count_the_steps_of_their_stage():
    _, watch = fit(compiled(), [Stage(1), Stage(2, "*", learning_rate=SCHEDULE)], epochs=3)
    assert watch.rates == pytest.approx([0.02] * 3 + [float(SCHEDULE(step)) for step in range(6)])


@pytest.mark.parametrize("balancer", [EQUAL, pytest.param("upgrad", marks=pytest.mark.slow)])
def test_a_model_that_was_saved_in_the_middle_of_a_stage_goes_on(balancer, tmp_path):
    whole = compiled(balancer)
    fit(whole)
    half = compiled(balancer)
    with pytest.warns(UserWarning, match="stage 2 is cut to 1 of its 2 epochs, stage 3 is never reached"):
        fit(half, epochs=3)
    half.save(tmp_path / "half.keras")
    loaded = keras.saving.load_model(tmp_path / "half.keras")
    assert not loaded.get_layer("first").trainable
    history, _ = fit(loaded, initial_epoch=3)
    assert history.history["stage"] == [2, 3]
    assert largest_difference(whole, loaded) == 0


def test_initial_epoch_alone():
    model = compiled()
    history, watch = fit(model, initial_epoch=3)
    assert history.history["stage"] == [2, 3]
    assert watch.rates == pytest.approx([0.01] * 3 + [0.001] * 3)
    assert not any(watch.moved("first", 0))
    assert all(watch.moved("second", 0))


def test_after_the_last_stage_it_goes_on_and_fit_alone_does_too():
    model = compiled(cls=Counting)
    history, _ = fit(model, [Stage(1), Stage(1, layers=2)], epochs=3)
    assert history.history["stage"] == [1, 2, 2]
    Counting.traces, before = 0, model.get_layer("first").get_weights()
    model.fit(X, Y, batch_size=20, verbose=0)
    assert Counting.traces == 0
    np.testing.assert_array_equal(model.get_layer("first").get_weights()[0], before[0])


def test_a_stage_that_differs_by_its_rate_alone_is_not_traced():
    Counting.traces = 0
    fit(compiled(cls=Counting), [Stage(1, "*", learning_rate=rate) for rate in (0.1, 0.01, 0.001)], epochs=3)
    assert Counting.traces == 1


def test_with_learning_rates_by_layer_and_several_steps_at_once():
    optimizer = optimizers.LayerwiseLearningRate("adamw", {"second": 0.0}, decay=0.5)
    model = build()
    model.compile(optimizer, balancer="upgrad", steps_per_execution=3)
    _, watch = fit(model, [Stage(1), Stage(1, "*", learning_rate=0.1)], epochs=2)
    assert not any(watch.moved("first", 0))
    assert all(watch.moved("first", 1))
    assert not any(watch.moved("second", 1))


def test_a_data_set_of_unknown_size_can_be_resumed_but_within_a_schedule():
    data = tf.data.Dataset.from_generator(
        lambda: iter(zip(X, Y["a"], Y["b"], strict=True)),
        output_signature=(tf.TensorSpec((6,)), tf.TensorSpec((), tf.int64), tf.TensorSpec(())),
    )
    data = data.map(lambda x, a, b: (x, {"a": a, "b": b})).batch(20)
    model = compiled()
    stages = [Stage(2, learning_rate=SCHEDULE)]
    with pytest.raises(ValueError, match="Give `steps_per_epoch`"):
        model.fit(data, epochs=2, initial_epoch=1, callbacks=[FineTuning(stages)], verbose=0)


@pytest.mark.parametrize(
    ("stages", "epochs", "message"),
    [
        (STAGES, 4, "`fit` was given epochs=4, and the stages have 5 together: stage 3 is never reached"),
        (STAGES[:2], 3, "stage 2 is cut to 1 of its 2 epochs"),
    ],
)
def test_stages_that_are_cut(stages, epochs, message):
    callback = FineTuning(stages)
    callback.set_model(compiled())
    callback.set_params({"epochs": epochs})
    with pytest.warns(UserWarning, match=message):
        callback.on_train_begin()


def begin(stages, model=None, **arguments):
    callback = FineTuning(stages, **arguments)
    callback.set_model(model or compiled())
    callback.set_params({"epochs": 99})
    callback.on_train_begin()


def test_bad_stages():
    for stages in ([], Stage(1), ["*"]):
        with pytest.raises(ValueError, match="should be a list of `Stage`s"):
            FineTuning(stages)
    with pytest.raises(ValueError, match="Received: none in stage 3"):
        FineTuning([Stage(1), Stage(1, learning_rate=0.1), Stage(1)])
    with pytest.raises(ValueError, match="should be an integer of at least 1"):
        Stage(0)
    with pytest.raises(ValueError, match="two ways to choose"):
        Stage(1, "*", blocks=2)
    with pytest.raises(ValueError, match="should be above 0"):
        Stage(1, learning_rate=0)
    with pytest.raises(ValueError, match="`batch_normalization` should be one of"):
        Stage(1, batch_normalization="no")
    with pytest.raises(ValueError, match="`layers` should be an integer of at least 0"):
        Stage(1, layers=-1)


def test_what_is_refused_before_training():
    with pytest.raises(ValueError, match=r"'secnd\*', which matches none. The nearest names are 'second'"):
        begin([Stage(1, "secnd*")])
    with pytest.raises(ValueError, match="at most 4, which is how many the backbone has. Received: layers=5"):
        begin([Stage(1, layers=5)])
    with pytest.raises(ValueError, match="at most 2, which is how many the backbone has. Received: blocks=3"):
        begin([Stage(1, blocks=3)])
    model = build()
    mtl.transfer.freeze(model)
    model.compile("adam")
    with pytest.raises(ValueError, match="Compile the model with its backbone trainable"):
        begin(STAGES, model)
    with pytest.raises(ValueError, match="one with a schedule"):
        begin(STAGES, compiled(optimizer=keras.optimizers.Adam(SCHEDULE)))
    with pytest.raises(ValueError, match="use_ema=True"):
        begin(STAGES, compiled(optimizer=keras.optimizers.Adam(0.1, use_ema=True)))
    with pytest.raises(ValueError, match=re.escape("The balancer `MoCo` has a number for each shared weight")):
        begin(STAGES, compiled("moco"))
    with pytest.raises(ValueError, match="should be a callback of a `MultiTaskModel`"):
        begin(STAGES, keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))
    single = mtl.build_model("mlp", [tasks.Regression("b")], input_shape=(6,))
    single.compile("adam")
    with pytest.raises(ValueError, match="`backbone` should be given where no layer leads to two"):
        begin([Stage(1)], single)
    begin([Stage(1)], single, backbone="dense*")
    assert not single.get_layer("dense_0").trainable
