"""Class weights and label smoothing, of the kinds that have them, and the number of classes."""

import keras
import numpy as np
import pytest

from keras_mtl import losses, tasks

INDICES = ("classification", "ordinal_regression", "segmentation", "sequence_tagging")


def make(kind, **arguments):
    number = {"num_classes": 3} if kind in INDICES else {"num_labels": 3} if kind.startswith("multi") else {}
    return tasks.get(kind, name="kind", **number, **arguments)


@pytest.mark.parametrize("kind", INDICES)
def test_there_is_a_weight_for_each_class(kind):
    task = make(kind, class_weights=np.array([1.0, 2.0, 0.5]))
    assert isinstance(task.loss, losses.ClassWeighted)
    assert task.loss.class_weights == task.class_weights == task.get_config()["class_weights"] == [1.0, 2.0, 0.5]
    for weights in ([1.0, 2.0], [[1.0, 2.0]] * 3, [1.0, 2.0, -1.0], "abc", 1.0):
        with pytest.raises(ValueError, match="`class_weights` should be"):
            make(kind, class_weights=weights)


@pytest.mark.parametrize("kind", ["binary_classification", "multi_label_classification"])
def test_there_is_a_pair_of_weights(kind):
    task = make(kind, class_weights=(1.0, 2.0))
    assert isinstance(task.loss, losses.ClassWeighted)
    assert task.loss.multi_label
    assert task.get_config()["class_weights"] == [1.0, 2.0]
    for weights in ([1.0], [1.0, 2.0, 3.0], [[1.0, 2.0]] * 2, [1.0, -1.0]):
        with pytest.raises(ValueError, match="`class_weights` should be"):
            make(kind, class_weights=weights)


@pytest.mark.parametrize("kind", [*INDICES, "binary_classification", "multi_label_classification"])
def test_smoothing(kind):
    task = make(kind, label_smoothing=0.2)
    assert task.loss.get_config()["label_smoothing"] == 0.2
    assert type(task).from_config(task.get_config()).label_smoothing == 0.2
    for smoothing in (-0.1, 1.1, None, "0.1"):
        with pytest.raises(ValueError, match="`label_smoothing` should be a number from 0 to 1"):
            make(kind, label_smoothing=smoothing)
    with pytest.raises(ValueError, match="`label_smoothing` goes with the loss of the kind of task. Received: .*0.2"):
        make(kind, label_smoothing=0.2, loss=keras.losses.Huber())


def test_weights_go_with_a_loss_that_is_given():
    task = make("classification", class_weights=[1.0, 2.0, 3.0], loss="SparseCategoricalCrossentropy")
    assert isinstance(task.loss, losses.ClassWeighted)
    found = type(task).from_config(task.get_config())
    assert isinstance(found.loss.loss, keras.losses.SparseCategoricalCrossentropy)


@pytest.mark.parametrize("number", [2, 0, 3.0, "3", None])
def test_ordered_classes_are_three_at_least(number):
    with pytest.raises(ValueError, match="`num_classes` should be an integer of at least 3"):
        tasks.OrdinalRegression("grade", number)


@pytest.mark.parametrize("number", [0, -1, 2.0, None])
def test_labels_are_one_at_least(number):
    with pytest.raises(ValueError, match="`num_labels` should be an integer of at least 1"):
        tasks.MultiLabelClassification("tags", number)
    assert tasks.MultiLabelClassification("tags", 1).label_shape == (1,)


def test_a_label_is_missing_on_its_own():
    labels = np.array([[0.0, np.nan, 1.0], [-1.0, 1.0, 0.5]], "float32")
    missing = make("multi_label_classification").missing(labels)
    np.testing.assert_array_equal(missing, [[False, True, False], [True, False, False]])
