"""Rows of a table: normalization, embeddings, and what it refuses."""

import json

import keras
import numpy as np
import pytest

from keras_mtl import backbones

TABLE = {
    "age": np.array([20, 30, 40, 50]),
    "hours": np.array([1.0, 1.0, 3.0, 3.0]),
    "job": np.array(["nurse", "baker", "nurse", ""], dtype=object),
    "code": np.array([7, 3, 3, 7]),
}


def small(**arguments):
    given = {"numeric": ["age", "hours"], "categorical": ["job", "code"], "units": (5, 3), "embedding_dim": 2}
    return backbones.Tabular(**{**given, **arguments}).adapt(TABLE)


def test_takes_statistics_and_values_from_the_table():
    found = small()
    assert found.statistics == {"age": [35.0, 125.0], "hours": [2.0, 1.0]}
    assert found.vocabularies == {"job": ["", "baker", "nurse"], "code": [3, 7]}


def test_normalizes_numbers_and_embeds_categories():
    model = small(units=()).build()
    assert model.output_shape == (None, 2 + 2 * 2)
    columns = {name: keras.ops.convert_to_tensor(values[:, None].tolist()) for name, values in TABLE.items()}
    rows = np.asarray(model(columns))
    np.testing.assert_allclose(rows[:, 0], (TABLE["age"] - 35) / np.sqrt(125), atol=1e-5)
    np.testing.assert_allclose(rows[:, 1], [-1, -1, 1, 1], atol=1e-5)
    jobs, codes = (model.get_layer(f"{name}_embedding").get_weights()[0] for name in ("job", "code"))
    np.testing.assert_allclose(rows[:, 2:4], jobs[[3, 2, 3, 1]])
    np.testing.assert_allclose(rows[:, 4:], codes[[2, 1, 1, 2]])


def test_unknown_categories_share_an_embedding():
    model = backbones.Tabular(categorical=["code"], units=()).adapt(TABLE).build()
    rows = np.asarray(model({"code": np.array([[99], [-1], [3]])}))
    np.testing.assert_array_equal(rows[0], rows[1])
    assert np.abs(rows[0] - rows[2]).max() > 0


def test_columns_of_vectors_or_of_one_number():
    model = small().build()
    flat = {name: keras.ops.convert_to_tensor(values.tolist()) for name, values in TABLE.items()}
    deep = {name: values[:, None] for name, values in flat.items()}
    np.testing.assert_array_equal(model(flat), model(deep))


def test_numbers_alone_and_dropout():
    model = backbones.Tabular(["age"], units=(4,), dropout=0.5).adapt(TABLE).build()
    assert [layer.name for layer in model.layers] == ["age", "normalized_numbers", "dense_0", "dropout_0"]


def test_what_was_found_is_in_the_config():
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(small())))
    found = keras.saving.deserialize_keras_object(config)
    assert found.get_config() == small().get_config()
    assert found.build().output_shape == (None, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "should name one column or more"),
        ({"numeric": ["a"], "categorical": ["a"]}, "each once"),
        ({"numeric": "age"}, "`numeric` should be a list of names"),
        ({"categorical": ["a/b"]}, "`categorical` should be a list of names of columns, without '/'"),
        ({"numeric": ["a"], "statistics": {"b": [0, 1]}}, "columns of `statistics` should be"),
        ({"numeric": ["a"], "statistics": {"a": [0, -1]}}, "a variance of at least 0"),
        ({"categorical": ["a"], "vocabularies": {"a": [1, "b"]}}, "strings only or integers only"),
        ({"categorical": ["a"], "vocabularies": {"a": []}}, "strings only or integers only"),
        ({"numeric": ["a"], "units": (0,)}, r"`units\[0\]` should be an integer"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        backbones.Tabular(**arguments)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"age": [1.0]}, "should have the columns"),
        ({"age": [1.0, np.nan], "job": ["a", "b"]}, "'age' should have finite numbers"),
        ({"age": ["old"], "job": ["a"]}, "'age' should have finite numbers"),
        ({"age": [1.0], "job": [1.5]}, "'job' should have strings only or integers only"),
        ({"age": [1.0, 2.0], "job": np.array(["a", None], object)}, "Give missing values a category of their own"),
    ],
    ids=["absent", "nan", "words", "fractions", "none"],
)
def test_adapt_refuses(table, message):
    with pytest.raises(ValueError, match=message):
        backbones.Tabular(["age"], ["job"]).adapt(table)


def test_without_adapt_it_says_so():
    with pytest.raises(ValueError, match="Call `adapt` with the training table"):
        backbones.Tabular(["age"]).build()
