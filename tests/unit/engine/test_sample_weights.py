"""Sample weights with axes of 1 at the end, which Keras takes, too."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import MultiTaskModel, tasks
from tests.models import two_task_data, two_task_graph, two_task_model
from tests.unit.engine.test_data import PLACES, data_of_places, model_of_places

SIZE = 24
WEIGHTS = np.random.default_rng(1).uniform(1, 5, SIZE).astype("float32")
LOSSES = {"a": keras.losses.SparseCategoricalCrossentropy(), "b": keras.losses.MeanSquaredError()}


def make(**arguments):
    model = two_task_model()
    model.compile(keras.optimizers.SGD(0.1), **arguments)
    return model


def plain():
    model = keras.Model(*two_task_graph())
    model.compile(keras.optimizers.SGD(0.1), loss=LOSSES)
    return model


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-5), name


@pytest.mark.parametrize("metrics", [None, {"a": [], "b": []}])
@pytest.mark.parametrize("axes, by_label", [(1, False), (1, True), (2, True)])
def test_losses_are_those_of_plain_keras(metrics, axes, by_label):
    x, y = two_task_data(SIZE)
    given = WEIGHTS.reshape(SIZE, *[1] * axes)
    column = {"a": WEIGHTS[:, None], "b": WEIGHTS[:, None]}
    expected = plain().evaluate(x, y, sample_weight=column, verbose=0, return_dict=True)
    found = {"a": given, "b": given} if by_label else given
    logs = make(metrics=metrics).evaluate(x, y, sample_weight=found, verbose=0, return_dict=True)
    trained = make(metrics=metrics).fit(x, y, sample_weight=found, batch_size=SIZE, verbose=0).history
    for name in ("loss", "a_loss", "b_loss"):
        assert logs[name] == pytest.approx(expected[name], rel=1e-5)
        assert trained[name] == pytest.approx([expected[name]], rel=1e-5)


@pytest.mark.parametrize("as_data_set", [False, True])
def test_they_are_multiplied_with_weights_of_classes(as_data_set):
    x, y = two_task_data(SIZE)
    logs = []
    for weights in (WEIGHTS, WEIGHTS[:, None]):
        if as_data_set:
            source = {"x": tf.data.Dataset.from_tensor_slices((x, y, {"a": weights})).batch(8)}
        else:
            source = {"x": x, "y": y, "sample_weight": {"a": weights}, "batch_size": 8, "shuffle": False}
        logs.append(make().fit(**source, class_weight={"a": {0: 5.0}}, verbose=0).history)
    assert_same(*logs)
    assert logs[0]["a_loss"] != pytest.approx(make().fit(x, y, verbose=0).history["a_loss"], rel=0.1)


@pytest.mark.parametrize("class_weight", [None, {"map": {0: 5.0}, "tags": {1: 3.0}}])
@pytest.mark.parametrize("of_places", [False, True])
def test_tasks_with_a_label_for_each_place(of_places, class_weight):
    x, y = data_of_places()
    rng = np.random.default_rng(0)
    shapes = {name: (8, *places) if of_places else (8,) for name, places in PLACES.items()}
    weights = {name: rng.uniform(1, 5, shape).astype("float32") for name, shape in shapes.items()}
    wider = {
        name: each.reshape(8, *PLACES[name], 1) if of_places else each.reshape(8, *[1] * (1 + len(PLACES[name])))
        for name, each in weights.items()
    }
    logs = []
    for given in (weights, wider):
        model = model_of_places()
        model.compile(keras.optimizers.SGD(0.1), balancer="sum")
        logs.append(model.fit(x, y, sample_weight=given, class_weight=class_weight, batch_size=8, verbose=0).history)
    assert_same(*logs)


def test_a_label_of_its_own_for_each_number():
    inputs = keras.Input((3,))
    model = MultiTaskModel(
        inputs, {"a": keras.layers.Dense(4, "sigmoid")(inputs)}, [tasks.MultiLabelClassification("a", 4)]
    )
    model.compile("sgd")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 3)), {"a": rng.integers(0, 2, (6, 4))}
    weights = rng.uniform(1, 5, 6).astype("float32")
    logs = [
        model.evaluate(x, y, sample_weight={"a": given}, verbose=0, return_dict=True)["a_loss"]
        for given in (weights, weights[:, None], np.repeat(weights[:, None], 4, axis=1))
    ]
    assert logs == pytest.approx([logs[0]] * 3)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_step_takes_both_in_turn(jit_compile):
    """Keras forgets how many axes they have then."""
    x, y = two_task_data(SIZE)
    weights = [WEIGHTS, WEIGHTS[:, None], WEIGHTS, WEIGHTS[:, None]]
    found, expected = make(jit_compile=jit_compile), make(jit_compile=jit_compile)
    for each in weights:
        logs = found.train_on_batch(x, y, sample_weight={"a": each, "b": each}, return_dict=True)
        same = expected.train_on_batch(x, y, sample_weight={"a": WEIGHTS, "b": WEIGHTS}, return_dict=True)
        assert logs == pytest.approx(same, rel=1e-5)


@pytest.mark.parametrize("class_weight", [None, {"a": {0: 5.0}}])
@pytest.mark.parametrize("shape", [(SIZE, 2), (SIZE, 1, 2)])
def test_other_axes_are_refused(class_weight, shape):
    x, y = two_task_data(SIZE)
    message = r"Sample weights of task 'a' \(Classification\) should be one for each example, of shape \(batch,\)\. "
    with pytest.raises(ValueError, match=message + r"Received: shape \((24|None), .*2\)"):
        make().fit(x, y, sample_weight={"a": np.ones(shape)}, class_weight=class_weight, verbose=0)


def test_other_places_are_refused():
    x, y = data_of_places()
    model = model_of_places()
    model.compile("sgd")
    message = r"of task 'tags' .*each label, of shape \(None, 4\)\. Received: shape \(None, 5"
    with pytest.raises(ValueError, match=message):
        model.fit(x, y, sample_weight={"tags": np.ones((8, 5))}, verbose=0)


def of_shape(shape, weights):
    """A data set that says no more of the weights than their shape so far as this one is known."""
    x, y = two_task_data(SIZE)
    signature = (
        tf.TensorSpec([None, 6]),
        {"a": tf.TensorSpec([None], "int64"), "b": tf.TensorSpec([None])},
        {"a": tf.TensorSpec(shape), "b": tf.TensorSpec(shape)},
    )
    element = (x, y, {"a": weights, "b": weights})
    data = tf.data.Dataset.from_generator(lambda: iter([element]), output_signature=signature)
    return data.apply(tf.data.experimental.assert_cardinality(1))


@pytest.mark.parametrize("shape", [[None, None], [None, 1, None]])
def test_axes_of_unknown_size(shape):
    """Of a data set whose elements do not say that the axis is one of 1."""
    weights = WEIGHTS.reshape(-1, *[1] * (len(shape) - 1))
    expected = make().evaluate(of_shape([None], WEIGHTS), verbose=0, return_dict=True)
    assert_same(make().evaluate(of_shape(shape, weights), verbose=0, return_dict=True), expected)


def test_several_columns_of_unknown_number_are_refused():
    with pytest.raises(tf.errors.InvalidArgumentError, match="reshape"):
        make().evaluate(of_shape([None, None], np.ones((SIZE, 3))), verbose=0)
    with pytest.raises(ValueError, match=r"of task 'a' .*Received: shape \(None, 3, None\)"):
        make().evaluate(of_shape([None, 3, None], np.ones((SIZE, 3, 1))), verbose=0)
