"""Every sharing architecture with every family of balancers: one trace, saved and loaded, exported, on two replicas."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import backbones, balancers, build_model, export, sharing, tasks
from tests.models import ONE_OF_EACH, frozen_normalization, largest_difference

# Nothing of one task leads to another's output there.
SHARES_NOTHING = {"independent", "soft"}
ARCHITECTURES = sharing.names()


def by_gradients(balancer):
    cls = balancers.classes()[balancer]
    return issubclass(cls, (balancers.DirectionBalancer, balancers.GradientNormBalancer))


def matrix(by_default):
    """The default tests take one balancer for each of some architectures, the slow ones the rest."""
    for architecture in ARCHITECTURES:
        quick = "uncertainty" if architecture in SHARES_NOTHING else "pcgrad"
        for balancer in ONE_OF_EACH:
            if architecture in SHARES_NOTHING and by_gradients(balancer):
                continue
            marks = () if balancer == quick and architecture in by_default else pytest.mark.slow
            yield pytest.param(architecture, balancer, marks=marks)


def make(architecture, balancer, optimizer=None, frozen=False):
    keras.utils.set_random_seed(0)
    kinds = [
        tasks.BinaryClassification("click"),
        tasks.BinaryClassification("buy", hidden_units=4),
        tasks.Classification("kind", 3),
    ]
    model = build_model(backbones.Convolutional((8, 8, 1), filters=(4, 6)), kinds, architecture)
    if frozen:
        frozen_normalization(model)
    keras.utils.set_random_seed(1)  # of the balancer's own numbers
    model.compile(optimizer or keras.optimizers.Adam(0.01), balancer=balancer)
    return model


def data(size=72, batch_size=8, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (size, 8, 8, 1)).astype("uint8")
    bright = images.mean(axis=(1, 2, 3)) > 127
    labels = {"click": bright, "buy": bright & (rng.random(size) < 0.5), "kind": rng.integers(0, 3, size)}
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(batch_size)


def second_stream(balancer):
    return {"balancing_data": data(16, seed=1)} if balancer == "auto_lambda" else {}


@pytest.mark.parametrize(("architecture", "balancer"), list(matrix(["cross_stitch", "hard", "mmoe", "soft"])))
def test_two_epochs_in_one_trace_then_saved_and_exported(architecture, balancer, tmp_path):
    model, traces = make(architecture, balancer), []
    step = model.train_step

    def counted(batch):
        traces.append(1)
        return step(batch)

    model.train_step = counted
    history = model.fit(data(70), epochs=2, verbose=0, **second_stream(balancer)).history  # the last batch is smaller
    assert len(traces) == 1
    assert np.isfinite(history["loss"]).all()

    images = np.concatenate([batch for batch, _ in data(16)])
    expected = model.predict(images, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert largest_difference(model, loaded) == 0
    for task, values in loaded.predict(images, verbose=0).items():
        np.testing.assert_allclose(values, expected[task], atol=1e-6)

    export.saved_model(model, tmp_path / "serving")
    served = tf.saved_model.load(tmp_path / "serving")
    inputs = tf.constant(images, tf.float32)
    for task, values in expected.items():
        np.testing.assert_allclose(served.signatures["serving_default"](image=inputs)[task], values, atol=1e-5)
        np.testing.assert_allclose(served.signatures[task](image=inputs)[task], values, atol=1e-5)


# By default one: the engine does the same for all.
@pytest.mark.parametrize(("architecture", "balancer"), list(matrix(["hard"])))
def test_two_replicas_are_one(architecture, balancer, two_replicas):
    models = []
    for scope in (two_replicas.scope(), tf.distribute.get_strategy().scope()):
        with scope:
            model = make(architecture, balancer, keras.optimizers.SGD(0.05), frozen=True)
        model.fit(data(), shuffle=False, verbose=0, **second_stream(balancer))
        models.append(model)
    assert models[0].optimizer.iterations.numpy() == 9
    graphs = [keras.Model(model.input, model.output) for model in models]
    assert largest_difference(*graphs) <= 1e-5
    # FAMO divides the difference of two nearly equal losses by its size: a last digit counts for more there.
    assert largest_difference(*models) <= 1e-4


@pytest.mark.parametrize("architecture", sorted(SHARES_NOTHING))
@pytest.mark.parametrize("balancer", ["pcgrad", "gradnorm"])
def test_a_balancer_of_gradients_is_refused_where_nothing_is_shared(architecture, balancer):
    with pytest.raises(ValueError, match="settles a conflict over shared parameters"):
        make(architecture, balancer)


@pytest.mark.parametrize("architecture", [pytest.param(name, marks=pytest.mark.slow) for name in ARCHITECTURES])
@pytest.mark.parametrize("policy", ["mixed_float16", "xla"])
def test_mixed_precision_and_xla(architecture, policy):
    before = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("float32" if policy == "xla" else policy)
        model = make(architecture, "equal")
        model.compile(keras.optimizers.Adam(0.01), balancer="equal", jit_compile=policy == "xla")
    finally:
        keras.config.set_dtype_policy(before)
    history = model.fit(data(), epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert all(out.dtype == "float32" for out in model.output.values())


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_with_an_architecture_of_keras_applications(architecture):
    kinds = [tasks.BinaryClassification("click"), tasks.BinaryClassification("buy")]
    model = build_model("MobileNetV3Small", kinds, architecture, input_shape=(64, 64, 3))
    model.compile("adam")
    images = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3)).astype("float32")
    model.fit(images, {"click": np.array([0, 1, 0, 1]), "buy": np.array([0, 0, 0, 1])}, verbose=0)
    assert model.predict(images, verbose=0)["buy"].shape == (4, 1)
