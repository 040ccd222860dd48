"""What architectures that copy the backbone promise: saving, precision, XLA, replicas, any backbone and balancer."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from tests.models import frozen_normalization, largest_difference, others_slow, policies

RULES = {
    "independent": lambda: mtl.sharing.Independent(weights="own"),
    "soft": lambda: mtl.sharing.Soft(0.1, weights="own"),
    "soft_trace": lambda: mtl.sharing.Soft(0.1, norm="trace", weights="own"),
    "cross_stitch": lambda: mtl.sharing.CrossStitch(weights="own"),
    "cross_stitch_per_channel": lambda: mtl.sharing.CrossStitch(0.7, per_channel=True),
    "nddr": lambda: mtl.sharing.NDDR(0.8, weight_decay=0.01),
    "learning_to_branch": lambda: mtl.sharing.LearningToBranch(annealing_steps=20, seed=1, weights="own"),
}
# XLA draws other numbers from the same seed: at this temperature the draws make no difference.
WITHOUT_DRAWS = mtl.sharing.LearningToBranch(initial_temperature=1e6, final_temperature=1e6, weights="own")
SHARES = [name for name in RULES if name.partition("_")[0] not in ("independent", "soft")]


def found_tasks():
    return [mtl.tasks.Classification("a", 3), mtl.tasks.Regression("b")]


def build(name, policy="float32", rule=None):
    keras.utils.set_random_seed(0)
    with policies(policy):
        inputs = keras.Input((6,))
        x = keras.layers.Normalization(mean=0.5, variance=2.0, name="normalization")(inputs)
        x = keras.layers.Dense(5, activation="tanh", kernel_regularizer="l2", name="low")(x)
        x = keras.layers.Dense(4, activation="tanh", name="high")(x)
        return mtl.build_model(keras.Model(inputs, x), found_tasks(), sharing=rule or RULES[name]())


def data(size=64):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(size, 6)).astype("float32")
    return x, {"a": np.argmax(x[:, :3], axis=1), "b": (x[:, 0] - x[:, 5]).astype("float32")}


def predictions(model, x):
    return {name: as_array(value) for name, value in model(x, training=False).items()}


def as_array(value):
    return keras.ops.convert_to_numpy(value)


@pytest.mark.parametrize("name", others_slow(RULES, by_default=("nddr",)))
class TestTraining:
    def test_learns(self, name):
        model = build(name)
        x, y = data()
        model.compile(keras.optimizers.Adam(0.02))
        history = model.fit(x, y, epochs=15, batch_size=16, verbose=0).history
        assert history["a_loss"][-1] < 0.8 * history["a_loss"][0]
        assert history["b_loss"][-1] < 0.8 * history["b_loss"][0]

    def test_a_saved_model_goes_on_as_it_would_have(self, name, tmp_path):
        model = build(name)
        x, y = data()
        model.compile(keras.optimizers.Adam(0.02))
        model.fit(x, y, batch_size=16, verbose=0)
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        assert isinstance(again, mtl.MultiTaskModel)
        assert largest_difference(model, again) == 0
        np.testing.assert_allclose(float(sum(again.losses)), float(sum(model.losses)), rtol=1e-6)
        for each in (model, again):
            each.fit(x, y, batch_size=16, shuffle=False, verbose=0)
        assert largest_difference(model, again) <= 1e-6


@pytest.mark.parametrize("name", RULES)
class TestEvery:
    def test_config_round_trip(self, name):
        rule = RULES[name]()
        again = mtl.sharing.get(keras.saving.serialize_keras_object(rule))
        assert type(again) is type(rule)
        assert again.get_config() == rule.get_config()
        for argument, value in rule.get_config().items():
            held = getattr(rule, argument)
            assert (list(held) if isinstance(held, tuple) else held) == value

    @pytest.mark.slow
    def test_is_traced_once(self, name):
        model = build(name)
        x, y = data()
        model.compile("adam")
        traces = []
        before = model.train_step
        model.train_step = lambda batch: (traces.append(None), before(batch))[1]
        model.fit(x, y, batch_size=16, epochs=2, verbose=0)
        assert len(traces) == 1

    @pytest.mark.slow
    def test_mixed_precision(self, name):
        model = build(name, "mixed_float16")
        x, y = data()
        model.compile(keras.optimizers.SGD(0.01))
        logs = model.fit(x, y, batch_size=16, epochs=2, verbose=0).history
        assert all(np.isfinite(value).all() for value in logs.values())
        assert all(weight.dtype == "float32" for weight in model.trainable_variables)
        full = build(name)
        full.set_weights(model.get_weights())
        for task, value in predictions(model, x).items():
            np.testing.assert_allclose(value, predictions(full, x)[task], atol=2e-2)

    @pytest.mark.slow
    def test_xla(self, name):
        x, y = data()
        models = []
        for jit_compile in (False, True):
            model = build(name, rule=WITHOUT_DRAWS if name == "learning_to_branch" else None)
            model.compile(keras.optimizers.SGD(0.05), jit_compile=jit_compile)
            model.fit(x, y, batch_size=16, shuffle=False, verbose=0)
            models.append(model)
        assert largest_difference(*models) <= 1e-4

    @pytest.mark.slow
    def test_two_replicas_do_what_one_does(self, name, two_replicas):
        x, y = data()
        models, logs = [], []
        for scope in (two_replicas.scope(), tf.distribute.get_strategy().scope()):
            with scope:
                model = build(name)
                frozen_normalization(model)
                model.compile(keras.optimizers.SGD(0.05))
            model.fit(x, y, batch_size=16, shuffle=False, verbose=0)
            logs.append(model.evaluate(x, y, batch_size=16, verbose=0, return_dict=True))
            models.append(model)
        assert largest_difference(*models) <= 1e-5
        assert logs[0]["loss"] == pytest.approx(logs[1]["loss"], abs=1e-5)

    @pytest.mark.slow
    def test_export(self, name, tmp_path):
        model = build(name)
        x, _ = data(8)
        mtl.export.saved_model(model, tmp_path / "served")
        served = tf.saved_model.load(str(tmp_path / "served"))
        for task, value in served.signatures["serving_default"](tf.constant(x)).items():
            np.testing.assert_allclose(value.numpy(), predictions(model, x)[task], atol=1e-5)

    def test_a_slice_of_one_task_is_exported_by_keras(self, name, tmp_path):
        model = build(name)
        keras.Model(model.input, {"b": model.output["b"]}).export(tmp_path / "served", verbose=False)

    def test_layers_are_named_after_the_tasks_and_are_not_the_backbones(self, name):
        inputs = keras.Input((6,))
        low = keras.layers.Dense(5, name="low")
        backbone = keras.Model(inputs, keras.layers.Dense(4, name="high")(low(inputs)))
        model = mtl.build_model(backbone, found_tasks(), sharing=RULES[name]())
        readers = ["node_0", "node_1"] if name == "learning_to_branch" else ["a", "b"]
        assert {f"{layer}_{reader}" for layer in ("low", "high") for reader in readers} <= {
            layer.name for layer in model.layers
        }
        assert not {id(weight) for weight in backbone.weights} & {id(weight) for weight in model.weights}

    def test_features_without_their_graph_are_refused(self, name):
        with pytest.raises(ValueError, match="needs a `sharing.Trunk`. Received: a dict"):
            RULES[name]()({"features": keras.Input((4,))}, found_tasks())

    def test_a_backbone_without_weights_is_refused(self, name):
        inputs = keras.Input((4, 2))
        backbone = keras.Model(inputs, keras.layers.Flatten(name="flatten")(inputs))
        with pytest.raises(ValueError, match=r"backbone without any, with the levels \['flatten'\]"):
            mtl.build_model(backbone, found_tasks(), sharing=RULES[name]())

    def test_one_task_is_refused_where_two_are_connected(self, name):
        def build_one():
            return mtl.build_model("mlp", [mtl.tasks.Regression("b")], sharing=RULES[name](), input_shape=(4,))

        if name == "independent":
            assert build_one().output["b"].shape == (None, 1)
            return
        with pytest.raises(ValueError, match=r"several tasks. Received: \['b'\]"):
            build_one()

    def test_other_weights_are_refused(self, name):
        with pytest.raises(ValueError, match="`weights` should be one of .* Received: weights='new'"):
            type(RULES[name]())(weights="new")


@pytest.mark.slow
@pytest.mark.parametrize("balancer", ["uncertainty", "pcgrad", "upgrad", "gradnorm", "famo"])
@pytest.mark.parametrize("name", SHARES)
def test_balancers(name, balancer):
    model = build(name)
    x, y = data(32)
    model.compile("adam", balancer=balancer)
    before = model.get_weights()
    logs = model.fit(x, y, batch_size=16, verbose=0).history
    assert np.isfinite(logs["loss"]).all()
    assert any(np.any(old != new) for old, new in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("name", ["independent", "soft"])
def test_where_nothing_is_shared_a_gradient_balancer_is_refused(name):
    with pytest.raises(ValueError, match="no weight of the model leads to two outputs"):
        build(name).compile("adam", balancer="pcgrad")


@pytest.mark.parametrize("name", others_slow(["cross_stitch", "nddr", "learning_to_branch"], by_default=("nddr",)))
def test_an_architecture_of_keras(name):
    model = mtl.build_model("MobileNetV3Small", found_tasks(), sharing=name, input_shape=(32, 32, 3))
    x = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype("float32")
    assert {task: value.shape for task, value in predictions(model, x).items()} == {"a": (4, 3), "b": (4, 1)}
    model.compile("adam", balancer="upgrad")
    assert model.partition.shared
    mixing = [layer for layer in model.layers if hasattr(layer, "learnt")]
    assert len({layer.level for layer in mixing}) == 5
    assert all(layer.tasks == ["a", "b"] for layer in mixing)


@pytest.mark.parametrize("name", ["cross_stitch", "nddr", "learning_to_branch"])
def test_masks_go_on_behind_the_mixing(name):
    inputs = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(7, 4, mask_zero=True, name="embedding")(inputs)
    x = keras.layers.Dense(4, name="dense")(x)
    backbone = keras.Model(inputs, x)
    model = mtl.build_model(backbone, found_tasks(), sharing=name, features=["embedding", "dense"])
    x = np.asarray([[1, 2, 0, 0, 0]])
    shorter, longer = predictions(model, x[:, :2]), predictions(model, x)
    for task in ("a", "b"):
        np.testing.assert_allclose(shorter[task], longer[task], atol=1e-6)


@pytest.mark.parametrize("name", ["cross_stitch", "nddr", "learning_to_branch"])
def test_a_level_that_can_be_gone_around_is_refused(name):
    inputs = keras.Input((4,))
    low = keras.layers.Dense(4, name="low")(inputs)
    high = keras.layers.Dense(4, name="high")(low)
    backbone = keras.Model(inputs, keras.layers.Add(name="sum")([low, high]))
    with pytest.raises(ValueError, match=r"level 'high', around which .* of \['low', 'sum'\]"):
        mtl.build_model(backbone, found_tasks(), sharing=name, features=["low", "high", "sum"])
