"""Raw texts: padding changes nothing, the vocabulary travels, token tasks find their tokens."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import backbones, build_model, tasks
from keras_mtl.backbones import _text_layers as layers
from tests.models import others_slow

TEXTS = ["so good", "not so good at all", "bad", "", "Bad, really bad!"]
SMALL = {
    "convolutional": {"filters": 4, "kernel_sizes": (2, 3)},
    "recurrent": {"units": 3, "num_layers": 2},
    "transformer": {"units": 6, "num_heads": 2, "num_layers": 1},
}
ENCODERS = sorted(SMALL)


def small(encoder, **arguments):
    return backbones.Text(encoder=encoder, embedding_dim=6, **{**SMALL[encoder], **arguments}).adapt(TEXTS)


def texts(*values):
    return tf.constant(values)


@pytest.mark.parametrize("pooling", ["max", "mean"])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_padding_changes_nothing(encoder, pooling):
    model = small(encoder, pooling=pooling).build()
    alone = model(texts("bad"))
    beside = model(texts("bad", "not so good at all not so good at all"))
    np.testing.assert_allclose(alone[0], beside[0], atol=1e-5)
    assert np.abs(np.asarray(beside[0] - beside[1])).max() > 1e-4
    fixed = small(encoder, pooling=pooling, sequence_length=12).build()
    fixed.set_weights(model.get_weights())
    np.testing.assert_allclose(fixed(texts("bad"))[0], alone[0], atol=1e-5)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_padding_changes_nothing_in_the_mean_that_a_head_takes(encoder):
    model = build_model(small(encoder, pooling=None), [tasks.Regression("a", hidden_units=4)])
    alone, beside = model(texts("bad")), model(texts("bad", "not so good at all"))
    np.testing.assert_allclose(alone["a"][0], beside["a"][0], atol=1e-5)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_text_without_words_has_finite_features(encoder):
    model = small(encoder, pooling="mean").build()
    assert np.isfinite(model(texts("", "  ", "bad"))).all()
    np.testing.assert_allclose(model(texts(""))[0], model(texts("", "so good"))[0], atol=1e-5)


def test_computes_what_kim_says():
    model = small("convolutional", kernel_sizes=(3,)).build()
    table = model.get_layer("embedding").get_weights()[0]
    kernel, bias = model.get_layer("tokens").get_weights()
    index = [word + 2 for word in map(small("convolutional").vocabulary.index, ["not", "so", "bad"])]
    row = np.concatenate([np.zeros((1, 6)), table[index], np.zeros((1, 6))])
    windows = [np.maximum(np.einsum("kc,kcf->f", row[i : i + 3], kernel) + bias, 0) for i in range(3)]
    np.testing.assert_allclose(model(texts("not so bad"))[0], np.max(windows, axis=0), atol=1e-5)


def test_strings_of_either_shape():
    model = small("convolutional").build()
    one = tf.constant(TEXTS)
    np.testing.assert_array_equal(model(one), model(one[:, None]))


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        (str, (5,)),
        (object, (5, 1)),
        pytest.param(str, (5, 1), marks=pytest.mark.slow),
        pytest.param(object, (5,), marks=pytest.mark.slow),
    ],
)
def test_arrays_of_strings_of_any_dtype(dtype, shape):
    model = build_model(small("convolutional"), [tasks.Regression("a")])
    model.compile("adam")
    inputs, labels = np.array(TEXTS, dtype=dtype).reshape(shape), {"a": np.arange(5.0)}
    model.fit(inputs, labels, validation_data=(inputs, labels), verbose=0)
    assert np.isfinite(model.evaluate(inputs, labels, verbose=0)).all()
    np.testing.assert_allclose(model.predict(inputs, verbose=0)["a"], model(texts(*TEXTS))["a"], atol=1e-6)


def test_adapt_takes_the_most_frequent_words():
    backbone = backbones.Text(max_tokens=4)
    assert backbone.adapt(TEXTS) is backbone
    assert (len(backbone.vocabulary), backbone.vocabulary[0]) == (2, "bad")
    batches = tf.data.Dataset.from_tensor_slices(TEXTS).batch(2)
    assert backbones.Text(max_tokens=4).adapt(batches).vocabulary == backbone.vocabulary
    exact = backbones.Text(standardize=None).adapt(TEXTS)
    assert {"Bad,", "bad", "bad!"} <= set(exact.vocabulary)
    assert "b" in backbones.Text(split="character").adapt(TEXTS).vocabulary


def test_the_vocabulary_is_in_the_config():
    backbone = small("transformer", dropout=0.25, word_dropout=0.5, embedding_dropout=0.125, max_tokens=7)
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(backbone)))
    found = keras.saving.deserialize_keras_object(config)
    assert found.get_config() == backbone.get_config()
    model, other = backbone.build(), found.build()
    other.set_weights(model.get_weights())
    np.testing.assert_array_equal(model(texts(*TEXTS)), other(texts(*TEXTS)))


@pytest.mark.parametrize("encoder", others_slow(ENCODERS, by_default=("transformer",)))
def test_tags_tokens_beside_a_class_of_the_text(encoder):
    backbone = small(encoder, sequence_length=5)
    kinds = [tasks.SequenceTagging("tag", 3), tasks.BinaryClassification("positive")]
    model = build_model(backbone, kinds)
    assert {name: tensor.shape for name, tensor in model.output.items()} == {"tag": (None, 5, 3), "positive": (None, 1)}
    assert model.partition.shared
    model.compile("adam", balancer="pcgrad")
    tags = np.where(np.arange(5) < [[2], [5], [1], [0], [3]], 1, -1)
    history = model.fit(np.array(TEXTS), {"tag": tags, "positive": np.array([1, 1, 0, 0, 0])}, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_tags_under_an_architecture_that_copies():
    kinds = [tasks.SequenceTagging("tag", 3), tasks.SequenceTagging("name", 2)]
    model = build_model(small("convolutional", pooling=None), kinds, "cross_stitch")
    assert model(texts(*TEXTS))["name"].shape == (5, 5, 2)
    with pytest.raises(ValueError, match=r"reads features \(batch, length, channels\)"):
        build_model(small("convolutional"), kinds, "cross_stitch")


class TestWordDropout:
    def test_has_a_share_of_words_unknown_in_training_only(self):
        layer = layers.WordDropout(0.25)
        tokens = np.tile(np.array([5, 0]), (1, 2000))
        np.testing.assert_array_equal(layer(tokens), tokens)
        found = np.asarray(layer(tokens, training=True))
        assert set(np.unique(found)) == {0, 1, 5}
        np.testing.assert_array_equal(found == 0, tokens == 0)
        np.testing.assert_allclose(np.mean(found[tokens == 5] == 1), 0.25, atol=0.05)

    def test_is_in_the_model(self):
        assert small("convolutional", word_dropout=0.5).build().get_layer("word_dropout").rate == 0.5


def test_positions_are_those_of_the_paper():
    found = np.asarray(layers.SinusoidalPositions()(np.zeros((1, 7, 4), "float32")))[0]
    np.testing.assert_allclose(found[3], [np.sin(3), np.sin(0.03), np.cos(3), np.cos(0.03)], atol=1e-6)
    assert layers.SinusoidalPositions()(np.zeros((1, 7, 5), "float32")).shape == (1, 7, 5)


def test_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        for encoder in ENCODERS:
            found = small(encoder, pooling="max").build()(texts(*TEXTS))
            assert found.dtype == "float16"
            assert np.isfinite(found).all()
    finally:
        keras.config.set_dtype_policy(before)


def test_without_a_vocabulary_it_says_how_to_get_one():
    with pytest.raises(ValueError, match="Call `adapt` with the training texts"):
        backbones.Text().build()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoder": "lstm"}, "`encoder` should be one of"),
        ({"vocabulary": "word"}, "`vocabulary` should be different words"),
        ({"vocabulary": ["a", "a"]}, "`vocabulary` should be different words"),
        ({"vocabulary": ["a", "b"], "max_tokens": 3}, "`vocabulary` should have at most 1 words"),
        ({"num_heads": 2}, r"`num_heads` goes with encoder='transformer'. Received: num_heads=2"),
        ({"units": 2}, "`units` goes with encoder='recurrent' or 'transformer'"),
        ({"kernel_sizes": (3,), "encoder": "recurrent"}, "`kernel_sizes` goes with encoder='convolutional'"),
        ({"kernel_sizes": (3, 3)}, "`kernel_sizes` should be different widths"),
        ({"kernel_sizes": ()}, "`kernel_sizes` should be different widths"),
        ({"encoder": "transformer", "embedding_dim": 10}, "`embedding_dim` should be a multiple of `num_heads`"),
        ({"pooling": "first"}, "`pooling` should be one of"),
        ({"standardize": "upper"}, "`standardize` should be one of"),
        ({"sequence_length": 0}, "`sequence_length` should be an integer of at least 1"),
        ({"word_dropout": 1.0}, "`word_dropout` should be a finite number"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        backbones.Text(**arguments)


def test_adapt_refuses_texts_without_words():
    with pytest.raises(ValueError, match="`texts` should be strings with words"):
        backbones.Text().adapt(["", " "])
