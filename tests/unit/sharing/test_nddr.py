"""Networks that read projections of the channels of all."""

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl.sharing._nddr import NDDRUnit


def build(rule, names=("a", "b")):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,), name="x")
    x = keras.layers.Dense(5, activation="tanh", name="low")(inputs)
    x = keras.layers.Dense(3, activation="tanh", name="high")(x)
    return mtl.build_model(keras.Model(inputs, x), [mtl.tasks.Regression(name) for name in names], sharing=rule)


def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(32, 4)).astype("float32"), {name: rng.normal(size=32) for name in "ab"}


def units(model):
    return [layer for layer in model.layers if isinstance(layer, NDDRUnit)]


def dense(model, name, x):
    kernel, bias = model.get_layer(name).get_weights()
    return np.tanh(x @ kernel + bias)


def normalized(model, name, x):
    scale, offset, mean, variance = model.get_layer(name).get_weights()
    return (x - mean) / np.sqrt(variance + 1e-3) * scale + offset


def test_is_what_the_paper_defines():
    names = ("a", "b", "c")
    model = build(mtl.sharing.NDDR(weights="own"), names)
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, (NDDRUnit, keras.layers.BatchNormalization)):
            layer.set_weights([np.abs(rng.normal(size=weight.shape)) for weight in layer.weights])
    x, _ = data()

    low = np.concatenate([dense(model, f"low_{name}", x) for name in names], axis=-1)
    low = np.split(low @ model.get_layer("low_nddr").get_weights()[0], 3, axis=-1)
    low = [normalized(model, f"low_nddr_norm_{name}", of_task) for name, of_task in zip(names, low, strict=True)]
    pairs = zip(names, low, strict=True)
    high = np.concatenate([dense(model, f"high_{name}", of_task) for name, of_task in pairs], axis=-1)
    for name in names:
        read = normalized(model, f"high_nddr_norm_{name}", high @ model.get_layer(f"high_nddr_{name}").get_weights()[0])
        kernel, bias = model.get_layer(f"{name}_logits").get_weights()
        np.testing.assert_allclose(model(x)[name], read @ kernel + bias, rtol=1e-4, atol=1e-4)


def test_begins_with_diagonals():
    kernel = build(mtl.sharing.NDDR(0.8), "abc").get_layer("low_nddr").get_weights()[0]
    blocks = kernel.reshape(3, 5, 3, 5)
    for task in range(3):
        for reader in range(3):
            expected = np.eye(5) * (0.8 if task == reader else 0.1)
            np.testing.assert_allclose(blocks[task, :, reader], expected, atol=1e-6)


def test_begins_like_a_cross_stitch_but_for_the_normalization():
    fused, stitched = build(mtl.sharing.NDDR(0.8)), build(mtl.sharing.CrossStitch(0.8))
    x, _ = data()
    for name, value in fused(x).items():
        np.testing.assert_allclose(value, stitched(x)[name], atol=2e-3)
    for layer in fused.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.epsilon = 0.0
    for name, value in fused(x).items():
        np.testing.assert_allclose(value, stitched(x)[name], atol=1e-6)


def test_learnt_is_the_mean_absolute_weight():
    model = build(mtl.sharing.NDDR(0.75))
    np.testing.assert_allclose(
        model.get_layer("low_nddr").learnt()["stitches"], np.asarray([[0.75, 0.25], [0.25, 0.75]]) / 5, atol=1e-6
    )
    layer = model.get_layer("high_nddr_b")
    assert list(layer.readers) == ["b"]
    layer.set_weights([np.concatenate([np.full((3, 3), -2.0), np.full((3, 3), 4.0)])])
    np.testing.assert_allclose(layer.learnt()["stitches"], [[2.0, 4.0]])


def test_what_is_shared():
    model = build("nddr")
    own = {variable.path.split("/")[0] for variable in model.partition.specific["a"]}
    assert own == {"high_nddr_a", "high_nddr_norm_a", "a_logits"}
    shared = {variable.path.split("/")[0] for variable in model.partition.shared}
    normalizations = {"low_nddr_norm_a", "low_nddr_norm_b"}
    assert shared == {"low_a", "low_b", "low_nddr", "high_a", "high_b"} | normalizations


def test_the_weight_decay_is_that_of_gradient_descent():
    model = build(mtl.sharing.NDDR(weight_decay=0.3))
    expected = 0.15 * sum(np.sum(layer.get_weights()[0] ** 2) for layer in units(model))
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)
    assert build(mtl.sharing.NDDR(weight_decay=0)).losses == []


def test_the_projections_are_trained():
    model = build("nddr")
    x, y = data()
    model.compile(keras.optimizers.SGD(0.1), balancer="mgda")
    before = [layer.get_weights()[0] for layer in units(model)]
    model.fit(x, y, batch_size=8, verbose=0)
    for old, layer in zip(before, units(model), strict=True):
        assert np.abs(layer.get_weights()[0] - old).min() > 0


def test_maps():
    tasks = [mtl.tasks.Regression(name) for name in "ab"]
    model = mtl.build_model("convolutional", tasks, sharing="nddr", input_shape=(8, 8, 1))
    assert [layer.level for layer in units(model)] == ["conv_0", "conv_1", "conv_2", "conv_2"]
    assert model.get_layer("conv_1_nddr").kernel.shape == (128, 128)
    assert model.get_layer("conv_2_nddr_a").kernel.shape == (256, 128)


def test_maps_of_any_size_with_a_balancer_of_whole_gradients():
    inputs = keras.Input((None, None, 2))
    x = keras.layers.Conv2D(4, 3, padding="same", name="low")(inputs)
    x = keras.layers.Conv2D(3, 3, padding="same", name="high")(x)
    tasks = [mtl.tasks.Regression(name) for name in "ab"]
    model = mtl.build_model(keras.Model(inputs, x), tasks, sharing="nddr", features=["low", "high"])
    assert model.get_layer("low_nddr").output[0].shape == (None, None, None, 4)
    model.compile("sgd", balancer="graddrop")
    logs = model.fit(np.ones((8, 6, 5, 2)), {name: np.ones(8) for name in "ab"}, verbose=0).history
    assert np.isfinite(logs["loss"]).all()


def test_the_layer_knows_its_tasks_and_level():
    layer = build("nddr").get_layer("low_nddr")
    assert (list(layer.tasks), layer.level) == (["a", "b"], "low")
    assert NDDRUnit.from_config(layer.get_config()).get_config() == layer.get_config()


def test_it_needs_a_fixed_number_of_channels():
    with pytest.raises(ValueError, match=r"'unit' has weights for each channel.* Received: .*\(None, 4, None\)"):
        NDDRUnit(["a", "b"], "level", name="unit").build([(None, 4, None)] * 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"own": 1.5}, "`own` should be a number from 0 to 1"),
        ({"weight_decay": -1}, "`weight_decay` should be a finite"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        mtl.sharing.NDDR(**arguments)
