"""Tasks that look at each other and predict again."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from keras_mtl import MultiTaskModel, sharing, tasks
from tests.models import largest_difference, others_slow, policies


def three_tasks():
    return [
        tasks.Classification("kind", 3),
        tasks.BinaryClassification("good", hidden_units=4),
        tasks.Regression("size"),
    ]


def data(number=24):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(number, 6)).astype("float32")
    return x, {"kind": np.argmax(x[:, :3], 1), "good": (x[:, 3] > 0).astype(int), "size": x[:, 4]}


def model_of(*, kinds=None, **arguments):
    keras.utils.set_random_seed(0)
    cooperative = sharing.Cooperative(**{"units": 5, **arguments})
    backbone = mtl.backbones.MLP((6,), units=(8, 7))
    return mtl.build_model(backbone, kinds or three_tasks(), cooperative)


def relu(x):
    return np.maximum(x, 0)


def dense(model, name, x):
    layer = model.get_layer(name)
    return x @ layer.kernel.numpy() + (layer.bias.numpy() if layer.use_bias else 0)


def predict(model, name, x):
    """What the head of a task makes of features."""
    if name == "kind":
        logits = dense(model, "kind_logits", x)
        return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    if name == "good":
        return 1 / (1 + np.exp(-dense(model, "good_logits", relu(dense(model, "good_hidden_0", x)))))
    return dense(model, "size_logits", x)


def refine(model, features, seen, number):
    found = {}
    for name, own in features.items():
        total = dense(model, f"{name}_round_{number}_own", own)
        others = [vector for other, vector in seen.items() if other != name]
        if others:
            total = total + dense(model, f"{name}_round_{number}_seen", np.concatenate(others, -1))
        found[name] = own + dense(model, f"{name}_round_{number}_change", relu(total))
    return found


def base_features(model, x):
    return keras.Model(model.input, model.get_layer("kind_round_1_own").input)(x).numpy()


class TestDefinition:
    @pytest.mark.parametrize("rounds", [1, 3])
    def test_of_predictions(self, rounds):
        model, (x, _) = model_of(rounds=rounds), data()
        features = dict.fromkeys(model.output, base_features(model, x))
        for number in range(1, rounds + 1):
            seen = {name: predict(model, name, tensor) for name, tensor in features.items()}
            features = refine(model, features, seen, number)
        for name, found in model(x).items():
            np.testing.assert_allclose(found, predict(model, name, features[name]), atol=2e-5)

    def test_of_features(self):
        model, (x, _) = model_of(rounds=2, sees="features"), data()
        features = dict.fromkeys(model.output, base_features(model, x))
        features = refine(model, features, {}, 1)  # on a hard base all see what they have
        features = refine(model, features, features, 2)
        for name, found in model(x).items():
            np.testing.assert_allclose(found, predict(model, name, features[name]), atol=2e-5)

    def test_a_head_has_one_set_of_weights(self):
        for rounds in (1, 3):
            names = [variable.path for variable in model_of(rounds=rounds).weights]
            assert sum("logits" in name or "hidden" in name for name in names) == 8
            assert len(set(names)) == len(names)

    def test_without_a_change_the_tasks_predict_as_at_first(self):
        model, (x, _) = model_of(rounds=2), data()
        for layer in model.layers:
            if layer.name.endswith("_change"):
                layer.kernel.assign(0 * layer.kernel)
        features = base_features(model, x)
        for name, found in model(x).items():
            np.testing.assert_allclose(found, predict(model, name, features), atol=1e-5)

    def test_what_two_tasks_have_in_common_is_seen_once(self):
        first, second = keras.Input((4, 2, 3)), keras.Input((4, 2, 3))
        cooperative, found = sharing.Cooperative(sees="features"), three_tasks()
        outputs = cooperative.outputs({"kind": first, "good": first, "size": second}, found)
        model = MultiTaskModel([first, second], outputs, found)
        shown = [layer.name for layer in model.layers if "shown" in layer.name]
        assert sorted(shown) == ["kind_shown_1_handed_on_pool", "size_shown_1_handed_on_pool"]
        assert model.get_layer("kind_round_1_seen").input is model.get_layer("size_shown_1_handed_on_pool").output
        assert model.get_layer("size_round_1_seen").input is model.get_layer("kind_shown_1_handed_on_pool").output

    def test_maps_stay_maps_and_are_shown_as_their_means(self):
        features = keras.Input((4, 2, 3))
        found = three_tasks()
        cooperative = sharing.Cooperative(sees="features", base="mtan", units=5)
        model = MultiTaskModel(features, cooperative.outputs(cooperative({"map": features}, found), found), found)
        x = np.random.default_rng(0).normal(size=(2, 4, 2, 3)).astype("float32")
        layers = [model.get_layer(f"map_{name}_attended").output for name in ("good", "size")]
        good, size, seen = keras.Model(model.input, [*layers, model.get_layer("kind_round_1_seen").input])(x)
        np.testing.assert_allclose(seen, np.concatenate([np.mean(good, (1, 2)), np.mean(size, (1, 2))], -1), atol=1e-6)
        assert model.get_layer("kind_refined_1").output.shape == (None, 4, 2, 3)


class TestShared:
    def test_all_but_the_last_round(self):
        model = model_of(rounds=2)
        for task, variables in model.partition.specific.items():
            assert {variable.path.split("/")[0] for variable in variables} == {
                f"{task}_round_2_own",
                f"{task}_round_2_seen",
                f"{task}_round_2_change",
            }

    def test_by_features_the_heads_are_the_tasks_own(self):
        specific = model_of(sees="features").partition.specific["size"]
        assert {variable.path.split("/")[0] for variable in specific} == {
            "size_round_1_own",
            "size_round_1_change",
            "size_logits",
        }

    @pytest.mark.parametrize("detach", [False, True])
    def test_detached_a_loss_does_not_reach_another_head(self, detach):
        model, (x, _) = model_of(detach=detach, rounds=2), data()
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(model(x)["size"] ** 2)
        gradients = zip(model.trainable_variables, tape.gradient(total, model.trainable_variables), strict=True)
        found = {variable.path.split("/")[0] for variable, g in gradients if g is not None and np.any(g)}
        assert {"size_logits", "size_round_1_own", "size_round_2_own"} <= found
        assert bool(found & {"kind_logits", "good_logits", "kind_round_1_own"}) is not detach

    @pytest.mark.parametrize(
        "arguments",
        others_slow(
            [{"rounds": 2}, {"rounds": 2, "sees": "features"}, {"detach": True}],
            by_default=[{"rounds": 2, "sees": "features"}],
        ),
    )
    def test_summed_gradients_are_plain_training(self, arguments):
        x, y = data()
        found = []
        for balancer in ("equal", "sum"):
            model = model_of(**arguments)
            model.compile(keras.optimizers.SGD(0.05), balancer=balancer)
            model.fit(x, y, batch_size=24, epochs=5, shuffle=False, verbose=0)
            found.append(model)
        assert largest_difference(*found) < 1e-5
        assert largest_difference(found[0], model_of(**arguments)) > 1e-3

    @pytest.mark.parametrize(
        "balancer",
        others_slow(["pcgrad", "upgrad", mtl.balancers.UPGrad(gradients="features")], by_default=("upgrad",)),
    )
    def test_gradients_are_balanced(self, balancer):
        model, (x, y) = model_of(rounds=2), data()
        model.compile(keras.optimizers.Adam(0.01), balancer=mtl.balancers.get(balancer))
        losses = model.fit(x, y, epochs=15, verbose=0).history["loss"]
        assert np.all(np.isfinite(losses))
        assert losses[-1] < 0.8 * losses[0]


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"rounds": 0}, "`rounds` should be an integer of at least 1"),
            ({"sees": "all"}, r"`sees` should be one of \['predictions', 'features'\]"),
            ({"units": 1.5}, "`units` should be an integer"),
            ({"base": 3}, "A sharing should be a name"),
            ({"base": sharing.Cooperative()}, "`base` of the architecture `cooperative` should form features"),
        ],
    )
    def test_are_checked(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            sharing.Cooperative(**arguments)

    def test_config_round_trip(self):
        cooperative = sharing.Cooperative(2, "features", 3, base=sharing.MTAN(units=2), detach=True)
        again = sharing.get(keras.saving.serialize_keras_object(cooperative))
        assert again.get_config() == cooperative.get_config()
        assert (again.rounds, again.sees, again.units, again.base.units, again.detach) == (2, "features", 3, 2, True)


@pytest.mark.parametrize(
    "arguments", [pytest.param({"rounds": 2}, marks=pytest.mark.slow), {"sees": "features", "detach": True}]
)
def test_a_file_and_an_export_predict_the_same(tmp_path, arguments):
    model, (x, y) = model_of(**arguments), data()
    model.compile("adam", balancer="upgrad")
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    model.export(tmp_path / "exported", verbose=False)
    again, served = keras.saving.load_model(tmp_path / "model.keras"), tf.saved_model.load(str(tmp_path / "exported"))
    for name, expected in model.predict(x, verbose=0).items():
        np.testing.assert_allclose(again.predict(x, verbose=0)[name], expected, atol=1e-6)
        np.testing.assert_allclose(served.serve(x)[name], expected, atol=1e-5)
    assert len(again.partition.shared) == len(model.partition.shared)
    again.fit(x, y, verbose=0)


@pytest.mark.slow
def test_mixed_precision_and_xla():
    x, y = data()
    del y["size"]
    with policies("mixed_float16"):
        model = model_of(kinds=three_tasks()[:2])
    model.compile(keras.optimizers.Adam(0.01), balancer="sum", jit_compile=True)
    losses = model.fit(x, y, epochs=15, verbose=0).history["loss"]
    assert model.get_layer("kind_round_1_own").compute_dtype == "float16"
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.slow
def test_replicas_train_as_one_device_does(two_replicas):
    x, y = data()
    found = []
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        with strategy.scope():
            model = model_of(rounds=2)
            model.compile(keras.optimizers.SGD(0.05), balancer="upgrad")
        model.fit(x, y, batch_size=24, epochs=3, shuffle=False, verbose=0)
        found.append(model)
    assert largest_difference(*found) < 1e-5
