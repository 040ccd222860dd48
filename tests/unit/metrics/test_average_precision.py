"""The mean average precision, against the sum over all thresholds by numpy."""

import keras
import numpy as np
import pytest

from keras_mtl import metrics


def average_precision(labels, scores, weights):
    """Of one class: the precision at each score times what the recall gains there."""
    total, before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        above = scores >= threshold
        right = (weights * labels * above).sum()
        total += (right - before) * right / (weights * above).sum() if right else 0.0
        before = right
    return total / (weights * labels).sum()


def example(num_classes=3):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (40, num_classes))
    scores = (rng.integers(0, 20, (40, num_classes)) + 0.5) / 20  # with ties, and each in a bin of its own
    return rng, labels, scores


@pytest.mark.parametrize("by_label", [True, False])
def test_of_labels_by_themselves(by_label):
    rng, labels, scores = example()
    labels[:, 1] = 0  # left out
    weights = rng.integers(0, 2, (40, 3) if by_label else 40).astype("float32")
    metric = metrics.AveragePrecision(3, multi_label=True)
    for rows in (slice(0, 7), slice(7, 40)):
        metric.update_state(labels[rows], scores[rows], weights[rows])
    weights = weights if by_label else np.stack([weights] * 3, axis=1)
    expected = [average_precision(labels[:, i], scores[:, i], weights[:, i]) for i in (0, 2)]
    assert float(metric.result()) == pytest.approx(np.mean(expected), rel=1e-5)
    metric.reset_state()
    assert float(metric.result()) == 0


@pytest.mark.parametrize("places", [(), (5,)])
def test_of_classes_that_exclude_each_other(places):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (40, *places))
    scores = (rng.integers(0, 20, (40, *places, 4)) + 0.5) / 20
    weights = rng.integers(0, 2, (40, *places)).astype("float32")
    metric = metrics.AveragePrecision(4)
    metric.update_state(labels, scores, weights)
    flat = labels.reshape(-1), scores.reshape(-1, 4), weights.reshape(-1)
    expected = [average_precision(flat[0] == c, flat[1][:, c], flat[2]) for c in range(3)]
    assert float(metric.result()) == pytest.approx(np.mean(expected), rel=1e-5)


def test_the_ends_of_the_range_have_bins():
    metric = metrics.AveragePrecision(1, multi_label=True, num_thresholds=4)
    metric.update_state([[1], [0], [1]], [[1.0], [0.0], [0.0]])
    assert float(metric.result()) == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_config_round_trip():
    metric = metrics.AveragePrecision(3, multi_label=True, num_thresholds=50, name="score")
    found = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert type(found) is metrics.AveragePrecision
    assert found.get_config() == metric.get_config()
    assert (found.num_classes, found.multi_label, found.num_thresholds) == (3, True, 50)


@pytest.mark.parametrize("parameter", ["num_classes", "num_thresholds"])
def test_arguments_are_checked(parameter):
    with pytest.raises(ValueError, match=f"`{parameter}` should be an integer of at least 1. Received: {parameter}=0"):
        metrics.AveragePrecision(**{"num_classes": 3, parameter: 0})
