"""A backbone for each task."""

import keras
import numpy as np

import keras_mtl as mtl


def build(rule, names=("a", "b")):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,), name="x")
    x = keras.layers.Rescaling(0.5, name="rescaling")(inputs)
    x = keras.layers.Dense(5, activation="tanh", name="low")(x)
    x = keras.layers.Dense(3, activation="tanh", name="high")(x)
    return mtl.build_model(keras.Model(inputs, x), [mtl.tasks.Regression(name) for name in names], sharing=rule)


def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(32, 4)).astype("float32"), {name: rng.normal(size=32) for name in "ab"}


def test_no_weight_is_shared():
    parts = build("independent").partition
    assert parts.shared == []
    assert {task: len(variables) for task, variables in parts.specific.items()} == {"a": 6, "b": 6}


def test_each_task_is_trained_as_if_alone():
    both = build("independent")
    x, y = data()
    alone = {}
    for name in "ab":
        alone[name] = build("independent", [name])
        for layer in alone[name].layers:
            layer.set_weights(both.get_layer(layer.name).get_weights())
        alone[name].compile(keras.optimizers.SGD(0.1))
        alone[name].fit(x, {name: y[name]}, batch_size=8, shuffle=False, verbose=0)
    both.compile(keras.optimizers.SGD(0.1))
    both.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    for model in alone.values():
        for layer in model.layers:
            for first, second in zip(layer.get_weights(), both.get_layer(layer.name).get_weights(), strict=True):
                np.testing.assert_allclose(first, second, atol=1e-6)


def test_copies_begin_with_the_weights_of_the_backbone_or_their_own():
    for weights, alike in (("copied", True), ("own", False)):
        model = build(mtl.sharing.Independent(weights))
        kernels = [model.get_layer(name).get_weights()[0] for name in ("low_a", "low_b")]
        assert np.allclose(*kernels) == alike


def test_maps_are_left_to_the_heads():
    tasks = [mtl.tasks.Regression("a"), mtl.tasks.Regression("b")]
    model = mtl.build_model("convolutional", tasks, sharing="independent", input_shape=(8, 8, 1))
    assert {"a_pool", "b_pool", "conv_2_a", "conv_2_b", "rescaling"} <= {layer.name for layer in model.layers}
