"""A saved and reloaded model goes on as the unsaved one does."""

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl import balancers
from keras_mtl.model._random_state import random_states
from tests.models import (
    largest_difference,
    others_slow,
    second_stream,
    three_task_data,
    three_task_model,
    two_task_data,
    two_task_model,
)

BALANCERS = [*balancers.names(), ["uncertainty", "pcgrad"], balancers.UPGrad(update_every=3)]


@pytest.mark.parametrize("balancer", others_slow(BALANCERS), ids=str)
def test_training_continues_exactly(balancer, tmp_path):
    data, stream = three_task_data(80, batch_size=8), second_stream(balancer)
    model = three_task_model()
    model.compile(keras.optimizers.Adam(0.01), balancer=balancer)
    model.fit(data, verbose=0, **stream)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")

    assert largest_difference(model, loaded) == 0
    assert [variable.path for variable in loaded.optimizer.variables] == [
        variable.path for variable in model.optimizer.variables
    ]
    saved = [weight.copy() for weight in model.get_weights()]
    for each in (model, loaded):
        each.fit(data, verbose=0, **stream)
    assert int(loaded.optimizer.iterations) == 20
    assert largest_difference(model, loaded) <= 1e-6
    assert max(np.abs(a.astype(float) - b).max() for a, b in zip(saved, model.get_weights(), strict=True)) > 1e-3


def test_three_tasks_draw_the_same_orders_after_loading(tmp_path, digits, digit_tasks):
    images, labels = digits
    model = mtl.build_model(mtl.backbones.Convolutional((8, 8, 1), filters=(4, 8)), digit_tasks)
    model.compile(keras.optimizers.SGD(0.01), balancer=balancers.PCGrad(seed=1))
    model.fit(images, labels, batch_size=16, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    state = loaded.gradient_balancer.seed_generator.state
    assert state.numpy().tolist() == model.gradient_balancer.seed_generator.state.numpy().tolist() == [1, 4]
    for each in (model, loaded):
        each.fit(images, labels, batch_size=16, shuffle=False, verbose=0)
    assert largest_difference(model, loaded) <= 1e-6


def test_dropout_goes_on_with_the_same_random_numbers(tmp_path):
    def build():
        kinds = [mtl.tasks.Classification("a", 4, hidden_units=8, dropout=0.4), mtl.tasks.Regression("b")]
        model = mtl.build_model(mtl.backbones.MLP(6, units=(8, 8), dropout=0.3), kinds)
        model.compile(keras.optimizers.Adam(0.01), balancer="pcgrad")
        return model

    x, y = two_task_data(80)
    model = build()
    model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    loaded, other = keras.saving.load_model(tmp_path / "model.keras"), build()
    other.load_weights(tmp_path / "model.weights.h5")
    assert [state.numpy().tolist() for state in random_states(loaded)] == [
        state.numpy().tolist() for state in random_states(model)
    ]
    assert len(random_states(loaded)) == 4  # three of dropout, one of the balancer
    for each in (model, loaded):
        each.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    assert largest_difference(model, loaded) <= 1e-6


def test_weights_of_a_plain_model_are_loaded_without_random_states(tmp_path):
    model = two_task_model()
    plain = keras.Model(model.input, model.output)
    plain.save_weights(tmp_path / "plain.weights.h5")
    other = two_task_model(seed=1)
    assert largest_difference(model, other) > 0
    other.load_weights(tmp_path / "plain.weights.h5")
    assert largest_difference(model, other) == 0


def test_everything_that_compile_was_told_comes_back(tmp_path, digits, digit_tasks):
    images, labels = digits
    model = mtl.build_model(mtl.backbones.Convolutional((8, 8, 1), filters=(4,)), digit_tasks, name="reader")
    model.compile(
        keras.optimizers.Adam(0.003),
        balancer=balancers.Fixed({"digit": 1.0, "is_even": 2.0, "value": 0.5}),
        loss={"value": keras.losses.LogCosh(name="log_cosh")},
        metrics={"digit": [keras.metrics.SparseTopKCategoricalAccuracy(3, name="top_3")]},
        weighted_metrics={"value": [keras.metrics.MeanSquaredError(name="mse")]},
        steps_per_execution=2,
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.name == "reader"
    assert [type(task).__name__ for task in loaded.tasks] == [type(task).__name__ for task in digit_tasks]
    assert loaded.steps_per_execution == 2
    assert isinstance(loaded.loss["value"], keras.losses.LogCosh)
    assert loaded.loss_balancer.task_weights == {"digit": 1.0, "is_even": 2.0, "value": 0.5}
    expected = model.evaluate(images, labels, verbose=0, return_dict=True)
    received = loaded.evaluate(images, labels, verbose=0, return_dict=True)
    assert received == pytest.approx(expected)
    assert {"digit_top_3", "value_mse", "is_even_auc"} <= received.keys()


def test_weights_files_and_uncompiled_models(tmp_path, digit_tasks):
    backbone = mtl.backbones.Convolutional((8, 8, 1), filters=(4,))
    model, other = mtl.build_model(backbone, digit_tasks), mtl.build_model(backbone, digit_tasks)
    assert largest_difference(model, other) > 0
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    assert largest_difference(model, other) == 0
    model.save(tmp_path / "model.keras")
    assert not keras.saving.load_model(tmp_path / "model.keras").compiled
