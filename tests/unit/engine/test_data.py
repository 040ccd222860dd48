"""Weights of classes become weights of examples."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import MultiTaskModel, tasks
from keras_mtl.engine import with_class_weights
from tests.models import largest_difference, two_task_data, two_task_model

KINDS = [tasks.Classification("a", 4), tasks.Regression("b"), tasks.BinaryClassification("c")]
LABELS = {"a": np.array([0, 1, 3]), "b": np.ones(3), "c": np.array([[0], [1], [1]])}
CLASS_WEIGHT = {"a": {0: 2.0, 3: 0.5}, "c": {1: 3.0}}


def test_arrays():
    x, weights = with_class_weights(KINDS, CLASS_WEIGHT, "inputs", LABELS, None)
    assert x == "inputs"
    found = {label: weight.tolist() for label, weight in weights.items()}
    assert found == {"a": [2.0, 1.0, 0.5], "b": [1.0, 1.0, 1.0], "c": [1.0, 3.0, 3.0]}


def test_sample_weights_are_multiplied():
    _, weights = with_class_weights(KINDS, CLASS_WEIGHT, None, LABELS, {"a": np.array([1, 2, 4]), "b": np.zeros(3)})
    found = {label: np.asarray(weight).tolist() for label, weight in weights.items()}
    assert found == {"a": [2.0, 2.0, 2.0], "b": [0.0, 0.0, 0.0], "c": [1.0, 3.0, 3.0]}
    _, weights = with_class_weights(KINDS, CLASS_WEIGHT, None, LABELS, np.array([2.0, 2.0, 2.0]))
    assert np.asarray(weights["a"]).tolist() == [4.0, 2.0, 1.0]
    assert np.asarray(weights["b"]).tolist() == [2.0, 2.0, 2.0]


def test_data_sets():
    dataset = tf.data.Dataset.from_tensors((np.ones((3, 2)), LABELS, {"a": np.array([1, 2, 4])}))
    mapped, weights = with_class_weights(KINDS, CLASS_WEIGHT, dataset, None, None)
    assert weights is None
    ((_, labels, found),) = list(mapped)
    assert labels.keys() == LABELS.keys()
    assert {label: weight.numpy().tolist() for label, weight in found.items()} == {
        "a": [2.0, 2.0, 2.0],
        "c": [1.0, 3.0, 3.0],
    }


@pytest.mark.parametrize("as_data_set", [False, True])
def test_fit_trains_as_with_sample_weights(as_data_set):
    x, y = two_task_data(40)
    weights = np.where(y["a"] == 2, 5.0, 1.0).astype("float32")
    first, second = two_task_model(), two_task_model()
    for model in (first, second):
        model.compile(keras.optimizers.SGD(0.1), balancer="upgrad")
    first.fit(x, y, sample_weight={"a": weights}, batch_size=8, shuffle=False, verbose=0)
    source = (tf.data.Dataset.from_tensor_slices((x, y)).batch(8),) if as_data_set else (x, y)
    arguments = {} if as_data_set else {"batch_size": 8, "shuffle": False}
    second.fit(*source, class_weight={"a": {2: 5.0}}, verbose=0, **arguments)
    assert largest_difference(first, second) < 1e-6
    plain = two_task_model()
    plain.compile(keras.optimizers.SGD(0.1), balancer="upgrad")
    plain.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    assert largest_difference(first, plain) > 1e-3


@pytest.mark.parametrize(
    "class_weight, message",
    [
        ({0: 1.0}, "a dict by the keys of the labels of dicts"),
        ([1.0, 2.0], "a dict by the keys of the labels of dicts"),
        ({"b": {0: 1.0}}, r"keys of labels that are classes, of \['a', 'c'\]. Received: 'b'"),
        ({"z": {0: 1.0}}, "Received: 'z'"),
        ({"a": {4: 1.0}}, "classes from 0 to 3. Received: 4"),
        ({"c": {-1: 1.0}}, "classes from 0 to 1. Received: -1"),
        ({"a": {1: -1.0}}, r"a finite number of at least 0"),
    ],
    ids=str,
)
def test_bad_weights(class_weight, message):
    with pytest.raises(ValueError, match=message):
        with_class_weights(KINDS, class_weight, None, LABELS, None)


def test_a_source_that_cannot_be_mapped():
    with pytest.raises(ValueError, match="arrays or a `tf.data.Dataset`. Received: a generator"):
        with_class_weights(KINDS, CLASS_WEIGHT, (i for i in range(3)), None, None)


@pytest.mark.parametrize("order", [1, -1])
def test_weights_of_a_label_that_two_tasks_take(order):
    kinds = [tasks.Classification("p", 3, label="y"), tasks.Regression("q", label="y")][::order]
    _, weights = with_class_weights(kinds, {"y": {2: 5.0}}, None, {"y": np.array([0, 2])}, None)
    assert np.asarray(weights["y"]).tolist() == [1.0, 5.0]


def test_labels_out_of_range_are_for_the_check_of_labels_to_name():
    x, y = two_task_data(16)
    model = two_task_model()
    model.compile("sgd")
    dataset = tf.data.Dataset.from_tensor_slices((x, {**y, "a": y["a"] + 9})).batch(8)
    with pytest.raises(ValueError, match="class indices from 0 to 3"):
        model.fit(dataset, class_weight={"a": {1: 2.0}}, verbose=0)


def test_a_split_of_weighted_data_is_refused():
    model = two_task_model()
    model.compile("sgd")
    with pytest.raises(ValueError, match="Give `validation_data`"):
        model.fit(*two_task_data(16), class_weight={"a": {1: 2.0}}, validation_split=0.5, verbose=0)


PLACES = {"map": (4, 5), "tags": (4,), "flag": ()}


def model_of_places():
    """A model with classes for pixels, for tokens, and for the example."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4, 5, 3))
    trunk = keras.layers.Dense(6, activation="tanh")(inputs)
    kinds = [
        tasks.Segmentation("map", 3, ignore_label=255),
        tasks.SequenceTagging("tags", 3),
        tasks.BinaryClassification("flag"),
    ]
    flat = keras.layers.Reshape((4, 30))(trunk)
    outputs = {
        "map": keras.layers.Dense(3, activation="softmax")(trunk),
        "tags": keras.layers.Dense(3, activation="softmax")(flat),
        "flag": kinds[2].head(keras.layers.Flatten()(trunk)),
    }
    return MultiTaskModel(inputs, outputs, kinds)


