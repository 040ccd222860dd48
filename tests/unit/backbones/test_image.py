import gc
import inspect
import urllib.error
import warnings

import keras
import numpy as np
import pytest

from keras_mtl.backbones import Image, ImagePreprocessing, architectures
from tests.models import others_slow

SMALL = ["MobileNetV2", "EfficientNetV2B0", "VGG16"]
SHAPE = (32, 32, 3)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (2, *SHAPE)).astype("uint8")


@pytest.fixture
def download(monkeypatch):
    """Has Keras find `result`, a path or an exception, where it would download weights."""

    def replace(result):
        def get_file(*args, **kwargs):
            if isinstance(result, Exception):
                raise result
            return str(result)

        monkeypatch.setattr(inspect.getmodule(keras.applications.MobileNetV2).file_utils, "get_file", get_file)

    return replace


def keras_model(architecture, **arguments):
    """The architecture as Keras has it, with every weight random, so that none can be mistaken for another."""
    arguments = {"include_top": False, "input_shape": SHAPE, "weights": None, **arguments}
    model = getattr(keras.applications, architecture)(**arguments)
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(0.5, 1.5, weight.shape).astype(weight.dtype) for weight in model.get_weights()])
    return model


def preprocess(architecture, images):
    """The images as that model wants them."""
    return inspect.getmodule(getattr(keras.applications, architecture)).preprocess_input(images.astype("float32"))


def imagenet_file(architecture, path):
    """A file as Keras publishes them, in which EfficientNet's normalization holds ImageNet's standard deviations."""
    model = getattr(keras.applications, architecture)(include_top=False, weights=None, input_shape=SHAPE)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            layer.set_weights([np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]), np.array(0)])
    model.save(path)
    return path


def assert_same_weights(first, second):
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def assert_close(features, expected):
    """Equal up to rounding; random weights make features so small that an absolute tolerance would hide anything."""
    features, expected = np.asarray(features), np.asarray(expected)
    assert np.abs(features - expected).max() < 1e-4 * np.abs(expected).max()


def test_architectures_are_all_functions_of_keras_applications():
    assert {"ConvNeXtTiny", "MobileNetV3Small", "NASNetLarge", "ResNet50", "Xception"} <= set(architectures())
    assert all(hasattr(keras.applications, name) for name in architectures())
    assert architectures() == sorted(architectures())


def test_architecture_is_found_in_any_case():
    assert Image("efficientnetv2b0").architecture == "EfficientNetV2B0"


def test_unknown_architecture():
    for name in ("ResNet5", 50, None):
        with pytest.raises(ValueError, match=r"Unknown architecture: .*VGG19"):
            Image(name)


@pytest.mark.parametrize("architecture", others_slow(SMALL, by_default=("MobileNetV2",)))
def test_takes_raw_images_and_survives_a_file(architecture, images, tmp_path):
    model = Image(architecture, SHAPE).build()
    assert model.input_shape == (None, *SHAPE)
    assert len(model.output_shape) == 4
    features = np.asarray(model(images))
    assert_close(model.predict(images, verbose=0), features)

    reference = keras_model(architecture)
    reference.set_weights(model.get_weights())
    assert_close(features, reference(preprocess(architecture, images)))

    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(restored(images), features)


def test_size_may_vary(images):
    model = Image("MobileNetV2").build()
    assert model.input_shape == (None, None, None, 3)
    assert model(images).shape == (2, 1, 1, 1280)
    assert model(np.zeros((1, 96, 64, 3))).shape == (1, 3, 2, 1280)


def test_layers_are_found_by_name():
    model = Image("MobileNetV2", SHAPE).build()
    assert keras.Model(model.input, model.get_layer("block_6_expand_relu").output).output_shape == (None, 4, 4, 192)
    assert model.get_layer("image_preprocessing").architecture == "MobileNetV2"
    assert not any(isinstance(layer, keras.layers.Lambda | keras.Model) for layer in model.layers)
    assert len({layer.name for layer in model.layers}) == len(model.layers)


@pytest.mark.parametrize("architecture", ["EfficientNetB0", "EfficientNetV2B0", "MobileNetV3Small"])
def test_architecture_that_preprocesses_itself_gets_no_more(architecture):
    layers = Image(architecture, SHAPE).build().layers
    assert not any(isinstance(layer, ImagePreprocessing) for layer in layers)
    assert any(isinstance(layer, keras.layers.Rescaling) for layer in layers)


def test_models_share_nothing():
    backbone = Image("MobileNetV2", SHAPE)
    first, second = backbone.build(), backbone.build()
    assert not {id(weight) for weight in first.weights} & {id(weight) for weight in second.weights}


def test_mixed_precision_leaves_input_and_preprocessing_in_float32(images):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = Image("MobileNetV2", SHAPE).build()
    finally:
        keras.config.set_dtype_policy(policy)
    assert model.input.dtype == "float32"
    assert model.get_layer("image_preprocessing").output.dtype == "float32"
    assert model.output.dtype == "float16"
    assert np.isfinite(model(images)).all()


