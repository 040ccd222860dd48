"""Beside fine-tuning, the look-ahead is that of the stage's weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl.callbacks import TaskAffinity
from keras_mtl.transfer import FineTuning, Stage, freeze
from tests.models import two_task_data, two_task_model

X, Y = two_task_data(60)


def compiled():
    model = two_task_model()
    model.compile(keras.optimizers.SGD(0.1))
    return model


class Means(keras.callbacks.Callback):
    """The mean affinities of each epoch."""

    def __init__(self, affinity):
        super().__init__()
        self.affinity, self.rows, self.before = affinity, [], (0, 0)

    def on_epoch_end(self, epoch, logs=None):
        state = self.affinity.get_state()
        now = np.array(state["sums"]), np.array(state["counts"])
        sums, counts = (new - old for new, old in zip(now, self.before, strict=True))
        self.rows.append(sums / counts if counts.any() else None)
        self.before = now


def fit(model, epochs, *before, after=(), **arguments):
    affinity = TaskAffinity(every=1)
    means = Means(affinity)
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(20)
    model.fit(data, epochs=epochs, verbose=0, callbacks=[*before, affinity, *after, means], **arguments)
    return means.rows


def staged(order, stages, model=None, **arguments):
    callback = FineTuning(stages)
    where = {"after": [callback]} if order == "before it" else {}
    return fit(model or compiled(), len(stages), *([] if where else [callback]), **where, **arguments)


@pytest.mark.parametrize("order", ["before it", pytest.param("after it", marks=pytest.mark.slow)])
def test_stages_are_measured_as_models_that_were_frozen_from_the_start(order):
    frozen = two_task_model()
    frozen.get_layer("trunk").trainable = False
    frozen.compile(keras.optimizers.SGD(0.1))
    np.testing.assert_allclose(staged(order, [Stage(1, "trunk_2")]), fit(frozen, 1), rtol=1e-5)

    found = staged(order, [Stage(1, "*"), Stage(1, "trunk_2"), Stage(1)])
    by_hand = compiled()
    expected = fit(by_hand, 1)
    freeze(by_hand, "trunk")
    expected += fit(by_hand, 1)
    np.testing.assert_allclose(found[:2], expected, rtol=1e-4)
    assert found[2] is None
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_a_first_stage_of_heads_alone_is_not_measured():
    found = staged("before it", [Stage(1), Stage(1, "*")])
    assert found[0] is None
    assert np.isfinite(found[1]).all()


def test_a_model_that_was_saved_with_its_backbone_frozen(tmp_path):
    model, stages = compiled(), [Stage(1), Stage(1, "*")]
    with pytest.warns(UserWarning, match="stage 2 is never reached"):
        model.fit(X, Y, shuffle=False, verbose=0, callbacks=[FineTuning(stages)])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert np.isfinite(staged("before it", stages, loaded, initial_epoch=1)[0]).all()


def test_nothing_to_measure_is_said():
    model = compiled()
    freeze(model)
    with pytest.warns(UserWarning, match="has measured nothing"):
        fit(model, 1)
