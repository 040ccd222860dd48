"""Networks that read weighted sums of one another."""

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl.sharing._cross_stitch import CrossStitchUnit


def build(rule, names=("a", "b")):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,), name="x")
    x = keras.layers.Dense(5, activation="tanh", name="low")(inputs)
    x = keras.layers.Dense(3, activation="tanh", name="high")(x)
    return mtl.build_model(keras.Model(inputs, x), [mtl.tasks.Regression(name) for name in names], sharing=rule)


def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(32, 4)).astype("float32"), {name: rng.normal(size=32) for name in "ab"}


def stitches(model):
    return [layer for layer in model.layers if isinstance(layer, CrossStitchUnit)]


def dense(model, name, x):
    kernel, bias = model.get_layer(name).get_weights()
    return np.tanh(x @ kernel + bias)


@pytest.mark.parametrize("per_channel", [False, True])
def test_is_what_the_paper_defines(per_channel):
    names = ("a", "b", "c")
    model = build(mtl.sharing.CrossStitch(per_channel=per_channel, weights="own"), names)
    rng = np.random.default_rng(1)
    for layer in stitches(model):
        layer.set_weights([rng.normal(size=layer.stitches.shape)])
    x, _ = data()

    def mixed(features, matrix):
        equation = "crt,tbc->rbc" if per_channel else "rt,tbc->rbc"
        return np.einsum(equation, matrix, np.stack(features))

    low = mixed([dense(model, f"low_{name}", x) for name in names], model.get_layer("low_stitch").get_weights()[0])
    high = [dense(model, f"high_{name}", of_task) for name, of_task in zip(names, low, strict=True)]
    for name in names:
        (read,) = mixed(high, model.get_layer(f"high_stitch_{name}").get_weights()[0])
        kernel, bias = model.get_layer(f"{name}_logits").get_weights()
        np.testing.assert_allclose(model(x)[name], read @ kernel + bias, atol=1e-5)


@pytest.mark.parametrize(
    ("names", "own", "expected"),
    [("ab", 0.9, [[0.9, 0.1], [0.1, 0.9]]), ("abc", 0.8, np.full((3, 3), 0.1) + 0.7 * np.eye(3))],
)
def test_begins_with_its_own_and_an_equal_share_of_the_others(names, own, expected):
    for per_channel in (False, True):
        model = build(mtl.sharing.CrossStitch(own, per_channel), names)
        found = model.get_layer("low_stitch").learnt()["stitches"]
        assert found.shape == ((5, len(names), len(names)) if per_channel else (len(names), len(names)))
        np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1e-6)
        last = [model.get_layer(f"high_stitch_{name}").learnt()["stitches"] for name in names]
        rows = np.concatenate(last, axis=-2)
        np.testing.assert_allclose(rows, np.broadcast_to(expected, rows.shape), atol=1e-6)


def test_of_its_own_alone_and_frozen_it_is_independent():
    stitched, independent = build(mtl.sharing.CrossStitch(1.0)), build("independent")
    x, y = data()
    for name, value in stitched(x).items():
        np.testing.assert_allclose(value, independent(x)[name], atol=1e-6)
    for layer in stitches(stitched):
        layer.trainable = False
    for model in (stitched, independent):
        model.compile(keras.optimizers.Adam(0.05))
        model.fit(x, y, epochs=3, batch_size=8, shuffle=False, verbose=0)
    for layer in independent.layers:
        for first, second in zip(layer.get_weights(), stitched.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_allclose(first, second, atol=1e-6)


def test_what_is_shared():
    model = build("cross_stitch")
    shared = {variable.path for variable in model.partition.shared}
    layers = {layer.name for layer in model.layers if {weight.path for weight in layer.weights} & shared}
    assert layers == {"low_a", "low_b", "low_stitch", "high_a", "high_b"}
    own = {variable.path.split("/")[0] for variable in model.partition.specific["a"]}
    assert own == {"high_stitch_a", "a_logits"}


def test_the_stitches_are_trained():
    model = build("cross_stitch")
    x, y = data()
    model.compile(keras.optimizers.SGD(0.1), balancer="mgda")
    before = [layer.get_weights()[0] for layer in stitches(model)]
    model.fit(x, y, batch_size=8, verbose=0)
    for old, layer in zip(before, stitches(model), strict=True):
        assert np.abs(layer.get_weights()[0] - old).min() > 0


def test_maps():
    tasks = [mtl.tasks.Regression(name) for name in "ab"]
    rule = mtl.sharing.CrossStitch(per_channel=True)
    model = mtl.build_model("convolutional", tasks, sharing=rule, input_shape=(8, 8, 1))
    levels = [layer.level for layer in stitches(model)]
    assert levels == ["conv_0", "conv_1", "conv_2", "conv_2"]
    assert model.get_layer("conv_1_stitch").stitches.shape == (64, 2, 2)


def test_the_layer_knows_its_tasks_and_level():
    layer = build("cross_stitch").get_layer("low_stitch")
    assert (list(layer.tasks), layer.level, list(layer.readers)) == (["a", "b"], "low", ["a", "b"])
    again = CrossStitchUnit.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


def test_weights_for_each_channel_need_a_fixed_number_of_them():
    unit = CrossStitchUnit(["a", "b"], "level", per_channel=True, name="unit")
    with pytest.raises(ValueError, match=r"'unit' has weights for each channel.* Received: .*\(None, 4, None\)"):
        unit.build([(None, 4, None)] * 2)


@pytest.mark.parametrize("own", [-0.1, 1.1, float("nan"), "0.9"])
def test_bad_arguments(own):
    with pytest.raises(ValueError, match="`own` should be a number from 0 to 1. Received: own="):
        mtl.sharing.CrossStitch(own)
