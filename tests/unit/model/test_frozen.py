"""What keeps a number for each weight is not trained with other weights than those that it knows."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import balancers
from keras_mtl.transfer import freeze, unfreeze
from tests.models import two_task_data, two_task_model

X, Y = two_task_data(40)


def compiled(balancer="equal", **more):
    model = two_task_model()
    model.compile(keras.optimizers.Adam(0.01, **more), balancer=balancer)
    return model


def by_hand(model):
    model.get_layer("trunk").trainable = False


@pytest.mark.parametrize("way", [freeze, by_hand])
@pytest.mark.parametrize("more", [{"ema_overwrite_frequency": 2}, pytest.param({}, marks=pytest.mark.slow)], ids=str)
def test_averages_of_the_weights(way, more):
    model = compiled(use_ema=True, **more)
    model.fit(X, Y, verbose=0)
    way(model)
    before = model.get_weights()
    for train in (model.fit, model.train_on_batch):
        arguments = {"verbose": 0} if train == model.fit else {}
        with pytest.raises(ValueError, match="With use_ema=True.*such as 'trunk.*Call `compile` again"):
            train(X, Y, **arguments)
    for value, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(value, now)
    model.compile(keras.optimizers.Adam(0.01, use_ema=True, **more))
    model.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    unfreeze(model)
    with pytest.raises(ValueError, match="With use_ema=True"):
        model.fit(X, Y, verbose=0)


def test_averages_of_a_model_that_was_saved_frozen(tmp_path):
    model = compiled(use_ema=True)
    model.fit(X, Y, verbose=0)
    by_hand(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="With use_ema=True"):
        loaded.fit(X, Y, verbose=0)


@pytest.mark.parametrize("kind", [balancers.MoCo, balancers.DBMTL, balancers.ExcessMTL])
@pytest.mark.parametrize("way", [freeze, by_hand])
def test_balancers_with_a_number_for_each_shared_weight(kind, way):
    model = compiled(kind(gradients="shared"))
    way(model)
    with pytest.raises(ValueError, match="has a number for each shared weight.*with a new balancer"):
        model.fit(X, Y, verbose=0)
    if way is by_hand:
        model.compile("adam", balancer=kind(gradients="shared"))
        assert np.isfinite(model.fit(X, Y, verbose=0).history["loss"]).all()


def test_of_what_is_not_shared_they_keep_nothing():
    model = compiled("moco")
    model.get_layer("a").trainable = False
    before = model.get_layer("a").get_weights()[0]
    model.make_train_function(force=True)
    model.fit(tf.data.Dataset.from_tensor_slices((X, Y)).batch(20), verbose=0)
    np.testing.assert_array_equal(model.get_layer("a").get_weights()[0], before)
