"""Tasks that read those before them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from keras_mtl import MultiTaskModel, sharing, tasks
from tests.models import largest_difference, policies


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
    return mtl.build_model(
        "mlp", kinds or three_tasks(), sharing.Cascade(**{"units": 5, **arguments}), input_shape=(6,)
    )


def relu(x):
    return np.maximum(x, 0)


def softmax(x):
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def dense(model, name, x):
    layer = model.get_layer(name)
    return x @ layer.kernel.numpy() + (layer.bias.numpy() if layer.use_bias else 0)


def own_parts(model):
    """The names of the layers that hold the variables of each task alone."""
    return {
        task: {variable.path.split("/")[0] for variable in variables}
        for task, variables in model.partition.specific.items()
    }


class TestDefinition:
    def test_is_the_formula(self):
        model, (x, _) = model_of(order=["size", "kind", "good"]), data()
        own = keras.Model(model.input, model.get_layer("size_cascade_own").input)(x).numpy()
        first = relu(dense(model, "size_cascade_own", own))
        size = dense(model, "size_logits", first)
        seen = np.concatenate([first, size], -1)
        second = relu(dense(model, "kind_cascade_own", own) + dense(model, "kind_cascade_seen", seen))
        kind = softmax(dense(model, "kind_logits", second))
        seen = np.concatenate([first, size, second, kind], -1)
        third = relu(dense(model, "good_cascade_own", own) + dense(model, "good_cascade_seen", seen))
        good = sigmoid(dense(model, "good_logits", relu(dense(model, "good_hidden_0", third))))
        for name, expected in (("size", size), ("kind", kind), ("good", good)):
            np.testing.assert_allclose(model(x)[name], expected, atol=1e-5)

    def test_two_dense_layers_in_sum_are_one_over_both(self):
        model, (x, _) = model_of(), data()
        own, seen = model.get_layer("size_cascade_own"), model.get_layer("size_cascade_seen")
        parts = keras.Model(model.input, [own.input, seen.input, model.get_layer("size_cascade").output])
        *inputs, found = (tensor.numpy() for tensor in parts(x))
        kernel = np.concatenate([own.kernel, seen.kernel])
        np.testing.assert_allclose(found, relu(np.concatenate(inputs, -1) @ kernel + own.bias.numpy()), atol=1e-5)

    def test_the_order_of_the_tasks_is_the_default(self):
        first, second = model_of(), model_of(order=["kind", "good", "size"])
        assert largest_difference(first, second) == 0.0
        assert list(first.output) == list(model_of(order=["size", "kind", "good"]).output) == ["kind", "good", "size"]

    def test_one_task_reads_nothing(self):
        model = model_of(kinds=[tasks.Regression("size")])
        assert [layer.name for layer in model.layers if "seen" in layer.name] == []


class TestShared:
    def test_what_another_output_can_be_reached_from(self):
        assert own_parts(model_of()) == {
            "kind": set(),
            "good": set(),
            "size": {"size_cascade_own", "size_cascade_seen", "size_logits"},
        }
        assert own_parts(model_of(order=["good", "size", "kind"]))["kind"] == {
            "kind_cascade_own",
            "kind_cascade_seen",
            "kind_logits",
        }

    @pytest.mark.parametrize("detach", [False, True])
    def test_detached_a_later_loss_does_not_reach_an_earlier_task(self, detach):
        model, (x, _) = model_of(detach=detach), data()
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(model(x)["size"] ** 2)
        gradients = zip(model.trainable_variables, tape.gradient(total, model.trainable_variables), strict=True)
        found = {variable.path.split("/")[0] for variable, g in gradients if g is not None and np.any(g)}
        assert {"size_cascade_own", "size_cascade_seen", "size_logits", "dense_0"} <= found
        assert bool(found & {"kind_logits", "good_logits", "kind_cascade_own"}) is not detach

    @pytest.mark.parametrize("detach", [False, True])
    def test_summed_gradients_are_plain_training(self, detach):
        x, y = data()
        found = []
        for balancer in ("equal", "sum"):
            model = model_of(detach=detach)
            model.compile(keras.optimizers.SGD(0.1), balancer=balancer)
            model.fit(x, y, batch_size=24, epochs=5, shuffle=False, verbose=0)
            found.append(model)
        assert largest_difference(*found) < 1e-5
        assert largest_difference(found[0], model_of()) > 1e-3

    @pytest.mark.parametrize("balancer", [pytest.param("pcgrad", marks=pytest.mark.slow), "upgrad"])
    def test_gradients_are_balanced(self, balancer):
        model, (x, y) = model_of(), data()
        model.compile(keras.optimizers.Adam(0.01), balancer=balancer)
        losses = model.fit(x, y, epochs=15, verbose=0).history["loss"]
        assert np.all(np.isfinite(losses))
        assert losses[-1] < 0.8 * losses[0]

    def test_gradients_of_features_are_not(self):
        """What the first two tasks share, the third one reads too: their parts have nothing in common to compare."""
        with pytest.raises(ValueError, match="'good' and 'kind', which share weights and read no feature"):
            model_of().compile("adam", balancer=mtl.balancers.UPGrad(gradients="features"))


class TestMaps:
    """On features that `base` gives as maps."""

    def build(self, shape, **arguments):
        features = keras.Input(shape)
        cascade = sharing.Cascade(units=5, base=sharing.MTAN(), **arguments)
        found = three_tasks()
        level = {"level": features}
        return MultiTaskModel(features, cascade.outputs(cascade(level, found), found), found)

    @pytest.mark.parametrize("shape", [(4, 3), (4, 2, 3), (2, 2, 2, 3)])
    def test_what_is_seen_is_added_at_every_place(self, shape):
        model = self.build(shape)
        x = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
        own, seen, whole = (model.get_layer(f"good_cascade{part}").output for part in ("_own", "_seen", ""))
        own, seen, whole = (tensor.numpy() for tensor in keras.Model(model.input, [own, seen, whole])(x))
        assert whole.shape == (2, *shape[:-1], 5)
        places = tuple(range(1, len(shape)))
        np.testing.assert_allclose(whole, relu(own + np.expand_dims(seen, places[: len(shape) - 1])), atol=1e-6)

    def test_maps_are_handed_on_as_their_means(self):
        model = self.build((4, 2, 3))
        x = np.random.default_rng(0).normal(size=(2, 4, 2, 3)).astype("float32")
        names = ["kind_cascade", "kind", "good_cascade_seen"]
        first, kind = keras.Model(model.input, [model.get_layer(name).output for name in names[:2]])(x)
        seen = keras.Model(model.input, model.get_layer(names[2]).input)(x)
        np.testing.assert_allclose(seen, np.concatenate([np.mean(first, (1, 2)), kind], -1), atol=1e-6)

    def test_the_mask_of_a_sequence_is_kept(self):
        from keras_mtl.sharing._reading import AddEverywhere

        places = keras.layers.Masking()(np.array([[[1.0, 2.0], [0.0, 0.0]]], "float32"))
        found = AddEverywhere()([places, np.array([[3.0, 4.0]], "float32")])
        np.testing.assert_array_equal(found, [[[4.0, 6.0], [3.0, 4.0]]])
        np.testing.assert_array_equal(found._keras_mask, [[True, False]])


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"order": "kind"}, "`order` should be a list of names"),
            ({"order": [1, 2]}, "`order` should be a list of names"),
            ({"order": ["kind", "kind"]}, r"should name every task once.*repeated: \['kind'\]"),
            ({"units": 0}, "`units` should be an integer of at least 1"),
            ({"base": "harder"}, "Unknown sharing: 'harder'"),
            ({"base": "cascade"}, "Parameter `base` of the architecture `cascade` should form features"),
        ],
    )
    def test_are_checked(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            sharing.Cascade(**arguments)

    @pytest.mark.parametrize(
        ("order", "message"),
        [
            (
                ["kind", "good"],
                r"should be \['good', 'kind', 'size'\]. Received: \['good', 'kind'\]; absent: \['size'\]",
            ),
            (["kind", "good", "size", "x"], r"not expected: \['x'\]"),
        ],
    )
    def test_an_order_of_other_tasks_shows_both_sets(self, order, message):
        with pytest.raises(ValueError, match=message):
            model_of(order=order)

    def test_config_round_trip(self):
        cascade = sharing.Cascade(["b", "a"], units=3, base=sharing.MTAN(units=2), detach=True)
        again = sharing.get(keras.saving.serialize_keras_object(cascade))
        assert again.get_config() == cascade.get_config()
        assert (again.order, again.units, again.base.units, again.detach) == (["b", "a"], 3, 2, True)


@pytest.mark.parametrize("detach", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_file_and_an_export_predict_the_same(tmp_path, detach):
    model, (x, y) = model_of(detach=detach), data()
    model.compile("adam", balancer="upgrad")
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    model.export(tmp_path / "exported", verbose=False)
    again, served = keras.saving.load_model(tmp_path / "model.keras"), tf.saved_model.load(str(tmp_path / "exported"))
    for name, expected in model.predict(x, verbose=0).items():
        np.testing.assert_allclose(again.predict(x, verbose=0)[name], expected, atol=1e-6)
        np.testing.assert_allclose(served.serve(x)[name], expected, atol=1e-5)
    assert own_parts(again) == own_parts(model)
    again.fit(x, y, verbose=0)


@pytest.mark.slow
def test_mixed_precision_and_xla():
    x, y = data()
    with policies("mixed_float16"):
        model = model_of(detach=True)
    model.compile(keras.optimizers.Adam(0.01), balancer="sum", jit_compile=True)
    losses = model.fit(x, y, epochs=15, verbose=0).history["loss"]
    assert model.get_layer("kind_cascade_own").compute_dtype == "float16"
    assert model.output["size"].dtype == "float32"
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.slow
def test_replicas_train_as_one_device_does(two_replicas):
    x, y = data()
    found = []
    for strategy in (tf.distribute.get_strategy(), two_replicas):
        with strategy.scope():
            model = model_of()
            model.compile(keras.optimizers.SGD(0.1), balancer="upgrad")
        model.fit(x, y, batch_size=24, epochs=3, shuffle=False, verbose=0)
        found.append(model)
    assert largest_difference(*found) < 1e-5
