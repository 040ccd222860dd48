"""Precision, recall, F1 and intersection over union, averaged over classes: against counts by numpy."""

import keras
import numpy as np
import pytest

from keras_mtl import metrics

KINDS = {"precision": metrics.Precision, "recall": metrics.Recall, "f1": metrics.F1, "iou": metrics.MeanIoU}


def expected(right, predicted, labelled):
    """By name, from counts of each class [num_classes]."""
    seen = predicted + labelled > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        scores = {
            "precision": right / predicted,
            "recall": right / labelled,
            "f1": 2 * right / (predicted + labelled),
            "iou": right / (predicted + labelled - right),
        }
    return {name: np.nan_to_num(values)[seen].mean() for name, values in scores.items()}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("places", [(), (3,), (3, 4)])
def test_of_classes_that_exclude_each_other(name, places):
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 4, (20, *places)), rng.random((20, *places, 6))
    predictions[..., 5] = 0  # class 5 never appears, and class 4 is predicted only
    weights = rng.integers(0, 3, (20, *places)).astype("float32")
    metric = KINDS[name](6)
    metric.update_state(labels[:7], predictions[:7], weights[:7])
    metric.update_state(labels[7:, ..., None], predictions[7:], weights[7:])
    number = predictions.argmax(axis=-1)
    counts = [
        np.array([(weights * wanted(c)).sum() for c in range(6)])
        for wanted in (
            lambda c: (number == c) & (labels == c),
            lambda c: number == c,
            lambda c: labels == c,
        )
    ]
    assert counts[1][4] > 0 == counts[2][4] == counts[1][5]
    assert float(metric.result()) == pytest.approx(expected(*counts)[name], rel=1e-6)
    metric.reset_state()
    assert float(metric.result()) == 0


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("num_labels", [1, 3])
@pytest.mark.parametrize("by_label", [True, False])
def test_of_labels_by_themselves(name, num_labels, by_label):
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 2, (20, num_labels)), rng.random((20, num_labels))
    weights = rng.integers(0, 2, (20, num_labels) if by_label else (20,)).astype("float32")
    metric = KINDS[name](num_labels, multi_label=True)
    metric.update_state(labels, predictions, weights)
    weights = weights if by_label else weights[:, None]
    counts = [(weights * one).sum(axis=0) for one in (labels * (predictions > 0.5), predictions > 0.5, labels)]
    assert float(metric.result()) == pytest.approx(expected(*counts)[name], rel=1e-6)


def test_without_weights_all_count():
    metric = metrics.Recall(2)
    metric.update_state([0, 0, 0, 1], [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]])
    assert float(metric.result()) == pytest.approx((2 / 3 + 1) / 2)


@pytest.mark.parametrize("name", KINDS)
def test_config_round_trip(name):
    metric = KINDS[name](3, multi_label=True, name="score")
    found = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert type(found) is type(metric)
    assert found.get_config() == metric.get_config()
    assert (found.num_classes, found.multi_label, found.name) == (3, True, "score")


@pytest.mark.parametrize("num_classes", [0, -1, 2.0, None, True])
def test_num_classes_is_a_positive_integer(num_classes):
    with pytest.raises(ValueError, match="`num_classes` should be an integer of at least 1"):
        metrics.F1(num_classes)
