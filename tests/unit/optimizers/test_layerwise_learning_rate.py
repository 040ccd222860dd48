"""The update of each layer is multiplied, exactly, whatever the optimizer, and everything else is as without."""

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl import optimizers
from tests.models import largest_difference, others_slow, policies, three_task_model, two_task_data, two_task_model

X, Y = two_task_data(60)
KINDS = {
    "sgd": lambda **more: keras.optimizers.SGD(0.05, momentum=0.9, **more),
    "adam": lambda **more: keras.optimizers.Adam(0.01, **more),
    "adamw": lambda **more: keras.optimizers.AdamW(0.01, weight_decay=0.1, **more),
    "rmsprop": lambda **more: keras.optimizers.RMSprop(0.01, momentum=0.5, **more),
    "adagrad": lambda **more: keras.optimizers.Adagrad(0.1, **more),
    "nadam": lambda **more: keras.optimizers.Nadam(0.01, **more),
    "muon": lambda **more: keras.optimizers.Muon(0.01, **more),
}


def wrapped(inner, *args, **kwargs):
    return optimizers.LayerwiseLearningRate(inner, *args, **kwargs)


def trained(optimizer, balancer="equal", epochs=2, build=two_task_model, **compiled):
    model = build()
    model.compile(optimizer, balancer=balancer, **compiled)
    model.fit(X, Y, batch_size=20, epochs=epochs, shuffle=False, verbose=0)
    return model


def moves(model, before):
    pairs = zip(model.get_weights(), before, strict=True)
    return {v.path: a.astype("float64") - b for v, (a, b) in zip(model.weights, pairs, strict=True)}


@pytest.mark.parametrize("kind", others_slow(KINDS, by_default=("adam",)))
def test_with_multipliers_of_1_it_is_the_inner_optimizer_to_the_bit(kind):
    assert largest_difference(trained(KINDS[kind]()), trained(wrapped(KINDS[kind](), {"*": 1.0}))) == 0


@pytest.fixture(scope="module")
def by_adamw():
    keras.utils.set_random_seed(0)
    return trained(KINDS["adamw"]())


MORE = [
    {"clipnorm": 0.01},
    {"global_clipnorm": 0.01},
    {"clipvalue": 0.001},
    {"use_ema": True, "ema_overwrite_frequency": 2},
    {"gradient_accumulation_steps": 2},
    {"loss_scale_factor": 3.0},
]


@pytest.mark.parametrize("more", others_slow(MORE, by_default=MORE[3:4]), ids=lambda more: next(iter(more)))
def test_what_the_inner_optimizer_does_beside_is_done(more, by_adamw):
    plain, around = trained(KINDS["adamw"](**more)), trained(wrapped(KINDS["adamw"](**more), {"*": 1.0}))
    assert largest_difference(plain, around) == 0
    assert largest_difference(plain, by_adamw) > 0


@pytest.mark.parametrize("kind", others_slow(list(KINDS)[:6], by_default=("sgd", "adam")))
def test_the_first_step_of_a_layer_is_that_fraction_of_the_plain_one(kind):
    """Decay of the weights included: the initial weights are not zero."""
    before = two_task_model().get_weights()
    steps = []
    for optimizer in (KINDS[kind](), wrapped(KINDS[kind](), {"trunk": 0.1, "b_*/kernel": 0.5, "a": 0})):
        model = two_task_model()
        model.compile(optimizer)
        model.train_on_batch(X, Y)
        steps.append(moves(model, before))
    plain, scaled = steps
    for path, step in plain.items():
        factor = {"trunk": 0.1, "a": 0.0}.get(path.split("/")[0], 0.5 if path == "b_hidden/kernel" else 1.0)
        np.testing.assert_allclose(scaled[path], factor * step, atol=1.2e-7)  # what float32 resolves near 1
        if path.endswith("bias"):  # which begins at 0
            np.testing.assert_allclose(scaled[path], factor * step, rtol=1e-6)
        if factor == 0:
            assert not scaled[path].any()
        else:
            assert np.abs(scaled[path]).max() > 0