def test_channels_first_is_refused():
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match=r"set_image_data_format\('channels_last'\)"):
            Image("MobileNetV2", SHAPE).build()
    finally:
        keras.config.set_image_data_format("channels_last")


@pytest.mark.parametrize("arguments", [{}, {"input_shape": (64, None, 3)}, {"weights": "imagenet"}])
def test_config_round_trip(arguments):
    backbone = Image("vgg16", **arguments)
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(backbone))
    assert restored.get_config() == backbone.get_config() == Image.from_config(backbone.get_config()).get_config()
    assert restored.get_config() == {"architecture": "VGG16", "input_shape": [None, None, 3], "weights": None} | {
        key: list(value) if key == "input_shape" else value for key, value in arguments.items()
    }


def test_input_shape_should_be_that_of_rgb_images():
    for shape in ((32, 32), (32, 32, 1), (32, 32, None), 32, "32x3"):
        with pytest.raises(ValueError, match=r"should be \(height, width, 3\).*repeat their channel"):
            Image("VGG16", shape)


def test_sizes_should_be_positive_integers():
    for size in (0, -1, 32.0, True, "32"):
        with pytest.raises(ValueError, match=r"`input_shape\[1\]` should be an integer of at least 1"):
            Image("VGG16", (32, size, 3))


@pytest.mark.parametrize(
    "architecture, shape, reason",
    [
        ("InceptionV3", (32, 32, 3), "at least 75x75"),
        ("VGG16", (31, 64, 3), "at least 32x32"),
        ("MobileNetV2", (64, None, 3), "NoneType"),
    ],
)
def test_refused_size(architecture, shape, reason):
    backbone = Image(architecture, shape)
    with pytest.raises(ValueError, match=f"{architecture} cannot be built .*{reason}.*(None, None, 3)") as caught:
        backbone.build()
    assert f"input_shape={shape}" in str(caught.value)
    assert caught.value.__cause__ is not None


def test_nasnet_needs_a_fixed_size():
    with pytest.raises(ValueError, match=r"one size only.*input_shape=\(224, 224, 3\)"):
        Image("NASNetMobile")


def test_nasnet_refused_size_is_not_told_to_vary():
    with pytest.raises(ValueError, match=r"at least 32x32.*resize the images to it\.$"):
        Image("NASNetMobile", (16, 16, 3)).build()


@pytest.mark.parametrize(
    "architecture, kind",
    [
        ("VGG16", "name.weights.h5"),
        ("MobileNetV2", "name.keras"),
        pytest.param("MobileNetV2", "name.weights.h5", marks=pytest.mark.slow),
        pytest.param("EfficientNetV2B0", "name.weights.h5", marks=pytest.mark.slow),
        pytest.param("EfficientNetV2B0", "name.h5", marks=pytest.mark.slow),
    ],
)
def test_weights_file(architecture, kind, tmp_path):
    written = keras_model(architecture)
    path = tmp_path / kind
    (written.save_weights if kind == "name.weights.h5" else written.save)(path)
    backbone = Image(architecture, SHAPE, weights=path)
    assert backbone.weights == str(path)
    assert_same_weights(backbone.build(), written)


def test_weights_file_with_the_top(tmp_path):
    written = keras_model("MobileNetV2", include_top=True, classes=5)
    written.save_weights(tmp_path / "name.weights.h5")
    model = Image("MobileNetV2", SHAPE, weights=tmp_path / "name.weights.h5").build()
    for loaded, value in zip(model.get_weights(), written.get_weights()[:-2], strict=True):
        np.testing.assert_array_equal(loaded, value)


def test_weights_file_written_by_the_backbone(tmp_path):
    written = Image("MobileNetV2", SHAPE).build()
    written.save_weights(tmp_path / "name.weights.h5")
    assert_same_weights(Image("MobileNetV2", weights=tmp_path / "name.weights.h5").build(), written)


@pytest.mark.parametrize("kind", ["name.weights.h5", "name.h5"])
def test_weights_file_of_another_architecture(kind, tmp_path):
    written = keras_model("MobileNet")
    path = tmp_path / kind
    (written.save_weights if kind == "name.weights.h5" else written.save)(path)
    backbone = Image("MobileNetV2", SHAPE, weights=path)
    with pytest.raises(ValueError, match=r"does not hold the weights of MobileNetV2.*include_top=False") as caught:
        backbone.build()
    assert str(path) in str(caught.value)
    assert caught.value.__cause__ is not None


def test_old_weights_file_with_the_top_is_refused(tmp_path):
    keras_model("MobileNetV2", include_top=True, classes=5).save(tmp_path / "name.h5")
    with pytest.raises(ValueError, match="does not hold the weights of MobileNetV2.*include_top=False"):
        Image("MobileNetV2", SHAPE, weights=tmp_path / "name.h5").build()


def test_file_that_holds_no_weights(tmp_path):
    for name in ("name.weights.h5", "name.keras", "name.h5", "name.txt"):
        (tmp_path / name).write_text("nothing")
        with pytest.raises(ValueError, match="does not hold the weights of MobileNetV2"):
            Image("MobileNetV2", SHAPE, weights=tmp_path / name).build()


