"""Layers are frozen and released by number, block and name, in nested models too, without a second `compile`."""

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl import tasks, transfer
from tests.models import two_task_data, two_task_model

TASKS = [tasks.Regression("a"), tasks.Regression("b")]
X, Y = two_task_data(20)


def nested(frozen=False):
    inside = keras.Input((6,))
    inner = keras.layers.BatchNormalization(name="bn")(keras.layers.Dense(5, name="first")(inside))
    encoder = keras.Model(inside, inner, name="encoder")
    second = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4, name="first")], name="second")
    encoder.trainable = not frozen
    inputs = keras.Input((6,))
    x = second(encoder(inputs))
    outputs = {name: keras.layers.Dense(1, name=name)(x) for name in "ab"}
    return mtl.MultiTaskModel(inputs, outputs, TASKS)


def trained(model):
    return [variable.path for variable in model.trainable_variables]


def test_the_backbone_is_what_leads_to_several_tasks():
    model = nested()
    assert transfer.freeze(model) == ["encoder/first", "encoder/bn", "second/first"]
    assert trained(model) == ["a/kernel", "a/bias", "b/kernel", "b/bias"]
    assert transfer.unfreeze(model) == ["encoder/first", "encoder/bn", "second/first"]
    assert len(trained(model)) == 10


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"layers": 1}, ["second/first"]),
        ({"layers": 2}, ["encoder/bn", "second/first"]),
        ({"layers": 0}, []),
        ({"layers": "first"}, ["encoder/first", "second/first"]),
        ({"layers": "encoder/first"}, ["encoder/first"]),
        ({"layers": ["enc*"]}, ["encoder/first", "encoder/bn"]),
        ({"layers": ["second", "b?"]}, ["encoder/bn", "second/first"]),
        ({"blocks": 1}, ["second/first"]),
        ({"blocks": 2}, ["encoder/first", "encoder/bn", "second/first"]),
    ],
    ids=str,
)
def test_choosing_layers(choice, expected):
    model = nested(frozen=True)
    assert not model.get_layer("encoder").get_layer("first").trainable
    transfer.freeze(model)
    assert transfer.unfreeze(model, **choice) == expected
    inner = {f"encoder/{name}": model.get_layer("encoder").get_layer(name) for name in ("first", "bn")}
    inner["second/first"] = model.get_layer("second").get_layer("first")
    assert [path for path, layer in inner.items() if layer.trainable] == expected
    assert len(trained(model)) == 4 + 2 * len(expected)


def test_blocks_of_an_architecture():
    model = mtl.build_model("MobileNetV2", TASKS, input_shape=(32, 32, 3))
    found = transfer.freeze(model, blocks=2)
    assert found == ["block_16_" + rest for rest in ("expand", "expand_BN", "depthwise", "depthwise_BN", "project")] + [
        "block_16_project_BN",
        "Conv_1",
        "Conv_1_bn",
    ]


def test_blocks_with_a_number_after_the_plural():
    inputs = keras.Input((6,))
    x = inputs
    for number in range(3):
        x = keras.layers.Dense(6, name=f"blocks_{number}")(x)
        x = keras.layers.Dense(6, name=f"blocks_{number}_out")(x)
    model = mtl.MultiTaskModel(inputs, {name: keras.layers.Dense(1, name=name)(x) for name in "ab"}, TASKS)
    assert transfer.freeze(model, blocks=2) == ["blocks_1", "blocks_1_out", "blocks_2", "blocks_2_out"]


def test_a_compiled_model_is_trained_as_it_is_by_then():
    model = two_task_model()
    model.compile("adam", balancer="upgrad")
    model.fit(X, Y, verbose=0)
    before = model.get_weights()
    transfer.freeze(model, "trunk")
    model.fit(X, Y, verbose=0)
    assert not np.any(model.get_weights()[0] - before[0])
    assert np.any(model.get_weights()[2] - before[2])
    transfer.unfreeze(model)
    model.fit(X, Y, verbose=0)
    assert np.any(model.get_weights()[0] - before[0])


def test_statistics_that_go_on():
    model = nested()
    model.compile("adam")
    transfer.freeze(model, batch_normalization="adapt")
    before = model.get_layer("encoder").get_layer("bn").get_weights()
    model.fit(X, {"a": Y["b"], "b": Y["b"]}, verbose=0)
    after = model.get_layer("encoder").get_layer("bn").get_weights()
    assert [bool(np.any(a != b)) for a, b in zip(before, after, strict=True)] == [False, False, True, True]


def test_another_model_of_keras():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="one"), keras.layers.Dense(1, name="two")])
    model.trainable = False
    assert transfer.unfreeze(model, 1) == ["two"]
    assert len(model.trainable_variables) == 2
    assert transfer.freeze(model, "t*", backbone=["two"]) == ["two"]


def test_what_is_adapted_is_no_backbone():
    normalization = keras.layers.Normalization(name="normalized")
    normalization.adapt(X)
    inputs = keras.Input((6,))
    x = normalization(inputs)
    model = mtl.MultiTaskModel(inputs, {name: keras.layers.Dense(1, name=name)(x) for name in "ab"}, TASKS)
    with pytest.raises(ValueError, match="`backbone` should be given"):
        transfer.freeze(model)


def test_what_would_change_though_it_is_frozen():
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(4, name="first")(inputs)
    hidden = keras.layers.SpectralNormalization(keras.layers.Dense(4), name="bounded")(hidden)
    model = mtl.MultiTaskModel(inputs, {name: keras.layers.Dense(1, name=name)(hidden) for name in "ab"}, TASKS)
    model.compile("adam")
    before = trained(model)
    with pytest.raises(ValueError, match="`SpectralNormalization` sets its weights.*'bounded'"):
        transfer.freeze(model)
    with pytest.raises(ValueError, match="`SpectralNormalization` sets its weights.*'bounded'"):
        model.fit(X, Y, verbose=0, callbacks=[transfer.FineTuning([transfer.Stage(1)])])
    assert trained(model) == before
    transfer.freeze(model, "first")
    values = model.get_layer("first").get_weights()
    model.fit(X, Y, verbose=0)
    for value, now in zip(values, model.get_layer("first").get_weights(), strict=True):
        np.testing.assert_array_equal(value, now)


def test_bad_input():
    model = nested()
    with pytest.raises(ValueError, match="'encodr', which matches none. The nearest names are 'encoder'"):
        transfer.freeze(model, "encodr")
    with pytest.raises(ValueError, match="'a', which matches none"):  # a head is no part of the backbone
        transfer.freeze(model, "a")
    with pytest.raises(ValueError, match="'back', which matches none"):
        transfer.freeze(model, backbone="back")
    with pytest.raises(ValueError, match="two ways"):
        transfer.freeze(model, 1, blocks=1)
    with pytest.raises(ValueError, match="should be a name, a pattern"):
        transfer.freeze(model, [1])
    with pytest.raises(ValueError, match="`batch_normalization` should be one of"):
        transfer.freeze(model, batch_normalization=True)
    with pytest.raises(ValueError, match="should be a Functional or Sequential model"):
        transfer.freeze(keras.Sequential())
