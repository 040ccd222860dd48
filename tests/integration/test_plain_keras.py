"""Under `equal` and `fixed` a multi-task model is a plain Keras model with the same losses and weights."""

import keras
import pytest

from keras_mtl import balancers
from tests.models import largest_difference, two_task_data, two_task_graph, two_task_model

WEIGHTS = {"a": 2.0, "b": 0.3}
OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
    "adam": lambda: keras.optimizers.Adam(0.01, global_clipnorm=1.0),
    "accumulated": lambda: keras.optimizers.Adam(0.01, gradient_accumulation_steps=2),
}


def plain_model(optimizer, loss_weights):
    inputs, outputs = two_task_graph()
    model = keras.Model(inputs, outputs)
    model.compile(
        optimizer,
        loss={"a": keras.losses.SparseCategoricalCrossentropy(), "b": keras.losses.MeanSquaredError()},
        loss_weights=loss_weights,
        metrics={
            "a": [keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
            "b": [keras.metrics.MeanAbsoluteError(name="mae")],
        },
    )
    return model


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
@pytest.mark.parametrize("way", ["equal", "task weights", "fixed"])
def test_fifty_steps_give_the_weights_of_plain_keras(way, optimizer):
    x, y = two_task_data(400)
    plain = plain_model(OPTIMIZERS[optimizer](), None if way == "equal" else WEIGHTS)
    task_weights = {name: {"weight": weight} for name, weight in WEIGHTS.items()} if way == "task weights" else {}
    model = two_task_model(**task_weights)
    model.compile(OPTIMIZERS[optimizer](), balancer=balancers.Fixed(WEIGHTS) if way == "fixed" else "equal")
    start = [weight.copy() for weight in plain.get_weights()]

    expected = plain.fit(x, y, batch_size=8, shuffle=False, verbose=0).history
    received = model.fit(x, y, batch_size=8, shuffle=False, verbose=0).history

    assert int(model.optimizer.iterations) == (25 if optimizer == "accumulated" else 50)
    assert largest_difference(model, plain) <= 1e-6
    assert max(abs(a - b).max() for a, b in zip(start, plain.get_weights(), strict=True)) > 1e-2
    assert received.keys() == expected.keys()
    for key, value in expected.items():
        assert received[key] == pytest.approx(value, abs=1e-5), key


def test_regularization_and_dropout_are_as_in_plain_keras():
    def graph():
        keras.utils.set_random_seed(3)
        inputs = keras.Input((6,))
        trunk = keras.layers.Dense(8, kernel_regularizer=keras.regularizers.L2(0.1), name="trunk")(inputs)
        trunk = keras.layers.Dropout(0.3, seed=5)(keras.layers.BatchNormalization()(trunk))
        heads = {"a": keras.layers.Dense(4, activation="softmax", name="a")(trunk)}
        heads["b"] = keras.layers.Dense(1, activity_regularizer="l2", name="b")(trunk)
        return inputs, heads

    from keras_mtl import MultiTaskModel, tasks

    x, y = two_task_data(80)
    inputs, outputs = graph()
    plain = keras.Model(inputs, outputs)
    plain.compile("sgd", loss={"a": "sparse_categorical_crossentropy", "b": "mse"})
    plain.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    for balancer in ("equal", "sum"):
        model = MultiTaskModel(*graph(), [tasks.Classification("a", 4), tasks.Regression("b")])
        model.compile("sgd", balancer=balancer)
        model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
        assert largest_difference(model, plain) <= 1e-6, balancer


def test_evaluate_reports_the_weighted_sum_over_all_examples():
    x, y = two_task_data(100)
    model = two_task_model(a={"weight": 2.0}, b={"weight": 0.3})
    model.compile("sgd", balancer="uncertainty")
    logs = model.evaluate(x, y, batch_size=32, verbose=0, return_dict=True)
    predictions = model.predict(x, verbose=0)
    a = float(keras.losses.SparseCategoricalCrossentropy()(y["a"], predictions["a"]))
    b = float(keras.losses.MeanSquaredError()(y["b"][:, None], predictions["b"]))
    assert logs["a_loss"] == pytest.approx(a, rel=1e-5)
    assert logs["b_loss"] == pytest.approx(b, rel=1e-5)
    assert logs["loss"] == pytest.approx(2 * a + 0.3 * b, rel=1e-5)
    assert float(model.compute_loss(x, y, predictions)) == pytest.approx(2 * a + 0.3 * b, rel=1e-5)
