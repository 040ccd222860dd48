"""from_dataframe: columns to inputs and labels, empty cells, order, a FeatureSpace within the model."""

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl import data, tasks

TABLE = {
    "age": [39, 50, 28, 41],
    "hours": [40.0, None, 20.0, 60.0],
    "job": ["clerk", None, "nurse", "clerk"],
    "income": ["high", "low", "", "high"],
    "children": [0, 2, 1, 3],
}


def read(frame=TABLE, **arguments):
    return data.from_dataframe(frame, **{"labels": ["income", "children"], "batch_size": 3} | arguments)


def as_frame(table):
    return pytest.importorskip("pandas", reason="compares with pandas' frames").DataFrame(table)


@pytest.mark.parametrize("form", [dict, as_frame])
def test_columns(form):
    dataset = read(form(TABLE))
    assert len(dataset) == 2
    x, y = next(iter(dataset))
    assert {key: (tuple(values.shape), values.dtype.name) for key, values in x.items()} == {
        "age": ((3, 1), "int64"),
        "hours": ((3, 1), "float32"),
        "job": ((3, 1), "string"),
    }
    np.testing.assert_array_equal(x["hours"][:, 0], np.asarray([40, np.nan, 20], "float32"))
    assert x["job"][:, 0].numpy().tolist() == [b"clerk", b"", b"nurse"]
    assert y["income"].numpy().tolist() == [0, 1, -1]
    assert y["children"].numpy().tolist() == [0, 2, 1]
    assert dataset.class_names == {"income": ["high", "low"]}


def test_pandas_own_kinds():
    pandas = pytest.importorskip("pandas", reason="tries pandas' own dtypes")
    frame = pandas.DataFrame(
        {
            "a": pandas.Series([1, None, 3], dtype="Int64"),
            "b": pandas.Categorical(["x", None, "y"]),
            "c": pandas.Series([True, None, False], dtype="boolean"),
            "d": [1.5, 2.5, 3.5],
        }
    )
    x, y = next(iter(data.from_dataframe(frame, labels=["b", "c"], batch_size=3)))
    np.testing.assert_array_equal(x["a"][:, 0], np.asarray([1, np.nan, 3], "float32"))
    assert y["b"].numpy().tolist() == [0, -1, 1]
    assert y["c"].numpy().tolist() == [1, -1, 0]


def test_tasks_decide_on_the_dtype():
    table = TABLE | {"children": [0, None, 1, 3]}
    kinds = [tasks.Regression("children"), tasks.Classification("rich", 2, label="income")]
    _, y = next(iter(read(table, labels=None, tasks=kinds)))
    np.testing.assert_array_equal(y["children"], np.asarray([0, np.nan, 1], "float32"))
    kinds = [tasks.Classification("children", 4), tasks.Classification("income", 2)]
    _, y = next(iter(read(table, labels=None, tasks=kinds)))
    assert y["children"].numpy().tolist() == [0, -1, 1]
    assert y["children"].dtype == "int32"


def test_floats_that_are_no_classes():
    kinds = [tasks.Classification("hours", 3)]
    with pytest.raises(ValueError, match="column 'hours': labels 'hours' of task 'hours' should be integers.*2.5"):
        read(TABLE | {"hours": [1.0, 2.5, 0, 1]}, labels=None, tasks=kinds)


def test_a_seed_gives_an_order():
    table = {"x": np.arange(100), "y": np.arange(100)}

    def orders(seed):
        dataset = data.from_dataframe(table, labels=["y"], batch_size=30, shuffle_seed=seed)
        found = []
        for _ in range(2):
            batches = list(dataset)
            for x, y in batches:
                np.testing.assert_array_equal(x["x"][:, 0], y["y"])
            found.append(np.concatenate([y["y"] for _, y in batches]).tolist())
        return found

    assert orders(1) == orders(1)
    assert orders(1)[0] != orders(1)[1]
    assert orders(1) != orders(2)
    assert sorted(orders(1)[0]) == list(range(100))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": None}, "`labels` should name the columns that are labels"),
        ({"labels": ["race"]}, "`labels` should name columns of the data frame.*'race'"),
        ({"inputs": ["race"]}, "`inputs` should be columns"),
        ({"inputs": []}, "`inputs` should be columns"),
        ({"inputs": ["age", "income"]}, r"input and a label: .*\['income'\]"),
        ({"frame": 3}, "`frame` should be a data frame"),
        ({"frame": TABLE | {"age": [1]}}, "columns of one length"),
        ({"frame": {key: [] for key in TABLE}}, "one row at least"),
        ({"frame": TABLE | {"income": [None] * 4}}, "labels 'income' should have one at least that is not missing"),
        ({"class_names": {"income": ["low"]}}, r"among the classes \['low'\]. Received: 'high' in row 0 \(2 such"),
        ({"tasks": [tasks.Regression("income")]}, r"among \['income'\]. Received: \['children', 'income'\]"),
        (
            {"tasks": [tasks.Classification("income", 2), tasks.Regression("children"), tasks.Regression("debt")]},
            r"each task should have its column. .* none for the tasks \['debt'\]",
        ),
    ],
    ids=range(12),
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        read(**arguments)


@pytest.mark.parametrize("form", ["tabular", "feature_space"])
def test_what_prepares_the_columns_travels_in_the_model(form, tmp_path):
    table = TABLE | {"hours": [40.0, 38.0, 20.0, 60.0], "job": ["clerk", "cook", "nurse", "clerk"]}
    kinds = [tasks.Classification("income", 2), tasks.Regression("children")]
    train = read(table, labels=None, tasks=kinds)
    if form == "tabular":
        backbone = mtl.backbones.Tabular(numeric=["age", "hours"], categorical=["job"], units=(8,)).adapt(table)
        model = mtl.build_model(backbone, kinds)
    else:
        job = keras.utils.FeatureSpace.string_categorical()
        kinds_of = {"age": "float_normalized", "hours": "float_normalized", "job": job}
        space = keras.utils.FeatureSpace(kinds_of, output_mode="concat")
        space.adapt(train.map(lambda x, y: x))
        features = keras.layers.Dense(8, "relu")(space.get_encoded_features())
        model = mtl.MultiTaskModel(dict(space.get_inputs()), {task.name: task.head(features) for task in kinds}, kinds)
    model.compile("adam")
    history = model.fit(train, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    path = tmp_path / "model.keras"
    model.save(path)
    again = keras.models.load_model(path, safe_mode=True)
    x, _ = next(iter(train))
    np.testing.assert_allclose(again.predict(x, verbose=0)["income"], model.predict(x, verbose=0)["income"], rtol=1e-5)
