"""A metric over labels instead of examples."""

import keras
import numpy as np
import pytest

from keras_mtl import metrics


def test_each_label_counts_by_itself():
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 2, (9, 4)), rng.random((9, 4))
    weights = rng.integers(0, 2, (9, 4)).astype("float32")
    metric = metrics.LabelwiseMetric(keras.metrics.BinaryAccuracy(name="accuracy"))
    assert metric.name == "accuracy"
    for rows in (slice(0, 2), slice(2, 9)):
        metric.update_state(labels[rows], predictions[rows], weights[rows])
    right = (predictions > 0.5) == labels
    assert float(metric.result()) == pytest.approx(right[weights == 1].mean())
    metric.reset_state()
    metric.update_state(labels, predictions)
    assert float(metric.result()) == pytest.approx(right.mean())
    metric.reset_state()
    metric.update_state(labels, predictions, np.arange(9) < 3)
    assert float(metric.result()) == pytest.approx(right[:3].mean())


def test_config_round_trip():
    metric = metrics.LabelwiseMetric(keras.metrics.BinaryAccuracy(threshold=0.25), name="right")
    found = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert type(found) is metrics.LabelwiseMetric
    assert found.get_config() == metric.get_config()
    assert (found.name, found.metric.get_config()["threshold"]) == ("right", 0.25)
    assert len(found.variables) == 2


@pytest.mark.parametrize("metric", [None, "accuracy", keras.metrics.binary_accuracy])
def test_what_is_no_metric_is_refused(metric):
    with pytest.raises(ValueError, match="`metric` should be a `keras.metrics.Metric`. Received: metric="):
        metrics.LabelwiseMetric(metric)