def test_absent_weights_file(tmp_path):
    for absent in ("absent.weights.h5", "."):
        with pytest.raises(ValueError, match="there is no file at that path"):
            Image("MobileNetV2", weights=tmp_path / absent)


def test_weights_should_be_a_path():
    with pytest.raises(ValueError, match="Received: weights=3"):
        Image("MobileNetV2", weights=3)


@pytest.mark.parametrize("architecture", ["VGG16", pytest.param("EfficientNetB0", marks=pytest.mark.slow)])
def test_imagenet_by_name_and_by_file_are_what_keras_builds(architecture, images, download, tmp_path):
    path = imagenet_file(architecture, tmp_path / "imagenet.h5")
    download(path)
    published = getattr(keras.applications, architecture)(include_top=False, weights="imagenet", input_shape=SHAPE)
    expected = published(preprocess(architecture, images))

    by_name = Image(architecture, SHAPE, weights="imagenet").build()
    by_file = Image(architecture, SHAPE, weights=path).build()
    from_random = Image(architecture, SHAPE).build()
    by_name.save_weights(tmp_path / "again.weights.h5")
    from_random.load_weights(tmp_path / "again.weights.h5")
    for model in (by_name, by_file, from_random):
        assert_close(model(images), expected)


def test_warning_of_keras_about_the_size_of_imagenet_reaches_the_user(download, tmp_path):
    download(imagenet_file("MobileNetV2", tmp_path / "imagenet.h5"))
    with pytest.warns(UserWarning, match="Weights for input shape"):
        Image("MobileNetV2", weights="imagenet").build()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Image("MobileNetV2", (96, 96, 3), weights="imagenet").build()


def test_failed_download(download):
    download(Exception("URL fetch failure on https://example.org/vgg16_notop.h5"))
    with pytest.raises(
        RuntimeError, match=r"https://example.org.*without the top.*\.keras/models.*weights=None"
    ) as caught:
        Image("VGG16", SHAPE, weights="imagenet").build()
    assert "URL fetch failure" in str(caught.value.__cause__)


def test_size_is_blamed_before_the_download(download):
    download(urllib.error.URLError("no network"))
    with pytest.raises(ValueError, match="at least 32x32"):
        Image("VGG16", (16, 16, 3), weights="imagenet").build()


def test_preprocessing_is_that_of_keras(images):
    modules = {
        "VGG16": "vgg16",
        "ResNet50": "resnet50",
        "MobileNetV2": "mobilenet_v2",
        "DenseNet121": "densenet",
        "ResNet50V2": "resnet_v2",
        "MobileNetV3Large": "mobilenet_v3",
    }
    for architecture, module in modules.items():
        expected = getattr(keras.applications, module).preprocess_input(images.astype("float32"))
        for dtype in ("uint8", "float32", "float64"):
            raw = images.astype(dtype)
            preprocessed = ImagePreprocessing(architecture)(raw)
            assert keras.backend.standardize_dtype(preprocessed.dtype) == "float32"
            np.testing.assert_allclose(preprocessed, expected, rtol=1e-6, atol=1e-5)
            np.testing.assert_array_equal(raw, images)


def test_preprocessing_knows_every_architecture():
    for name in architectures():
        assert ImagePreprocessing(name).architecture == name


def test_preprocessing_round_trip():
    layer = ImagePreprocessing("resnet50", name="prepare")
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert restored.get_config() == layer.get_config()
    assert (restored.architecture, restored.name, restored.compute_dtype) == ("ResNet50", "prepare", "float32")


def test_preprocessing_of_an_unknown_architecture():
    with pytest.raises(ValueError, match="Unknown architecture: 'ResNet51'. Did you mean"):
        ImagePreprocessing("ResNet51")


def test_preprocessing_wants_three_channels():
    with pytest.raises(ValueError, match="axis -1 .* to have value 3"):
        ImagePreprocessing("ResNet50")(np.zeros((1, 8, 8, 1)))


@pytest.mark.slow
@pytest.mark.parametrize("architecture", architectures())
def test_every_architecture(architecture, tmp_path):
    size = {"InceptionResNetV2": 75, "InceptionV3": 75, "Xception": 71}.get(architecture, 32)
    arguments = {"include_top": False, "weights": None, "input_shape": (size, size, 3)}
    written = getattr(keras.applications, architecture)(**arguments)
    path = tmp_path / "name.weights.h5"
    written.save_weights(path)
    model = Image(architecture, (size, size, 3), weights=path).build()
    path.unlink()
    assert_same_weights(model, written)
    del written

    images = np.random.default_rng(0).integers(0, 256, (1, size, size, 3)).astype("uint8")
    predictions = model.predict(images, verbose=0)
    assert np.isfinite(predictions).all()
    path = tmp_path / "model.keras"
    model.save(path)
    del model
    keras.backend.clear_session()
    gc.collect()
    restored = keras.saving.load_model(path)
    path.unlink()
    np.testing.assert_array_equal(restored.predict(images, verbose=0), predictions)
    del restored
    keras.backend.clear_session()
    gc.collect()
