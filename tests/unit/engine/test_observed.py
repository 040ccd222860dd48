"""An observer sees the batch that is trained on next, once, and changes nothing."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models import two_task_data, two_task_model


class Watching(keras.callbacks.Callback):
    """Observes in some steps, and notes what `fit` trains on."""

    def __init__(self, steps):
        super().__init__()
        self.steps, self.seen = steps, []

    def on_train_batch_begin(self, batch, logs=None):
        if batch in self.steps:
            self.model.observe_next_batch(lambda data: self.seen.append((batch, data)))


def data(size=50, weights=False):
    x, y = two_task_data(size)
    parts = (x, {"a": y["a"], "b": y["b"]})
    return tf.data.Dataset.from_tensor_slices((*parts, np.ones(size, "float32")) if weights else parts).batch(20)


@pytest.mark.parametrize("steps_per_execution, expected", [(1, [0, 2]), (2, [0, 2])])
@pytest.mark.parametrize("weights", [False, True])
def test_it_sees_the_batch_of_its_step(steps_per_execution, expected, weights):
    model = two_task_model()
    model.compile("sgd", steps_per_execution=steps_per_execution)
    callback = Watching([0, 2])
    model.fit(data(weights=weights), verbose=0, callbacks=[callback])
    batches = list(data())
    assert [step for step, _ in callback.seen] == expected
    for step, seen in callback.seen:
        np.testing.assert_array_equal(seen[0], batches[step][0])
        np.testing.assert_array_equal(seen[1]["b"], batches[step][1]["b"])
        assert len(seen) == 2 + weights
    assert model.optimizer.iterations.numpy() == 3


def test_the_graph_is_not_traced_again():
    traces = []
    model = two_task_model()
    step = model.train_step

    def counted(batch):
        traces.append(1)
        return step(batch)

    model.train_step = counted
    model.compile("sgd")
    model.fit(data(60), epochs=2, verbose=0)
    before = len(traces)
    model.fit(data(60), epochs=2, verbose=0, callbacks=[Watching([0, 1])])
    assert len(traces) == before


def test_arrays_generators_and_several_observers():
    x, y = two_task_data(40)
    model = two_task_model()
    model.compile("sgd")
    for source in ((x, y), ((item for item in [(x[:20], {k: v[:20] for k, v in y.items()})]),)):
        first, second = Watching([0]), Watching([0])
        steps = {} if len(source) == 2 else {"steps_per_epoch": 1}
        model.fit(*source, verbose=0, callbacks=[first, second], batch_size=20 if len(source) == 2 else None, **steps)
        assert len(first.seen) == len(second.seen) == 1


def test_an_observer_of_a_fit_that_was_broken_off_is_forgotten():
    x, y = two_task_data(40)
    model = two_task_model()
    model.compile("sgd")
    seen = []
    model.observe_next_batch(seen.append)
    model.fit(x, y, verbose=0)
    assert seen == []


def test_training_on_one_batch_is_not_observed():
    x, y = two_task_data(20)
    model = two_task_model()
    model.compile("sgd")
    seen = []
    model.observe_next_batch(seen.append)
    model.train_on_batch(x, y)
    assert seen == []
