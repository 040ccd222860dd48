"""A conversion's probability as a product."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from keras_mtl import sharing, tasks
from tests.models import largest_difference, policies


def binary(name, **arguments):
    return tasks.BinaryClassification(name, **arguments)


def three_tasks():
    return [tasks.Regression("price"), binary("click", hidden_units=4), binary("bought")]


def data(number=64):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(number, 6)).astype("float32")
    click = x[:, 0] > 0
    return x, {"price": x[:, 1], "click": click.astype(int), "bought": (click & (x[:, 2] > 0)).astype(int)}


def model_of(kinds=None, **arguments):
    keras.utils.set_random_seed(0)
    backbone = mtl.backbones.MLP((6,), units=(8,))
    return mtl.build_model(backbone, kinds or three_tasks(), sharing.ESMM(**arguments))


def gradients(model, x, loss):
    with tf.GradientTape() as tape:
        total = loss(model(x))
    found = zip(model.trainable_variables, tape.gradient(total, model.trainable_variables), strict=True)
    return {variable.path for variable, g in found if g is not None and np.any(g)}


class TestDefinition:
    def test_the_output_is_the_product(self):
        model, (x, _) = model_of(), data()
        click, after = keras.Model(model.input, [model.get_layer(name).output for name in ("click", "bought")])(x)
        found = model(x)
        np.testing.assert_array_equal(found["click"], click)
        np.testing.assert_allclose(found["bought"], click.numpy() * after.numpy(), rtol=1e-6)
        assert np.all(found["bought"].numpy() < found["click"].numpy())

    def test_the_other_tasks_and_weights_are_those_of_the_base(self):
        keras.utils.set_random_seed(0)
        plain = mtl.build_model(mtl.backbones.MLP((6,), units=(8,)), three_tasks())
        model, (x, _) = model_of(), data()
        weights = {variable.path: variable.numpy() for variable in plain.weights}
        assert {variable.path for variable in model.weights} == weights.keys()
        assert all(np.array_equal(variable, weights[variable.path]) for variable in model.weights)
        np.testing.assert_array_equal(model(x)["price"], plain(x)["price"])
        np.testing.assert_array_equal(model(x)["click"], plain(x)["click"])

    def test_the_loss_of_a_conversion_trains_the_click(self):
        model, (x, _) = model_of(), data()
        found = gradients(model, x, lambda predictions: tf.reduce_sum(predictions["bought"]))
        assert {"click_logits/kernel", "click_hidden_0/kernel", "bought_logits/kernel", "dense_0/kernel"} <= found
        assert "price_logits/kernel" not in found
        assert "bought_logits/kernel" not in gradients(model, x, lambda found: tf.reduce_sum(found["click"]))

    def test_a_chain_of_three(self):
        kinds = [binary("seen"), binary("click"), binary("bought")]
        model, (x, _) = model_of(kinds, click="click", conversion="bought", base=sharing.ESMM("seen", "click")), data()
        factors = keras.Model(model.input, [model.get_layer(task.name).output for task in kinds])(x)
        np.testing.assert_allclose(model(x)["bought"], np.prod(factors, axis=0), rtol=1e-5)

    def test_takes_the_predictions_of_its_base(self):
        base = sharing.Cascade(order=["click", "bought", "price"], units=3)
        model, (x, _) = model_of(base=base), data()
        click, after = keras.Model(model.input, [model.get_layer(name).output for name in ("click", "bought")])(x)
        np.testing.assert_allclose(model(x)["bought"], click.numpy() * after.numpy(), rtol=1e-6)
        assert model.get_layer("bought_cascade_seen").kernel.shape == (4, 3)


class TestPair:
    @pytest.mark.parametrize(
        ("arguments", "layer"),
        [
            ({}, "b_and_a"),
            ({"click": "b"}, "a_and_b"),
            ({"click": "c"}, "a_and_c"),
            ({"conversion": "a"}, "a_and_b"),
            ({"conversion": "c"}, "c_and_a"),
            ({"click": "c", "conversion": "b"}, "b_and_c"),
        ],
    )
    def test_is_the_first_unless_named(self, arguments, layer):
        model = model_of([tasks.Regression("x"), binary("a"), binary("b"), binary("c")], **arguments)
        assert [found.name for found in model.layers if "_and_" in found.name] == [layer]

    @pytest.mark.parametrize(
        ("names", "arguments", "message"),
        [
            (["x", "a"], {}, r"needs two tasks of the kind `BinaryClassification`.*Received: .*Regression\('x'\)"),
            (["a", "b", "x"], {"click": "z"}, r"`click` should name .* there are \['a', 'b'\]. Received: click='z'"),
            (
                ["a", "b", "x"],
                {"conversion": "x"},
                "`conversion` should name a `BinaryClassification`.*Received: .*'x'",
            ),
        ],
    )
    def test_is_checked(self, names, arguments, message):
        kinds = [tasks.Regression(name) if name == "x" else binary(name) for name in names]
        with pytest.raises(ValueError, match=message):
            model_of(kinds, **arguments)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"click": "a", "conversion": "a"}, "should name two tasks. Received: 'a' for both"),
            ({"click": 3}, "`click` should be the name of a task. Received: click=3"),
            ({"conversion": binary("a")}, "`conversion` should be the name of a task"),
            ({"base": "none"}, "Unknown sharing: 'none'"),
        ],
    )
    def test_arguments_are_checked(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            sharing.ESMM(**arguments)


class TestTraining:
    def test_the_head_of_the_click_is_shared(self):
        found = model_of().partition
        specific = {task: {variable.path for variable in own} for task, own in found.specific.items()}
        assert specific == {
            "price": {"price_logits/kernel", "price_logits/bias"},
            "click": set(),
            "bought": {"bought_logits/kernel", "bought_logits/bias"},
        }
        assert {"click_logits/kernel", "dense_0/kernel"} <= {variable.path for variable in found.shared}

    def test_summed_gradients_are_plain_training(self):
        x, y = data()
        found = []
        for balancer in ("equal", "sum"):
            model = model_of()
            model.compile(keras.optimizers.SGD(0.1), balancer=balancer)
            model.fit(x, y, batch_size=64, epochs=5, shuffle=False, verbose=0)
            found.append(model)
        assert largest_difference(*found) < 1e-5
        assert largest_difference(found[0], model_of()) > 1e-3

    @pytest.mark.parametrize(
        ("balancer", "policy", "xla"),
        [
            ("upgrad", "float32", False),
            pytest.param("pcgrad", "float32", False, marks=pytest.mark.slow),
            pytest.param("sum", "mixed_float16", True, marks=pytest.mark.slow),
        ],
    )
    def test_it_learns(self, balancer, policy, xla):
        x, y = data()
        with policies(policy):
            model = model_of()
        model.compile(keras.optimizers.Adam(0.02), balancer=balancer, jit_compile=xla)
        losses = model.fit(x, y, epochs=20, verbose=0).history["bought_loss"]
        assert model.output["bought"].dtype == "float32"
        assert losses[-1] < 0.8 * losses[0]

    @pytest.mark.slow
    def test_replicas_train_as_one_device_does(self, two_replicas):
        x, y = data()
        found = []
        for strategy in (tf.distribute.get_strategy(), two_replicas):
            with strategy.scope():
                model = model_of()
                model.compile(keras.optimizers.SGD(0.1), balancer="upgrad")
            model.fit(x, y, batch_size=64, epochs=3, shuffle=False, verbose=0)
            found.append(model)
        assert largest_difference(*found) < 1e-5


def test_config_round_trip():
    esmm = sharing.ESMM("a", "b", base=sharing.MTAN(units=2))
    again = sharing.get(keras.saving.serialize_keras_object(esmm))
    assert again.get_config() == esmm.get_config()
    assert (again.click, again.conversion, again.base.units) == ("a", "b", 2)


def test_a_file_and_an_export_predict_the_same(tmp_path):
    model, (x, y) = model_of(), data()
    model.compile("adam", balancer="upgrad")
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    model.export(tmp_path / "exported", verbose=False)
    again, served = keras.saving.load_model(tmp_path / "model.keras"), tf.saved_model.load(str(tmp_path / "exported"))
    for name, expected in model.predict(x, verbose=0).items():
        np.testing.assert_allclose(again.predict(x, verbose=0)[name], expected, atol=1e-6)
        np.testing.assert_allclose(served.serve(x)[name], expected, atol=1e-5)
    again.fit(x, y, verbose=0)
