"""The mean absolute error in ranks."""

import keras
import numpy as np
import pytest

from keras_mtl import metrics


@pytest.mark.parametrize("column", [False, True])
def test_is_the_distance_of_the_median(column):
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 5, 30), rng.dirichlet(np.ones(5), 30)
    weights = rng.integers(0, 2, 30).astype("float32")
    median = [next(k for k in range(5) if row[: k + 1].sum() >= 0.5) for row in predictions]
    error = np.abs(np.array(median) - labels)
    metric, shape = metrics.RankError(), (30, 1) if column else (30,)
    metric.update_state(labels.reshape(shape), predictions, weights.reshape(shape))
    assert float(metric.result()) == pytest.approx(error[weights == 1].mean(), rel=1e-6)
    metric.reset_state()
    metric.update_state(labels.reshape(shape), predictions)
    assert float(metric.result()) == pytest.approx(error.mean(), rel=1e-6)


def test_config_round_trip():
    found = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metrics.RankError(name="ranks")))
    assert type(found) is metrics.RankError
    assert found.name == "ranks"
