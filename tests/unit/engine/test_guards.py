"""What would train another model than the user sees is refused, or works."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import MultiTaskModel, balancers, tasks
from tests.models import largest_difference, two_task_data, two_task_graph, two_task_model


@pytest.mark.parametrize("balancer", ["upgrad", balancers.MGDA(update_every=2)], ids=["each", "every second"])
def test_layers_frozen_after_compile(balancer):
    model = two_task_model()
    model.compile("sgd", balancer=balancer)
    model.get_layer("trunk").trainable = False
    with pytest.raises(ValueError, match="Received: 2 variables that were frozen or released. Call `compile` again."):
        model.fit(*two_task_data(40), verbose=0)
    model.compile("sgd", balancer="upgrad")
    model.fit(*two_task_data(40), verbose=0)


class Doubled(MultiTaskModel):
    def call(self, inputs, training=None, mask=None):
        return {name: 2 * value for name, value in super().call(inputs, training, mask).items()}


def test_a_call_of_the_models_own():
    inputs, outputs = two_task_graph()
    model = Doubled(inputs, outputs, [tasks.Classification("a", 4), tasks.Regression("b")])
    model.compile("sgd", balancer="uncertainty")
    for balancer in ("sum", "gradnorm"):
        with pytest.raises(ValueError, match="Received: a Doubled with a `call` of its own"):
            model.compile("sgd", balancer=balancer)


def test_a_nested_model_called_with_a_dict_in_another_order():
    """Keras matches inputs by name: what leads where is not the order in which they are given."""

    def make(balancer):
        keras.utils.set_random_seed(0)
        z, x = keras.Input((3,), name="z"), keras.Input((3,), name="x")
        inner = keras.Model([z, x], [keras.layers.Dense(3)(x), keras.layers.Dense(3)(z)])
        inputs = keras.Input((3,))
        before = {"x": keras.layers.Dense(3, name="ux")(inputs), "z": keras.layers.Dense(3, name="uz")(inputs)}
        of_x, of_z = inner(before)
        outputs = {"a": keras.layers.Dense(1)(of_x), "b": keras.layers.Dense(1)(of_x + of_z)}
        model = MultiTaskModel(inputs, outputs, [tasks.Regression("a"), tasks.Regression("b")])
        model.compile(keras.optimizers.SGD(0.1), balancer=balancer)
        rng = np.random.default_rng(0)
        labels = {"a": rng.normal(size=8).astype("float32"), "b": rng.normal(size=8).astype("float32")}
        model.fit(rng.normal(size=(8, 3)).astype("float32"), labels, verbose=0)
        return model

    assert largest_difference(make("equal"), make("sum")) < 1e-6


def test_weights_that_serve_several_steps_under_a_strategy_of_one_replica():
    x, y = two_task_data(40)
    models = []
    for scope in (tf.distribute.MirroredStrategy(["CPU:0"]).scope(), tf.distribute.get_strategy().scope()):
        with scope:
            model = two_task_model()
            model.compile(keras.optimizers.Adam(0.01), balancer=balancers.MGDA(update_every=2))
        model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
        models.append(model)
    assert largest_difference(*models) < 1e-6


def test_sample_weights_of_some_labels_in_evaluate_and_validation():
    x, y = two_task_data(40)
    weights = {"a": np.linspace(0.1, 1, 40).astype("float32")}
    model = two_task_model()
    model.compile("sgd")
    logs = model.evaluate(x, y, sample_weight=weights, verbose=0, return_dict=True)
    unweighted = model.evaluate(x, y, verbose=0, return_dict=True)
    assert logs["b_loss"] == unweighted["b_loss"]
    assert logs["a_loss"] < unweighted["a_loss"]
    history = model.fit(x, y, validation_data=(x, y, weights), verbose=0).history
    after = model.evaluate(x, y, sample_weight=weights, verbose=0, return_dict=True)
    assert history["val_a_loss"][0] == pytest.approx(after["a_loss"], rel=1e-5)
    with pytest.raises(ValueError, match="`class_weight` goes with `fit`"):
        model.train_on_batch(x, y, class_weight={"a": {0: 2.0}})