def test_the_moments_are_those_of_the_plain_gradient():
    plain, scaled = (two_task_model() for _ in range(2))
    plain.compile(KINDS["adam"]())
    scaled.compile(wrapped(KINDS["adam"](), {"*": 0.1}))
    for model in (plain, scaled):
        model.train_on_batch(X, Y)
    for first, second in zip(plain.optimizer.variables, scaled.optimizer.variables, strict=True):
        np.testing.assert_array_equal(first, second)


def test_weights_excluded_from_decay_stay_so():
    inner = KINDS["adamw"]()
    inner.exclude_from_weight_decay(var_names=["kernel", "bias"])
    none = trained(wrapped(inner, {"*": 0.5}), epochs=1)
    assert largest_difference(none, trained(keras.optimizers.Adam(0.005), epochs=1)) <= 1e-7


@pytest.mark.slow
def test_all_by_a_half_is_half_the_learning_rate():
    halved = trained(keras.optimizers.AdamW(0.005, weight_decay=0.1))
    assert largest_difference(halved, trained(wrapped(KINDS["adamw"](), {"*": 0.5}))) <= 1e-7


PAIR = pytest.param(["uncertainty", "pcgrad"], marks=pytest.mark.slow)


@pytest.mark.parametrize("balancer", ["upgrad", PAIR], ids=str)
def test_with_a_balancer(balancer):
    before = two_task_model().get_weights()
    model = trained(wrapped("adam", {"trunk": 0.0, "trunk_2": 0.1}), balancer)
    moved = moves(model, [*before, *model.get_weights()[len(before) :]])
    assert not moved["trunk/kernel"].any()
    assert np.abs(moved["trunk_2/kernel"]).max() > 0
    plain = trained("adam", balancer)
    assert largest_difference(plain, trained(wrapped("adam", {"*": 1.0}), balancer)) == 0


def test_tasks_without_a_label_keep_their_moments_through_two_wrappers():
    y = {"a": np.full(60, -1), "b": Y["b"]}
    y["a"][:20] = Y["a"][:20]
    with policies("mixed_float16"):
        model = two_task_model()
        model.compile(wrapped(KINDS["adamw"](), {"a": 0.5}))
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    adam = model.optimizer.inner_optimizer.inner_optimizer
    positions = {variable.path: index for index, variable in enumerate(model.trainable_variables)}
    after = []

    def note(batch, logs):
        rows = {}
        for name in ("a", "b"):
            at = positions[f"{name}/kernel"]
            kept = model.get_layer(name).kernel, adam._momentums[at], adam._velocities[at]
            rows[name] = [np.array(each) for each in kept]
        after.append(rows)

    begin = model.get_layer("a").get_weights()[0]
    note(None, None)
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=note)
    model.fit(X, y, batch_size=20, shuffle=False, callbacks=[callback], verbose=0)
    assert np.abs(after[1]["a"][0] - begin).max() > 0
    for kept, moving, before in zip(after[3]["a"], after[3]["b"], range(3), strict=True):
        np.testing.assert_array_equal(kept, after[1]["a"][before])
        assert np.abs(kept).max() > 0
        assert np.any(moving != after[1]["b"][before])


def test_float16_scales_the_loss_once():
    def build():
        with policies("mixed_float16"):
            return two_task_model()

    inner = KINDS["adamw"](loss_scale_factor=4.0)
    plain, around = trained(KINDS["adamw"](), build=build), trained(wrapped(inner, {"*": 1.0}), build=build)
    assert largest_difference(plain, around) == 0
    assert inner.loss_scale_factor is None


