"""A warning names the layers whose weights stand for other words after a copy, and no others."""

import warnings

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl import tasks, transfer
from keras_mtl.transfer._words import warn_of_other_words

layers = keras.layers
XYZ, PQR = ["x", "y", "z"], ["p", "q", "r"]


def named(source, target, by="name"):
    """Copies, and gives the layers that the warning names."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        transfer.copy_weights(source, target, by)
    said = [each for each in caught if "vocabularies" in str(each.message)]
    assert len(said) <= 1
    if not said:
        return []
    assert said[0].filename == __file__
    text = str(said[0].message)
    return [name.strip("'") for name in text[text.index("layers [") + 8 : text.index("]")].split(", ")]


class Holder(layers.Layer):
    """A layer that holds others, which is no model."""

    def __init__(self, *inner, own=False, **kwargs):
        super().__init__(**kwargs)
        self.layers = list(inner)
        self.own = own

    def build(self, shape):
        if self.own:
            self.scale = self.add_weight(shape=(), name="scale")
        self.layers[-1].build(shape)

    def call(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def lookup(words, **kwargs):
    return layers.StringLookup(vocabulary=words, **kwargs)


def text(shape=(3,)):
    return keras.Input(shape, dtype="string")


def with_places(words, lookup_name, kind):
    """Words by a lookup, and places by none, each with an embedding."""
    inputs, places = text(), keras.Input((3,), dtype="int32")
    numbers = layers.Reshape((3,))(lookup(words, name=lookup_name)(inputs))
    embedding = layers.Embedding(len(words) + 1, 2, name="vectors")
    if kind == "nested":
        inner = keras.Input((3,), dtype="int64")
        embedding = keras.Model(inner, embedding(inner), name="encoder")
    elif kind == "held":
        embedding = Holder(embedding, name="holder")
    both = embedding(numbers) + layers.Embedding(3, 2, name="positions")(places)
    return keras.Model([inputs, places], layers.Dense(1, name="top")(both))


@pytest.mark.parametrize(
    ("kind", "path"), [("plain", "vectors"), ("nested", "encoder/vectors"), ("held", "holder/vectors")]
)
def test_an_embedding_of_other_words(kind, path):
    source, target = with_places(XYZ, "words", kind), with_places(PQR, "others", kind)
    assert named(source, target) == [path]
    assert named(source, target, "structure") == [path]
    assert named(source, with_places(XYZ, "others", kind)) == []
    assert named(source, target, {"positions": "positions", "top": "top"}) == []
    assert named(source, with_places(["p", "q"], "others", kind)) == []  # of other shapes: it is not copied


def test_a_file_has_no_words(tmp_path):
    with_places(XYZ, "words", "plain").save(tmp_path / "source.keras")
    assert named(tmp_path / "source.keras", with_places(PQR, "words", "plain")) == []


def two_columns(first, second, names, within=None):
    """Two lookups, each with an embedding of its own; the lookups or the embeddings may be a model within."""
    inputs = [text((1,)), text((1,))]
    found = [lookup(first)(inputs[0]), lookup(second)(inputs[1])]
    if within == "lookups":
        found = keras.Model(inputs, found, name="lookups")(inputs)
    numbers = [keras.Input((1,), dtype="int64") for _ in names] if within == "encoder" else found
    vectors = [layers.Embedding(4, 2, name=name)(each) for name, each in zip(names, numbers, strict=True)]
    vectors = keras.Model(numbers, vectors, name="encoder")(found) if within == "encoder" else vectors
    return keras.Model(inputs, layers.Dense(1, name="top")(layers.Add()(vectors)))


@pytest.mark.parametrize(("within", "prefix"), [(None, ""), ("lookups", ""), ("encoder", "encoder/")])
def test_each_column_is_judged_by_its_own_words(within, prefix):
    source = two_columns(XYZ, PQR, ("a", "b"), within)
    assert named(source, two_columns(XYZ, XYZ, ("a", "b"), within)) == [f"{prefix}b"]
    crossed = two_columns(PQR, XYZ, ("c", "d"), within)
    c, d, a, b = (f"{prefix}{name}" for name in "cdab")
    assert named(source, crossed, {c: b, d: a}) == []
    assert named(source, crossed, {c: a, d: b}) == [c, d]


def shared(*vocabularies):
    """One embedding for one or several lookups."""
    inputs = [text((1,)) for _ in vocabularies]
    embedding = layers.Embedding(4, 2, name="vectors")
    found = [embedding(lookup(words)(each)) for words, each in zip(vocabularies, inputs, strict=True)]
    return keras.Model(inputs, layers.Dense(1, name="top")(layers.Add()(found) if len(found) > 1 else found[0]))


def test_a_layer_that_is_called_twice():
    assert named(shared(XYZ, PQR), shared(PQR, XYZ)) == []
    assert named(shared(XYZ, PQR), shared(PQR)) == []
    assert named(shared(PQR), shared(PQR, XYZ)) == ["vectors"]
    assert named(shared(XYZ, XYZ), shared(PQR)) == ["vectors"]


def one_column(source, *steps):
    inputs = source
    found = inputs
    for step in steps:
        found = step(found)
    return keras.Model(inputs, layers.Dense(1, name="top")(found))


SCALED = [
    lambda: layers.BatchNormalization(name="scaled"),
    lambda: layers.Normalization(name="scaled"),
    lambda: layers.PReLU(name="scaled"),
]


@pytest.mark.parametrize("scaled", SCALED)
def test_words_without_an_embedding(scaled):
    def model(words):
        return one_column(text(), lookup(words, output_mode="multi_hot"), scaled())

    assert sorted(named(model(["x", "y"]), model(["p", "q"]))) == ["scaled", "top"]
    assert named(model(["x", "y"]), model(["p", "q"]), {"top": "top"}) == ["top"]


def test_columns_side_by_side_stand_in_their_order():
    def model(*vocabularies):
        inputs = [text((1,)) for _ in vocabularies]
        found = [lookup(words, output_mode="multi_hot")(each) for words, each in zip(vocabularies, inputs, strict=True)]
        return keras.Model(inputs, layers.Dense(1, name="top")(layers.Concatenate()(found)))

    assert named(model(XYZ, PQR), model(XYZ, PQR)) == []
    assert named(model(XYZ, PQR), model(PQR, XYZ)) == named(model(XYZ, PQR), model(XYZ, XYZ)) == ["top"]


@pytest.mark.parametrize("as_dict", [False, True])
def test_a_model_within_that_is_called_by_name(as_dict):
    def model(words):
        inner = {name: keras.Input((1,), dtype="int64", name=name) for name in ("b", "a")}
        vectors = [layers.Embedding(4, 2, name=f"of_{name}")(each) for name, each in inner.items()]
        encoder = keras.Model(inner if as_dict else list(inner.values()), layers.Add()(vectors), name="encoder")
        inputs = [text((1,)), keras.Input((1,), dtype="int64")]
        found = encoder({"a": inputs[1], "b": lookup(words)(inputs[0])})
        return keras.Model(inputs, layers.Dense(1, name="top")(found))

    assert named(model(XYZ), model(PQR)) == ["encoder/of_b"]


@pytest.mark.parametrize(
    "kind", [lambda numbers: layers.IntegerLookup(vocabulary=numbers), lambda numbers: Tokenizer(numbers)]
)
def test_lookups_of_other_kinds(kind):
    def model(numbers):
        source = keras.Input((1,), dtype="int64")
        return one_column(source, kind(numbers), layers.Embedding(4, 2, name="vectors"))

    assert named(model([1, 2, 3]), model([4, 5, 6])) == ["vectors"]
    assert named(model([1, 2, 3]), model([1, 2, 3])) == []


class Tokenizer(layers.Layer):
    """One of another library."""

    def __init__(self, vocabulary):
        super().__init__()
        self.vocabulary = vocabulary

    def get_vocabulary(self):
        if isinstance(self.vocabulary, Exception):
            raise self.vocabulary
        return self.vocabulary

    def call(self, x):
        return x % 4


def test_without_words_on_one_side_nothing_is_said():
    def model(*steps):
        return one_column(keras.Input((1,), dtype="int64"), *steps, layers.Embedding(4, 2, name="vectors"))

    one, other = model(layers.IntegerLookup(vocabulary=[1, 2, 3])), model(layers.Identity())
    assert named(one, other) == named(other, one) == []
    for nothing in (NotImplementedError("none"), ValueError("none yet"), None, {4: 0, 5: 1, 6: 2}.keys()):
        assert named(one, model(Tokenizer(nothing))) == named(model(Tokenizer(nothing)), one) == []


def test_the_last_of_two_lookups_counts():
    def model(words, numbers):
        numbers = layers.IntegerLookup(vocabulary=numbers)
        return one_column(text((1,)), lookup(words), numbers, layers.Embedding(4, 2, name="vectors"))

    assert named(model(XYZ, [1, 2, 3]), model(PQR, [1, 2, 3])) == []
    assert named(model(XYZ, [1, 2, 3]), model(XYZ, [3, 2, 1])) == ["vectors"]


def test_words_that_are_added_at_the_end():
    def model(words):
        return one_column(text((1,)), lookup(words), layers.Embedding(9, 2, name="vectors"))

    assert named(model(XYZ), model([*XYZ, "new"])) == named(model([*XYZ, "new"]), model(XYZ)) == []
    assert named(model(XYZ), model(["new", *XYZ])) == ["vectors"]


def test_a_layer_that_looks_up_itself():
    def model(words):
        held = Holder(lookup(words), layers.Embedding(4, 2, name="vectors"), own=True, name="holder")
        return one_column(text((1,)), held)

    assert named(model(XYZ), model(PQR)) == ["holder"]


def test_a_mask_is_no_words():
    def model(words):
        embedding = layers.Embedding(4, 2, mask_zero=True, name="vectors")
        return one_column(text(), lookup(words, mask_token=""), embedding, layers.LSTM(2, name="lstm"))

    assert named(model(["x", "y"]), model(["p", "q"])) == ["vectors"]
    assert named(model(["x", "y"]), model(["p", "q"]), {"lstm": "lstm", "top": "top"}) == []


@pytest.mark.parametrize("encoder", ["convolutional", "recurrent", "transformer"])
def test_a_text_backbone(encoder):
    def model(sentences):
        backbone = mtl.backbones.Text(encoder=encoder, embedding_dim=8, sequence_length=6)
        backbone.adapt(sentences)
        return mtl.build_model(backbone, [tasks.BinaryClassification("a"), tasks.BinaryClassification("b")])

    first, other = model(np.array(["one two", "three"])), model(np.array(["uno due", "tre"]))
    assert named(first, other) == ["embedding"]
    assert named(first, model(np.array(["one two", "three"]))) == []


def test_a_tabular_backbone():
    def model(cities):
        columns = {"city": np.array(cities), "colour": np.array(["red", "blue"])}
        backbone = mtl.backbones.Tabular(categorical=("city", "colour"))
        backbone.adapt(columns)
        return mtl.build_model(backbone, [tasks.Regression("a"), tasks.Regression("b")])

    assert named(model(["Rome", "Paris"]), model(["Bonn", "Cairo"])) == ["city_embedding"]


def test_a_model_within_gives_each_output_its_own_words():
    inputs = text()
    numbers = lookup(XYZ)(inputs)
    within = keras.Model(inputs, [numbers, layers.Dense(3, name="in")(layers.Identity()(numbers))], name="within")
    outer = text()
    found, dense = within(outer)
    added = layers.Embedding(4, 1, name="vectors")(found)[..., 0] + layers.Dense(3, name="after")(dense)
    target = keras.Model(outer, added)
    other = two_columns(PQR, PQR, ("a", "b"))
    with pytest.warns(UserWarning, match=r"layers \['vectors', 'within/in'\]"):
        warn_of_other_words(other, target, dict.fromkeys(("vectors", "within/in", "after"), "a"), stacklevel=1)
