"""What a multiplier of the learning rate can go around, what it leaves to that, and what it does not do."""

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl.optimizers import LayerwiseLearningRate as wrapped  # noqa: N813
from tests.models import largest_difference, two_task_data, two_task_model

X, Y = two_task_data(60)


def trained(optimizer):
    model = two_task_model()
    model.compile(optimizer)
    model.fit(X, Y, batch_size=20, shuffle=False, verbose=0)
    return model


def moves(model, before):
    pairs = zip(model.get_weights(), before, strict=True)
    return {v.path: a.astype("float64") - b for v, (a, b) in zip(model.weights, pairs, strict=True)}


def test_what_is_asked_of_the_wrapper_is_asked_of_the_inner_optimizer():
    models = []
    for around in (True, False):
        optimizer = (
            wrapped(keras.optimizers.AdamW(0.01, weight_decay=0.1))
            if around
            else keras.optimizers.AdamW(0.01, weight_decay=0.1)
        )
        optimizer.exclude_from_weight_decay(var_names=["kernel", "bias"])
        models.append(trained(optimizer))
    assert largest_difference(*models) == 0
    optimizer = models[0].optimizer
    values = [np.full(variable.shape, 3) for variable in optimizer.variables]
    optimizer.set_weights(values)
    for value, variable in zip(values, optimizer.inner_optimizer.variables, strict=True):
        np.testing.assert_array_equal(value, variable)


@pytest.mark.parametrize("kind", ["Adafactor", "Ftrl"])
def test_optimizers_whose_step_is_no_multiple_of_the_learning_rate(kind):
    """The reason, and the refusal."""
    kinds, steps = getattr(keras.optimizers, kind), []
    for rate in (0.5, 0.05):
        model = two_task_model()
        optimizer = kinds(learning_rate=rate)
        model.compile(optimizer)
        optimizer.iterations.assign(10_000)
        before = model.get_weights()
        model.train_on_batch(X, Y)
        steps.append(moves(model, before)["trunk/kernel"])
    assert np.abs(steps[0]).mean() / np.abs(steps[1]).mean() < 5
    with pytest.raises(ValueError, match=f"a multiple of its learning rate. Received: {kind}, which"):
        wrapped(kinds())
    with pytest.raises(ValueError, match="a multiple of its learning rate"):
        wrapped(kind.lower())


def test_an_inner_optimizer_is_new():
    inner = keras.optimizers.SGD(1.0)
    wrapped(inner, {"*": 0.1})
    with pytest.raises(ValueError, match="should be new. Received: SGD, which is within another wrapper already"):
        wrapped(inner, {"*": 0.1})
    used = trained("sgd").optimizer
    with pytest.raises(ValueError, match="should be new. Received: SGD, which has state for the variables"):
        wrapped(used)
    wrapped(type(used).from_config(used.get_config()))


def test_a_config_is_not_for_another_model():
    def model(first, last):
        return keras.Sequential(
            [keras.Input((6,)), keras.layers.Dense(6, name=first), keras.layers.Dense(1, name=last)]
        )

    optimizer = wrapped("sgd", {"stem": 0.0})
    model("stem", "head").compile(optimizer, loss="mse")
    optimizer.build(model("stem", "head").trainable_variables)
    config = keras.optimizers.serialize(optimizer)
    with pytest.raises(ValueError, match="'stem', which matches none"):
        keras.optimizers.deserialize(config).build(model("low", "high").trainable_variables)
    again = keras.optimizers.deserialize(config)
    again.build(model("stem_1", "head_7").trainable_variables)  # as Keras may number them
    assert again.get_config()["multiplier_by_position"] == [0.0, 0.0, 1.0, 1.0]


def test_a_multiplier_of_0_leaves_weights_but_for_what_the_optimizer_does_not_do():
    inputs = keras.Input((6,))
    x = keras.layers.Dense(8, name="trunk", kernel_constraint=keras.constraints.MaxNorm(0.5))(inputs)
    x = keras.layers.BatchNormalization(name="bn")(x)
    outputs = {name: keras.layers.Dense(1, name=name)(x) for name in "ab"}
    model = mtl.MultiTaskModel(inputs, outputs, [mtl.tasks.Regression(name) for name in outputs])
    model.compile(wrapped("adam", {"trunk": 0.0, "bn": 0.0}))
    before = model.get_weights()
    model.fit(X, {"a": Y["b"], "b": Y["b"]}, verbose=0)
    moved = {
        path: bool(step.any()) for path, step in moves(model, before).items() if path[0] not in "ab" or "bn" in path
    }
    names = ("trunk/kernel", "bn/moving_mean", "bn/moving_variance")
    assert {path for path, any_step in moved.items() if any_step} == set(names)
    mtl.transfer.freeze(model)
    before = model.get_weights()
    model.fit(X, {"a": Y["b"], "b": Y["b"]}, verbose=0)
    assert not any(moves(model, before)[name].any() for name in names)