def test_schedules_and_callbacks_set_the_learning_rate():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.01, 2, 0.5)
    plain = trained(keras.optimizers.Adam(schedule))
    assert largest_difference(plain, trained(wrapped(keras.optimizers.Adam(schedule), {"*": 1.0}))) == 0
    model = two_task_model()
    model.compile(wrapped("adam", {"trunk": 0.5}))
    plateau = keras.callbacks.ReduceLROnPlateau("loss", factor=0.1, patience=1, min_delta=100, cooldown=9)
    model.fit(X, Y, epochs=3, callbacks=[plateau], verbose=0)
    assert float(model.optimizer.inner_optimizer.learning_rate) == pytest.approx(1e-4)
    model.optimizer.learning_rate = 0.5
    assert float(model.optimizer.learning_rate) == 0.5


@pytest.mark.parametrize("policy", ["float32", pytest.param("mixed_float16", marks=pytest.mark.slow)])
def test_a_saved_model_goes_on_exactly(policy, tmp_path):
    with policies(policy):
        model = two_task_model()
        model.compile(wrapped(KINDS["adamw"](), {"trunk": 0.1, "bias": 0.5}, decay=0.5), balancer="upgrad")
        model.fit(X, Y, batch_size=20, shuffle=False, verbose=0)
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
    for each in (model, loaded):
        each.fit(X, Y, batch_size=20, epochs=2, shuffle=False, verbose=0)
    assert largest_difference(model, loaded) == 0
    assert int(loaded.optimizer.iterations) == 9


@pytest.mark.slow
def test_replicas_in_float16(two_replicas):
    """Steps whose loss overflows are left out, by the wrapper outside; those after them are as on one device."""
    models = []
    for scope in (two_replicas.scope(), keras.name_scope("alone")):
        with scope, policies("mixed_float16"):
            model = three_task_model(policy="mixed_float16")
            inner = keras.optimizers.AdamW(0.01, weight_decay=0.1, gradient_accumulation_steps=2)
            model.compile(wrapped(inner, {"low": 0.1, "a": 0.0}))
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
        y = {**Y, "c": (X[:, 1] - 2 * X[:, 0]).astype("float32")}
        before = model.get_layer("a").get_weights()
        model.fit(X, y, batch_size=20, epochs=2, shuffle=False, verbose=0)
        models.append(model)
        np.testing.assert_array_equal(model.get_layer("a").get_weights()[0], before[0])
    assert largest_difference(*models) <= 1e-3


def test_its_config():
    optimizer = wrapped(keras.optimizers.Adam(0.02), {"trunk": 0.5}, decay=0.9, name="mine")
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert (again.multipliers, again.decay, again.name) == ({"trunk": 0.5}, 0.9, "mine")
    assert float(again.learning_rate) == pytest.approx(0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"gradient_accumulation_steps": 2, "global_clipnorm": 0.1},
        {"loss_scale_factor": 4.0, "clipnorm": 0.1},
    ],
    ids=str,
)
def test_replicas(more, two_replicas):
    models = []
    for scope in (two_replicas.scope(), keras.name_scope("alone")):
        with scope:
            model = three_task_model()
            inner = keras.optimizers.AdamW(0.01, weight_decay=0.1, **more)
            model.compile(wrapped(inner, {"low": 0.1, "a": 0.0, "bias": 0.5}), balancer="upgrad")
        before = model.get_layer("a").get_weights()
        y = {**Y, "c": (X[:, 1] - 2 * X[:, 0]).astype("float32")}
        model.fit(X, y, batch_size=20, epochs=2, shuffle=False, verbose=0)
        models.append(model)
        assert float(keras.ops.convert_to_numpy(inner.iterations)) == (
            3 if "gradient_accumulation_steps" in more else 6
        )
        np.testing.assert_array_equal(model.get_layer("a").get_weights()[0], before[0])
    assert largest_difference(*models) <= 1e-6


def test_decay_by_depth_counts_from_the_outputs():
    model = two_task_model()
    model.compile(wrapped("adam", {"b_hidden": 3.0}, decay=0.5), balancer="uncertainty")
    found = {path: value for path, value in model.optimizer.multiplier_by_path.items() if not path.endswith("bias")}
    assert found == {
        "a/kernel": 1.0,
        "b/kernel": 1.0,
        "b_hidden/kernel": 3.0,
        "trunk_2/kernel": 0.25,
        "trunk/kernel": 0.125,
        model.loss_balancer.trainable_variables[0].path: 1.0,
    }