def data_of_places(size=8):
    rng = np.random.default_rng(0)
    y = {name: rng.integers(0, 2 if name == "flag" else 3, (size, *places)) for name, places in PLACES.items()}
    y["map"][:, 0, 0] = 255
    y["tags"][:, -1] = -1
    return rng.normal(size=(size, 4, 5, 3)).astype("float32"), y


def losses_by_hand(model, x, y, class_weight, sample_weight):
    """The mean over the labels that there are, each times the weights of its class and of its example."""
    found = {}
    for name, predictions in model.predict(x, verbose=0).items():
        labels = np.where(np.isin(y[name], (-1, 255)), 0, y[name])
        of_class = np.stack([1 - predictions[..., 0], predictions[..., 0]], -1) if name == "flag" else predictions
        values = -np.log(np.take_along_axis(of_class, labels[..., None], -1)[..., 0])
        table = np.array([class_weight[name].get(index, 1.0) for index in range(3)])
        weights = table[labels] * sample_weight.reshape(-1, *[1] * len(PLACES[name]))
        found[f"{name}_loss"] = np.mean((values * weights)[~np.isin(y[name], (-1, 255))])
    return found


@pytest.mark.parametrize("last_axis", [False, True])
@pytest.mark.parametrize("as_data_set", [False, True])
@pytest.mark.parametrize("weighted", [None, "for all", "by label"])
def test_weights_of_classes_of_places(as_data_set, weighted, last_axis):
    x, y = data_of_places()
    class_weight = {"map": {0: 5.0, 2: 0.5}, "tags": {1: 3.0}, "flag": {1: 2.0}}
    sample_weight = np.linspace(0.5, 2, len(x)).astype("float32") if weighted else np.ones(len(x), "float32")
    model = model_of_places()
    model.compile(keras.optimizers.SGD(0.1), balancer="sum")
    expected = losses_by_hand(model, x, y, class_weight, sample_weight)
    given = {"map": y["map"][..., None], "tags": y["tags"][..., None], "flag": y["flag"][:, None]} if last_axis else y
    of_examples = dict.fromkeys(y, sample_weight) if weighted == "by label" else sample_weight
    rest = (of_examples,) if weighted else ()
    if as_data_set:
        source = {"x": tf.data.Dataset.from_tensors((x, given, *rest))}
    else:
        source = {"x": x, "y": given, "batch_size": len(x), **({"sample_weight": of_examples} if weighted else {})}
    logs = model.fit(**source, class_weight=class_weight, verbose=0).history
    for name, value in expected.items():
        assert logs[name] == pytest.approx([value], rel=1e-5), name


def test_weights_of_places_are_multiplied():
    kinds = [tasks.SequenceTagging("a", 3)]
    labels, weights = np.array([[0, 1], [2, 1]]), np.array([[1.0, 2.0], [3.0, 4.0]])
    _, found = with_class_weights(kinds, {"a": {1: 10.0}}, None, {"a": labels}, {"a": weights})
    assert np.asarray(found["a"]).tolist() == [[1.0, 20.0], [3.0, 40.0]]


def test_weights_of_classes_of_tokens_are_those_of_plain_keras():
    """Which takes them from a data set, where the labels have an axis of 1 at the end."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 4, 3)).astype("float32"), rng.integers(0, 3, (8, 4, 1))
    inputs = keras.Input((4, 3))
    outputs = keras.layers.Dense(3, activation="softmax")(inputs)
    plain = keras.Model(inputs, outputs)
    plain.compile(keras.optimizers.SGD(0.0), loss="sparse_categorical_crossentropy")
    model = MultiTaskModel(inputs, {"tags": outputs}, [tasks.SequenceTagging("tags", 3)])
    model.compile(keras.optimizers.SGD(0.0))
    dataset = tf.data.Dataset.from_tensors((x, y))
    expected = plain.fit(dataset, class_weight={0: 1.0, 1: 5.0, 2: 0.5}, shuffle=False, verbose=0).history["loss"]
    found = model.fit(x, {"tags": y}, class_weight={"tags": {1: 5.0, 2: 0.5}}, verbose=0).history["loss"]
    assert found == pytest.approx(expected, rel=1e-5)
