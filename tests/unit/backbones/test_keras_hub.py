"""Presets of KerasHub, from folders that hold tiny ones with random weights: nothing is downloaded."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import backbones, build_model, export, tasks

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "not", "so", "very"]
KINDS = [tasks.BinaryClassification("a"), tasks.Classification("b", 3)]


def test_without_the_package_it_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(ImportError, match=r"pip install 'keras_mtl\[hub\]'"):
        backbones.KerasHub("bert_tiny_en_uncased")


@pytest.fixture(scope="module")
def hub():
    return pytest.importorskip("keras_hub", reason="the extra `hub` is not installed")


@pytest.fixture(scope="module")
def text_preset(hub, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("text"))
    sizes = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16, "max_sequence_length": 16}
    hub.models.BertBackbone(vocabulary_size=len(WORDS), **sizes).save_to_preset(folder)
    tokenizer = hub.models.BertTokenizer(vocabulary=WORDS, lowercase=True)
    hub.models.BertTextClassifierPreprocessor(tokenizer, sequence_length=12).save_to_preset(folder)
    return folder


@pytest.fixture(scope="module")
def image_preset(hub, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("image"))
    stem = {"input_conv_filters": [64], "input_conv_kernel_sizes": [3]}
    stack = {"stackwise_num_filters": [64], "stackwise_num_blocks": [1], "stackwise_num_strides": [1]}
    hub.models.ResNetBackbone(**stem, **stack, block_type="basic_block", image_shape=(32, 32, 3)).save_to_preset(folder)
    hub.layers.ResNetImageConverter(image_size=(32, 32), scale=1 / 255).save_to_preset(folder)
    return folder


@pytest.mark.parametrize("architecture", ["hard", pytest.param("cross_stitch", marks=pytest.mark.slow)])
def test_raw_texts_train_save_and_serve(text_preset, architecture, tmp_path):
    model = build_model(backbones.KerasHub(text_preset, sequence_length=9), KINDS, architecture)
    model.compile("adam")
    texts = np.array(["good", "not so bad", "", "very bad"])
    model.fit(texts, {"a": np.array([1, 1, 0, 0]), "b": np.array([0, 1, 2, 0])}, verbose=0)
    expected = model.predict(texts, verbose=0)
    model.save_weights(tmp_path / "model.weights.h5")
    other = build_model(backbones.KerasHub(text_preset, sequence_length=9), KINDS, architecture)
    other.load_weights(tmp_path / "model.weights.h5")
    loaded = other.predict(texts, verbose=0)
    export.saved_model(model, tmp_path / "serving")
    served = tf.saved_model.load(tmp_path / "serving").signatures["serving_default"](text=tf.constant(texts))
    for name, values in expected.items():
        np.testing.assert_allclose(loaded[name], values, atol=1e-6)
        np.testing.assert_allclose(served[name], values, atol=1e-5)


def test_padding_changes_nothing(text_preset):
    first, second = (build_model(backbones.KerasHub(text_preset, sequence_length=length), KINDS) for length in (7, 16))
    second.set_weights(first.get_weights())
    texts = np.array(["not so good", "bad"])
    np.testing.assert_allclose(first.predict(texts, verbose=0)["b"], second.predict(texts, verbose=0)["b"], atol=1e-5)


def test_loads_weights_or_not(text_preset):
    first, second, drawn = (backbones.KerasHub(text_preset, load_weights=w).build() for w in (True, True, False))
    assert all(np.array_equal(a, b) for a, b in zip(first.get_weights(), second.get_weights(), strict=True))
    assert any(np.any(a != b) for a, b in zip(first.get_weights(), drawn.get_weights(), strict=True))


def test_raw_images(hub, image_preset):
    model = build_model(backbones.KerasHub(image_preset), KINDS)
    assert model.input_shape == (None, 32, 32, 3)
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    features = keras.Model(model.input, model.get_layer("shared_pool").input)
    # Without a word of it, the converter of KerasHub tells the layers behind it that this is training.
    features = features(images, training=False)
    expected = hub.models.Backbone.from_preset(image_preset)(images / 255, training=False)
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-4)
    assert backbones.KerasHub(image_preset, input_shape=(48, 40, 3)).build().input_shape == (None, 48, 40, 3)


def test_in_a_fusion(text_preset):
    members = {"review": backbones.KerasHub(text_preset, sequence_length=9), "row": backbones.MLP(2, (3,))}
    model = build_model(backbones.Fusion(members), KINDS)
    inputs = {"review": np.array(["good", "so bad"]), "row": np.ones((2, 2), "float32")}
    assert np.isfinite(model.predict(inputs, verbose=0)["a"]).all()
    alone = build_model(members["review"], KINDS)
    tokens = keras.Model(alone.input, alone.get_layer("tokens").output)
    first, second = np.asarray(tokens(tf.constant(inputs["review"])))
    assert np.abs(first - second).max() > 0


def test_config(text_preset):
    backbone = backbones.KerasHub(text_preset, sequence_length=9, load_weights=False)
    found = backbones.get(keras.saving.serialize_keras_object(backbone))
    assert found.get_config() == backbone.get_config()


def test_refuses(text_preset, image_preset, tmp_path):
    with pytest.raises(ValueError, match="`preset` should be a name"):
        backbones.KerasHub(3)
    with pytest.raises(ValueError, match=r"`input_shape` should be \(height, width, 3\)"):
        backbones.KerasHub("preset", input_shape=(3,))
    with pytest.raises(ValueError, match="`sequence_length` should be an integer"):
        backbones.KerasHub("preset", sequence_length=0)
    with pytest.raises(ValueError, match="does not give a Backbone. KerasHub says"):
        backbones.KerasHub(str(tmp_path)).build()
    with pytest.raises(ValueError, match="Received: .* sequence_length=4"):
        backbones.KerasHub(image_preset, sequence_length=4).build()
