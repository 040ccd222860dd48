"""The multi-layer perceptron: what it computes, its dropout, and what it refuses."""

import numpy as np
import pytest

from keras_mtl.backbones import MLP


@pytest.mark.parametrize("input_shape", [5, (5,), [5]])
@pytest.mark.parametrize("units, expected", [((8, 3), 3), ([4], 4), (6, 6)])
def test_shapes(input_shape, units, expected):
    model = MLP(input_shape, units).build()
    assert (model.input_shape, model.output_shape) == ((None, 5), (None, expected))


def test_computes_what_it_says():
    model = MLP(5, (8, 3)).build()
    rng = np.random.default_rng(0)
    first, first_bias, second, second_bias = [rng.normal(size=weight.shape) for weight in model.weights]
    model.set_weights([first, first_bias, second, second_bias])
    x = rng.normal(size=(20, 5))
    expected = np.maximum(np.maximum(x @ first + first_bias, 0) @ second + second_bias, 0)
    np.testing.assert_allclose(model(x.astype("float32")), expected, atol=1e-4)


def test_drops_behind_each_layer_and_only_in_training():
    model = MLP(5, (300, 200), dropout=0.25).build()
    assert [layer.name for layer in model.layers] == ["vector", "dense_0", "dropout_0", "dense_1", "dropout_1"]
    model.set_weights([np.zeros((5, 300)), np.ones(300), np.full((300, 200), 1 / 300), np.zeros(200)])
    x = np.ones((40, 5), "float32")
    np.testing.assert_allclose(model(x, training=False), np.ones((40, 200)), rtol=1e-5)
    trained = np.asarray(model(x, training=True))
    np.testing.assert_allclose(np.mean(trained == 0), 0.25, atol=0.02)
    assert np.unique(trained[trained > 0]).size > 10


def test_has_no_dropout_unless_asked():
    assert [layer.name for layer in MLP(5, (4, 3)).build().layers] == ["vector", "dense_0", "dense_1"]


def test_defaults():
    assert MLP(5).get_config() == {"input_shape": [5], "units": [128, 64], "dropout": 0.0}


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"input_shape": (5, 5)}, r"`input_shape` should be \(number,\)\. Received: input_shape=\(5, 5\)"),
        ({"input_shape": ()}, r"`input_shape` should be \(number,\)"),
        ({"input_shape": 0}, r"`input_shape\[0\]` should be an integer of at least 1"),
        ({"input_shape": 2.0}, "`input_shape` should be an integer or a sequence of integers"),
        ({"units": ()}, r"`len\(units\)` should be an integer of at least 1"),
        ({"units": (8, -1)}, r"`units\[1\]` should be an integer of at least 1"),
        ({"dropout": 1.0}, "`dropout` should be a finite number of at least 0 and below 1. Received: dropout=1.0"),
        ({"dropout": -0.5}, "`dropout` should be a finite number of at least 0 and below 1. Received: dropout=-0.5"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        MLP(**{"input_shape": 5, **arguments})
