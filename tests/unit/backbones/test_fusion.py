"""Several inputs: their names, what comes out of them, and the weights of a gate."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import backbones

TABLE = {"age": np.array([20.0, 30.0]), "job": np.array(["a", "b"])}


def members():
    return {
        "image": backbones.Convolutional((8, 8, 1), filters=(4, 6)),
        "review": backbones.Text(["good", "bad"], filters=2, embedding_dim=4),
        "row": backbones.Tabular(["age"], ["job"], units=(5,)).adapt(TABLE),
    }


def inputs():
    return {
        "image": tf.constant(np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 1)), "float32"),
        "review": tf.constant(["good good", "bad"]),
        "age": tf.constant([[20.0], [31.0]]),
        "job": tf.constant([["a"], ["c"]]),
    }


def test_sets_the_vectors_of_its_members_side_by_side():
    model = backbones.Fusion(members()).build()
    assert {name: tensor.shape for name, tensor in model.input.items()} == {
        "image": (None, 8, 8, 1),
        "review": (None,),
        "age": (None, 1),
        "job": (None, 1),
    }
    assert model.output_shape == (None, 6 + 6 + 5)
    whole = np.asarray(model(inputs()))
    image = keras.Model(model.input["image"], model.get_layer("image_conv_1").output)(inputs()["image"])
    np.testing.assert_allclose(whole[:, :6], np.mean(image, axis=(1, 2)), atol=1e-4)


def test_has_the_weights_of_its_members():
    class Known(backbones.MLP):
        def build(self):
            model = super().build()
            model.set_weights([np.full(weight.shape, 0.5) for weight in model.weights])
            return model

    model = backbones.Fusion({"a": Known(3, (2,)), "b": backbones.MLP(2, (4,))}).build()
    assert [layer.name for layer in model.layers if layer.weights] == ["a_dense_0", "b_dense_0"]
    np.testing.assert_array_equal(model.get_layer("a_dense_0").get_weights()[0], np.full((3, 2), 0.5))


def test_two_of_a_kind_share_nothing():
    model = backbones.Fusion({"left": backbones.MLP(3, (4,)), "right": backbones.MLP(3, (4,))}).build()
    left, right = (model.get_layer(f"{side}_dense_0").get_weights()[0] for side in ("left", "right"))
    assert np.abs(left - right).max() > 0


def test_units_of_a_dense_layer():
    model = backbones.Fusion(members(), units=7).build()
    assert (model.output_shape, model.layers[-1].activation) == ((None, 7), keras.activations.relu)


def test_gates_mix_the_members():
    model = backbones.Fusion(members(), "gated", units=7).build()
    assert model.output_shape == (None, 7)
    gates = keras.Model(model.input, model.get_layer("fusion_gates").output)(inputs())
    rows = keras.Model(model.input, model.get_layer("fusion_rows").output)(inputs())
    np.testing.assert_allclose(np.sum(gates, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(model(inputs()), np.einsum("bm,bmu->bu", gates, rows), atol=1e-5)


def test_members_by_name_and_by_config():
    config = keras.saving.serialize_keras_object(backbones.MLP(3, (4,)))
    fusion = backbones.Fusion({"row": config, "image": "MobileNetV3Small"})
    assert fusion.build().output_shape == (None, 4 + 576)
    assert backbones.Fusion.from_config(fusion.get_config()).get_config() == fusion.get_config()


def test_inputs_of_one_name_are_refused():
    row = backbones.Tabular(["age"]).adapt(TABLE)
    with pytest.raises(ValueError, match=r"should have different names. Received: \['age'\] twice"):
        backbones.Fusion({"age": backbones.MLP(3), "row": row}).build()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"members": {"a": backbones.MLP(3)}}, "`members` should be a dict of two backbones or more"),
        ({"members": [backbones.MLP(3)] * 2}, "`members` should be a dict of two backbones or more"),
        ({"members": {"a b": backbones.MLP(3), "c": backbones.MLP(3)}}, "`members` should be a non-empty string"),
        ({"members": {"a": backbones.MLP(3), "c": 5}}, "A backbone should be a name"),
        ({"method": "sum"}, "`method` should be one of"),
        ({"units": 0}, "`units` should be an integer of at least 1"),
    ],
    ids=["one", "list", "name", "number", "method", "units"],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        backbones.Fusion(**{"members": members(), **arguments})
