"""Two replicas give what one gives on the whole batch."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import MultiTaskModel, balancers, tasks
from tests.models import (
    largest_difference,
    others_slow,
    second_stream,
    three_task_data,
    three_task_model,
    two_task_data,
    two_task_model,
)

BALANCERS = [
    *balancers.names(),
    ["uncertainty", "pcgrad"],
    balancers.UPGrad(gradients="features"),
    balancers.UPGrad(update_every=3),
    balancers.DBMTL(gradients="shared"),
]
OTHERS = [
    balancers.UPGrad(update_every=3, gradients="features"),
    balancers.PCGrad(update_every=3, seed=3),
    balancers.PCGrad(update_every=3, seed=3, gradients="features"),
    balancers.ExcessMTL(gradients="shared"),
]


@pytest.mark.parametrize(
    "balancer",
    [
        *others_slow(BALANCERS, by_default=("equal", "upgrad")),
        *(pytest.param(each, marks=pytest.mark.slow) for each in OTHERS),
    ],
    ids=str,
)
def test_twenty_adam_steps_are_those_of_one_replica(balancer, two_replicas):
    data = three_task_data(400)
    config = balancer if isinstance(balancer, (str, list)) else keras.saving.serialize_keras_object(balancer)
    of_features = getattr(balancer, "gradients", "shared") == "features"
    models, histories = [], []
    for scope in (two_replicas.scope(), tf.distribute.get_strategy().scope()):
        with scope:
            model = three_task_model(levels=not of_features)
            keras.utils.set_random_seed(1)  # of the balancer's own numbers
            model.compile(keras.optimizers.Adam(0.01), balancer=config)
        stream = second_stream(balancer)
        histories.append(model.fit(data, shuffle=False, verbose=0, validation_data=data, **stream).history)
        models.append(model)

    assert models[0].optimizer.iterations.numpy() == 20
    assert largest_difference(*models) <= 1e-5
    for key, value in histories[1].items():
        assert histories[0][key] == pytest.approx(value, abs=1e-5), key


def test_conflicting_tasks_with_random_orders_and_regularization(two_replicas):
    def build():
        keras.utils.set_random_seed(1)
        inputs = keras.Input((6,))
        trunk = keras.layers.Dense(8, activation="tanh", kernel_regularizer="l2")(inputs)
        names = ["a", "b", "c", "d"]
        outputs = {name: keras.layers.Dense(1, name=name)(trunk) for name in names}
        model = MultiTaskModel(inputs, outputs, [tasks.Regression(name) for name in names])
        model.compile(keras.optimizers.Adam(0.01), balancer=balancers.PCGrad(seed=7))
        return model

    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 6)).astype("float32")
    y = {name: rng.normal(size=400).astype("float32") for name in "abcd"}
    alone = build()
    with two_replicas.scope():
        model = build()
    for each in (alone, model):
        each.fit(x, y, batch_size=20, shuffle=False, verbose=0)
    assert largest_difference(model, alone) <= 1e-5


def test_a_model_built_under_a_strategy_is_saved_and_loaded_without_one(two_replicas, tmp_path):
    x, y = two_task_data(40)
    with two_replicas.scope():
        model = two_task_model()
        model.compile("adam", balancer=["uncertainty", "pcgrad"])
    model.fit(x, y, batch_size=20, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert largest_difference(model, loaded) == 0
    for task, values in model.predict(x, verbose=0).items():
        np.testing.assert_allclose(loaded.predict(x, verbose=0)[task], values, atol=1e-6)
    for task, values in model.predict_on_batch(x[:7]).items():
        assert len(values) == 7
        np.testing.assert_allclose(loaded.predict_on_batch(x[:7])[task], values, atol=1e-6)


def four_tasks(balancer, trainable=True):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((6,))
    trunk = keras.layers.Dense(8, activation="tanh", trainable=trainable)(inputs)
    names = ["a", "b", "c", "d"]
    outputs = {name: keras.layers.Dense(1, name=name)(trunk) for name in names}
    return MultiTaskModel(inputs, outputs, [tasks.Regression(name) for name in names])


def four_labels():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 6)).astype("float32")
    return x, {name: rng.normal(size=400).astype("float32") for name in "abcd"}


@pytest.mark.parametrize("balancer", others_slow(["equal", "uncertainty", "pcgrad"], by_default=("pcgrad",)))
def test_compiling_outside_the_scope(balancer, two_replicas):
    """State is made where the model's own was made, and a balancer's random numbers are the same on each replica."""
    x, y = four_labels()
    models = []
    for scope in (two_replicas.scope(), tf.distribute.get_strategy().scope()):
        with scope:
            model = four_tasks(balancer)
        instance = balancers.PCGrad(seed=7) if balancer == "pcgrad" else balancer
        model.compile("adam", balancer=instance)
        model.fit(x, y, batch_size=20, shuffle=False, verbose=0)
        models.append(model)
    assert largest_difference(*models) <= 1e-5
    if balancer == "pcgrad":
        assert models[0].gradient_balancer.seed_generator.state.numpy().tolist() == [7, 20]


@pytest.mark.parametrize("balancer", [pytest.param("sum", marks=pytest.mark.slow), "pcgrad"])
def test_a_frozen_trunk(balancer, two_replicas):
    x, y = four_labels()
    models = []
    for scope in (two_replicas.scope(), tf.distribute.get_strategy().scope()):
        with scope:
            model = four_tasks(balancer, trainable=False)
            model.compile(keras.optimizers.Adam(0.01), balancer=balancer)
        model.fit(x, y, batch_size=20, shuffle=False, verbose=0)
        models.append(model)
    assert largest_difference(*models) <= 1e-5


def test_every_batch_is_trained_on_and_labels_may_be_booleans(two_replicas):
    with two_replicas.scope():
        inputs = keras.Input((6,))
        outputs = {name: keras.layers.Dense(1, activation="sigmoid", name=name)(inputs) for name in "ab"}
        model = MultiTaskModel(inputs, outputs, [tasks.BinaryClassification(name) for name in "ab"])
        model.compile("sgd")
    read = []

    def batches():
        for index in range(5):
            read.append(index)
            yield np.ones((4, 6), "float32"), {"a": np.ones(4, bool), "b": np.zeros(4, bool)}

    labels = {name: tf.TensorSpec((4,), tf.bool) for name in "ab"}
    data = tf.data.Dataset.from_generator(batches, output_signature=(tf.TensorSpec((4, 6)), labels))
    # A data set of unknown size: Keras says at the end of its first epoch that there is no more.
    with pytest.warns(UserWarning, match="ran out of data"):
        model.fit(data, verbose=0)
    assert model.optimizer.iterations.numpy() == 5
    assert read == list(range(5))


def test_xla_over_several_replicas_is_refused(two_replicas):
    with two_replicas.scope():
        model = two_task_model()
        with pytest.raises(ValueError, match="XLA does not compile a step of several replicas.*jit_compile=True"):
            model.compile("sgd", jit_compile=True)


def normalized_model():
    inputs = keras.Input((6,))
    x = keras.layers.BatchNormalization(synchronized=True, name="normalized")(keras.layers.Dense(8)(inputs))
    outputs = {name: keras.layers.Dense(1, name=name)(x) for name in "ab"}
    return MultiTaskModel(inputs, outputs, [tasks.Regression(name) for name in "ab"])


@pytest.mark.parametrize(
    "arguments", [{"balancer": "upgrad"}, {"on_nonfinite": "skip"}], ids=lambda each: next(iter(each))
)
def test_synchronized_normalization_with_gradients_by_task_is_refused(arguments, two_replicas):
    """It would wait for ever."""
    with two_replicas.scope():
        model = normalized_model()
        with pytest.raises(ValueError, match=r"synchronized batch normalization.*the layers \['normalized'\]"):
            model.compile("sgd", **arguments)
        model.compile("sgd", balancer="equal")
    normalized_model().compile("sgd", **arguments)


@pytest.mark.parametrize("balancer", ["pcgrad", pytest.param("equal", marks=pytest.mark.slow)])
def test_several_steps_at_once_are_so_many_single_ones(balancer, two_replicas):
    x, y = two_task_data(100)
    models, logs = [], []
    for steps in (1, 4):
        with two_replicas.scope():
            model = two_task_model()
            model.compile(keras.optimizers.Adam(0.01), balancer=balancer, steps_per_execution=steps)
        # Seven batches: the last call makes three steps, and its last batch is smaller.
        found = model.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0, validation_data=(x, y))
        logs.append({name: values[-1] for name, values in found.history.items()})
        models.append(model)
        assert model.optimizer.iterations.numpy() == 14
    assert largest_difference(*models) <= 1e-6
    assert logs[0] == pytest.approx(logs[1], abs=1e-5)


def test_data_that_are_divided_already_are_refused(two_replicas):
    with two_replicas.scope():
        model = three_task_model()
        model.compile("sgd")
    divided = two_replicas.experimental_distribute_dataset(three_task_data(20))
    for call in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match=r"Received: a \w*DistributedDataset. Give the `tf.data.Dataset` that"):
            call(divided, verbose=0)
