"""Tasks that decode a pyramid of maps, under each architecture that hands on levels, and those that cannot."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import backbones, build_model, sharing, tasks

HAND_ON = ["hard", "independent", "soft", "cross_stitch", "nddr", "mtan"]


def backbone(input_shape=(16, 12, 1), filters=(4, 5, 6)):
    return backbones.Convolutional(input_shape, filters=filters)


def kinds(decoder="pyramid"):
    return [
        tasks.Segmentation("mask", 3, decoder=decoder, hidden_units=4),
        tasks.DenseRegression("depth", decoder=decoder),
        tasks.BinaryClassification("is_cat"),
    ]


def data(size=(16, 12), count=4):
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 255, (count, *size, 1)).astype("float32")
    labels = {
        "mask": rng.integers(0, 3, (count, *size)),
        "depth": rng.random((count, *size)).astype("float32"),
        "is_cat": np.arange(count) % 2,
    }
    return images, labels


@pytest.mark.parametrize(
    "architecture", ["hard", *(pytest.param(each, marks=pytest.mark.slow) for each in HAND_ON[1:])]
)
def test_decodes_all_levels_in_the_size_of_the_image(architecture, tmp_path):
    model = build_model(backbone(), kinds(), architecture)
    shapes = {name: tensor.shape for name, tensor in model.output.items()}
    assert shapes == {"mask": (None, 16, 12, 3), "depth": (None, 16, 12, 1), "is_cat": (None, 1)}
    assert len(model.get_layer("mask_levels").input) == 3
    images, labels = data()
    model.compile("adam")
    assert np.isfinite(model.fit(images, labels, verbose=0).history["loss"]).all()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert [task.get_config() for task in loaded.tasks] == [task.get_config() for task in model.tasks]
    np.testing.assert_allclose(loaded.predict(images)["mask"], model.predict(images)["mask"], atol=1e-6)


def test_low_levels_receive_gradients_past_the_high_ones():
    model = build_model(backbone(), [tasks.Segmentation("mask", 3, decoder="pyramid")])
    for index in (1, 2):  # nothing comes through the higher levels
        weights = model.get_layer(f"conv_{index}").get_weights()
        model.get_layer(f"conv_{index}").set_weights([np.zeros_like(weights[0]), np.full_like(weights[1], -1)])
    images, labels = data()
    low = model.get_layer("conv_0").trainable_variables
    with tf.GradientTape() as tape:
        loss = model.tasks[0].loss(labels["mask"], model(images)["mask"])
    assert np.abs(tape.gradient(loss, [variable.value for variable in low])[0]).max() > 0


def test_the_last_level_alone_by_default():
    model = build_model(backbone(), kinds("last"))
    assert "mask_levels" not in {layer.name for layer in model.layers}
    assert model.get_layer("mask_hidden_0").input.shape == (None, 4, 3, 6)


def test_levels_are_shared_parameters():
    model = build_model(backbone(), kinds())
    shared = {variable.path for variable in model.partition.shared}
    assert {f"conv_{index}/kernel" for index in range(3)} <= shared
    assert not any("mask" in path or "depth" in path for path in shared)
    images, labels = data()
    model.compile("adam", balancer="pcgrad")
    assert np.isfinite(model.fit(images, labels, verbose=0).history["loss"]).all()


def test_an_architecture_of_keras_applications():
    found = [tasks.Segmentation("mask", 3, decoder="pyramid"), tasks.BinaryClassification("is_cat")]
    model = build_model("MobileNetV3Small", found, input_shape=(64, 96, 3))
    assert model.output["mask"].shape == (None, 64, 96, 3)
    strides = [
        64 // tensor.shape[1]
        for tensor in sharing.levels(backbones.Image("MobileNetV3Small", (64, 96, 3)).build()).values()
    ]
    assert strides == [2, 4, 8, 16, 32]


def test_maps_before_a_pooled_output():
    inputs = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="conv")(inputs)
    pooled = keras.Model(inputs, keras.layers.GlobalAveragePooling2D(name="pool")(x))
    model = build_model(pooled, [tasks.Segmentation("mask", 3), tasks.BinaryClassification("is_cat")])
    assert model.get_layer("mask_logits").input.shape == (None, 4, 4, 4)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ("cascade", "`cascade` goes on from the last level"),
        ("cooperative", "`cooperative` goes on from the last level"),
        ("learning_to_branch", "with decoder='pyramid' reads the maps of several levels"),
        ("mmoe", r"reads features \(batch, height, width, channels\)"),
    ],
)
def test_architectures_that_hand_on_one_level_say_so(architecture, message):
    found = [tasks.Segmentation("mask", 3, decoder="pyramid"), tasks.Segmentation("part", 2, decoder="pyramid")]
    with pytest.raises(ValueError, match=message):
        build_model(backbone(), found, architecture)


def test_one_level_is_refused():
    with pytest.raises(ValueError, match="Received: one map of shape .* Give the backbone an `input_shape`"):
        build_model("MobileNetV3Small", kinds())
    with pytest.raises(ValueError, match="`decoder` should be one of"):
        tasks.Segmentation("mask", 3, decoder="unet")