def nested_model():
    keras.utils.set_random_seed(0)
    inside = keras.Input((6,))
    hidden = keras.layers.Dense(5, name="first")(inside)
    inner = keras.Model(inside, keras.layers.BatchNormalization(name="bn")(hidden), name="encoder")
    second = keras.Sequential([keras.layers.Dense(4, name="first_of_second")], name="second")
    inputs = keras.Input((6,))
    return keras.Model(inputs, keras.layers.Dense(1, name="head")(second(inner(inputs))))


def test_nested_models_by_path_and_another_model_of_keras(tmp_path):
    model = nested_model()
    optimizer = wrapped("adam", {"encoder/first": 0.0, "gamma": 0.25}, decay=0.5)
    optimizer.bind(model)
    model.compile(optimizer, loss="mse")
    found = optimizer.multiplier_by_path
    assert found["encoder/first/kernel"] == 0.0
    assert (found["encoder/bn/gamma"], found["encoder/bn/beta"]) == (0.25, 0.25)
    assert (found["second/first_of_second/kernel"], found["head/bias"]) == (0.5, 1.0)
    before = model.get_weights()
    model.fit(X, Y["b"][:, np.newaxis], verbose=0)
    assert not np.any(model.get_weights()[0] - before[0])
    model.save(tmp_path / "plain.keras")
    loaded = keras.saving.load_model(tmp_path / "plain.keras")
    for each in (model, loaded):
        each.fit(X, Y["b"][:, np.newaxis], shuffle=False, verbose=0)
    assert largest_difference(model, loaded) == 0


def test_layers_that_bear_the_name_of_their_model():
    inner = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, name="enc")], name="enc")
    inputs = keras.Input((6,))
    optimizer = wrapped("sgd")
    optimizer.bind(keras.Model(inputs, keras.layers.Dense(1, name="head")(inner(inputs))))
    assert list(optimizer.multiplier_by_path) == ["enc/enc/kernel", "enc/enc/bias", "head/kernel", "head/bias"]


def test_bad_input():
    model = two_task_model()
    with pytest.raises(ValueError, match=r"'trunc', which matches none. The nearest names are 'trunk', 'trunk_2'"):
        model.compile(wrapped("adam", {"trunc": 0.1}))
    with pytest.raises(ValueError, match="should be a finite number of at least 0"):
        wrapped("adam", {"trunk": -1.0})
    with pytest.raises(ValueError, match="should be a dict"):
        wrapped("adam", ["trunk"])
    for decay in (0, 1.5, "0.8"):
        with pytest.raises(ValueError, match="`decay` should be"):
            wrapped("adam", decay=decay)
    with pytest.raises(ValueError, match="updates each variable by its `update_step`. Received: a LossScaleOptimizer"):
        wrapped(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam()))
    plain = nested_model()
    optimizer = wrapped("adam", decay=0.5)
    with pytest.raises(ValueError, match=r"Call `bind\(model\)` before"):
        optimizer.build(plain.trainable_variables)
    optimizer.bind(two_task_model())
    with pytest.raises(ValueError, match="Received: another model's"):
        optimizer.build(plain.trainable_variables)


def test_a_built_model_of_the_package():
    tasks = [mtl.tasks.Regression("a"), mtl.tasks.Regression("b")]
    model = mtl.build_model("ResNet50", tasks, input_shape=(32, 32, 3))
    model.compile(wrapped("adam", decay=0.5))
    found = model.optimizer.multiplier_by_path
    assert found["conv5_block3_1_conv/kernel"] == found["conv5_block3_3_bn/gamma"] == 0.5
    assert found["conv1_conv/kernel"] == 0.5**17
