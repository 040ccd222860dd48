"""Several replicas do what one does: in mixed precision, summing gradients, clipping, missing labels."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import balancers
from tests.models import (
    ONE_OF_EACH,
    largest_difference,
    others_slow,
    second_stream,
    three_task_data,
    three_task_model,
    two_task_data,
)

FAMILIES = others_slow(ONE_OF_EACH, by_default=("upgrad",))


def uneven_data(size=390, batch_size=20):
    """Most labels are missing, unevenly by replica, some tasks have none in some batches, and the last is uneven."""
    x, y = two_task_data(size)
    y["c"] = (x[:, 1] - 2 * x[:, 0]).astype("float32")
    place = np.arange(size) % batch_size
    batch = np.arange(size) // batch_size
    y["a"] = np.where((place < 12) & (place % 3 > 0), y["a"], -1)
    y["b"] = np.where((place == 13) & (batch % 4 > 0), y["b"], np.nan).astype("float32")
    y["c"] = np.where((place > 4) & (batch % 3 > 0), y["c"], np.nan).astype("float32")
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(batch_size)


def trained(scope, balancer, make_optimizer, data, policy="float32", **arguments):
    config = balancer if isinstance(balancer, str) else keras.saving.serialize_keras_object(balancer)
    with scope:
        model = three_task_model(policy=policy, levels=getattr(balancer, "gradients", "shared") == "shared")
        keras.utils.set_random_seed(1)
        model.compile(make_optimizer(), balancer=config, **arguments)
    model.fit(data, shuffle=False, verbose=0, **second_stream(balancer))
    return model


def both(two_replicas, *arguments, **more):
    scopes = (two_replicas.scope(), tf.distribute.get_strategy().scope())
    return [trained(scope, *arguments, **more) for scope in scopes]


@pytest.mark.parametrize("balancer", FAMILIES, ids=str)
def test_missing_labels_spread_unevenly(balancer, two_replicas):
    models = both(two_replicas, balancer, lambda: keras.optimizers.Adam(0.01), uneven_data())
    assert largest_difference(*models) <= 1e-5
    data = uneven_data(97)
    results = [model.evaluate(data, verbose=0, return_dict=True) for model in models]
    assert results[0] == pytest.approx(results[1], abs=1e-6)
    predictions = [model.predict(data, verbose=0) for model in models]
    for task, values in predictions[1].items():
        np.testing.assert_allclose(predictions[0][task], values, atol=1e-6)


@pytest.mark.parametrize(
    "balancer",
    others_slow(
        [
            *ONE_OF_EACH,
            balancers.UPGrad(update_every=3),
            balancers.UPGrad(gradients="features", update_every=3),
        ],
        by_default=("upgrad",),
    ),
    ids=str,
)
@pytest.mark.parametrize("steps_per_execution", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_sums_of_gradients(balancer, steps_per_execution, two_replicas):
    models = both(
        two_replicas,
        balancer,
        lambda: keras.optimizers.AdamW(0.01, gradient_accumulation_steps=4, clipnorm=0.1, use_ema=True),
        uneven_data(),
        steps_per_execution=steps_per_execution,
    )
    assert models[0].optimizer.iterations.numpy() == 5
    assert largest_difference(*models) <= 1e-5


@pytest.mark.slow
def test_averages_that_overwrite_the_weights(two_replicas):
    def optimizer():
        return keras.optimizers.SGD(0.05, gradient_accumulation_steps=2, use_ema=True, ema_overwrite_frequency=3)

    models = both(two_replicas, "equal", optimizer, three_task_data(200))
    assert largest_difference(*models) <= 1e-6
    plain = trained(
        tf.distribute.get_strategy().scope(),
        "equal",
        lambda: keras.optimizers.SGD(0.05, gradient_accumulation_steps=2),
        three_task_data(200),
    )
    assert largest_difference(models[1], plain) > 1e-3
    with two_replicas.scope():
        model = three_task_model()
        with pytest.raises(ValueError, match="ema_overwrite_frequency=3. Leave it out"):
            model.compile(keras.optimizers.SGD(0.05, use_ema=True, ema_overwrite_frequency=3))


class Apart(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return keras.ops.stop_gradient(keras.ops.max(y_pred, axis=-1))


@pytest.mark.parametrize("option", [{"clipvalue": 1.0}, {"gradient_accumulation_steps": 2}], ids=str)
def test_without_any_gradient_it_is_an_error(option, one_replica):
    with one_replica.scope():
        model = three_task_model()
        model.compile(keras.optimizers.SGD(0.1, **option), loss=dict.fromkeys("abc", Apart()))
    with pytest.raises(ValueError, match="A loss should depend on the trainable variables"):
        model.fit(three_task_data(20), verbose=0)


CLIPS = {"clipnorm": 0.05, "global_clipnorm": 0.05, "clipvalue": 0.01}


@pytest.mark.parametrize("clip", others_slow(CLIPS, by_default=("global_clipnorm",)))
def test_clipping_is_of_the_sum(clip, two_replicas):
    models = both(
        two_replicas,
        "equal",
        lambda: keras.optimizers.SGD(0.1, momentum=0.9, **{clip: CLIPS[clip]}),
        three_task_data(200),
    )
    assert largest_difference(*models) <= 1e-6
    alone = tf.distribute.get_strategy().scope()
    free = trained(alone, "equal", lambda: keras.optimizers.SGD(0.1, momentum=0.9), three_task_data(200))
    assert largest_difference(models[1], free) > 1e-3  # the clip did something


@pytest.mark.parametrize("balancer", FAMILIES, ids=str)
@pytest.mark.parametrize("policy", ["mixed_float16", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)])
@pytest.mark.parametrize("sums", [4, pytest.param(None, marks=pytest.mark.slow)])
def test_mixed_precision(balancer, policy, sums, two_replicas):
    def optimizer():
        inner = keras.optimizers.SGD(0.05, momentum=0.9, gradient_accumulation_steps=sums)
        return keras.optimizers.LossScaleOptimizer(inner, initial_scale=1024.0) if policy == "mixed_float16" else inner

    models = both(two_replicas, balancer, optimizer, three_task_data(200), policy=policy)
    # In half precision, a matrix product over half of the rows is not half of one over all. As a share of the way that
    # the weights have gone:
    start = three_task_model(policy=policy, levels=getattr(balancer, "gradients", "shared") == "shared")
    rows = zip(models[1].layers, start.layers, strict=True)
    apart = [np.abs(a - b).max() for row in rows for a, b in zip(*(each.get_weights() for each in row), strict=True)]
    assert largest_difference(*models) <= (0.1 if policy == "mixed_bfloat16" else 0.02) * max(apart)
    if policy == "mixed_float16":
        states = [(m.optimizer.dynamic_scale.numpy(), m.optimizer.iterations.numpy()) for m in models]
        assert states[0] == states[1] == (1024.0, 2 if sums else 10)


@pytest.mark.parametrize(
    ("sums", "clip"),
    [
        (2, {}),
        (None, {"clipvalue": 0.01}),
        *(pytest.param(sums, clip, marks=pytest.mark.slow) for sums, clip in ((None, {}), (2, {"clipvalue": 0.01}))),
    ],
)
def test_an_overflow_on_one_replica_leaves_all_out(sums, clip, two_replicas):
    """Of the second replica: Keras asks the first. What was clipped would look finite."""
    check_overflow(two_replicas, sums, clip)


@pytest.mark.parametrize("clip", others_slow(CLIPS, by_default=("clipvalue",)))
def test_an_overflow_that_one_replica_clips_is_one(clip, one_replica):
    check_overflow(one_replica, None, {clip: CLIPS[clip]})


def check_overflow(strategy, sums, clip):
    x, y = two_task_data(40)
    y["c"] = np.ones(40, "float32")
    y["b"][15] = 3e7  # in the first batch, on the second replica: times the scale it overflows in float16
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(20)

    def optimizer():
        inner = keras.optimizers.SGD(1e-6, gradient_accumulation_steps=sums, **clip)
        return keras.optimizers.LossScaleOptimizer(inner, initial_scale=1e32)

    models = both(strategy, "equal", optimizer, data.repeat(4), policy="mixed_float16")
    for model in models:
        assert all(np.isfinite(weight).all() for weight in model.get_weights())
    states = [
        (m.optimizer.dynamic_scale.numpy(), m.optimizer.iterations.numpy(), m.optimizer.step_counter.numpy())
        for m in models
    ]
    assert states[0] == states[1]
    assert states[0][0] < 1e32
    assert states[0][1] < 8


def test_weights_that_serve_for_several_steps_are_worked_out_when_due(two_replicas):
    with two_replicas.scope():
        model = three_task_model()
        model.compile(keras.optimizers.SGD(0.0), balancer=balancers.UPGrad(update_every=4))
    data = three_task_data(160)
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(model.gradient_balancer.last_weights(np.ones(3, bool)).numpy().tolist())

    model.fit(data, shuffle=False, verbose=0, callbacks=[Watch()])
    assert seen[0] == seen[1] == seen[2] == seen[3] != seen[4] == seen[5] == seen[6] == seen[7]


@pytest.fixture(scope="session")
def one_replica():
    return tf.distribute.MirroredStrategy(["CPU:0"])


@pytest.mark.parametrize("policy", [pytest.param("float32", marks=pytest.mark.slow), "mixed_float16"])
@pytest.mark.parametrize("clip", others_slow(CLIPS, by_default=("clipnorm",)))
def test_a_strategy_of_one_replica_clips_too(clip, policy, one_replica):
    def optimizer():
        return keras.optimizers.SGD(0.1, momentum=0.9, **{clip: CLIPS[clip]})

    models = both(one_replica, "equal", optimizer, three_task_data(200), policy)
    assert largest_difference(*models) <= 1e-6
    with one_replica.scope():
        model = three_task_model()
        with pytest.raises(ValueError, match="Under a strategy.*ema_overwrite_frequency=3. Leave it out"):
            model.compile(keras.optimizers.SGD(0.05, use_ema=True, ema_overwrite_frequency=3))
    with tf.distribute.OneDeviceStrategy("CPU:0").scope():
        three_task_model().compile(keras.optimizers.SGD(0.05, use_ema=True, ema_overwrite_frequency=3))


def test_sums_of_gradients_in_a_loop_of_ones_own_are_refused(two_replicas):
    with two_replicas.scope():
        model = three_task_model()
        model.compile(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2))
    batch = next(iter(two_replicas.experimental_distribute_dataset(three_task_data(20))))
    with pytest.raises(ValueError, match="gradient_accumulation_steps': 2}, in a step of a loop of your own"):
        tf.function(lambda: two_replicas.run(model.train_step, args=(batch,)))()


@pytest.mark.slow
@pytest.mark.parametrize("which", ["missing_labels", "sums_of_gradients and 1-", "clipping"])
def test_four_replicas_too(which):
    """These tests again, in a process with four logical CPUs."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        __file__,
        "-m",
        "slow or not slow",
        "-k",
        f"({which}) and not four",
    ]
    environment = {**os.environ, "TEST_REPLICAS": "4"}
    environment.pop("PYTEST_XDIST_WORKER", None)
    found = subprocess.run(
        command, cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True, timeout=1500
    )
    assert found.returncode == 0, found.stdout[-3000:]
