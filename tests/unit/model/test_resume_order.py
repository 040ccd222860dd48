"""Another order or other examples than before: refused within an epoch, told or taken as they are between two."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl.model import _progress
from tests.models import others_slow, two_task_data
from tests.unit.model._resuming import Batches, StopAt, StoppedError, arrays, build, dataset, train


def rows(number):
    x, y = two_task_data(40)
    return {**arrays(), "x": x[:number], "y": {name: value[:number] for name, value in y.items()}}


def in_their_order(**arguments):
    return {**arrays(), "shuffle": False, **arguments}


def split(part):
    return in_their_order(validation_data=None, validation_split=part)


OTHERS = {
    "no shuffle": (
        arrays,
        in_their_order,
        r"arrays, with shuffle=True \(examples=40, batch_size=8\). Received: arrays, with shuffle=False \(examples=40",
    ),
    "a shuffle": (in_their_order, arrays, "shuffle=False .*Received: arrays, with shuffle=True"),
    "another shuffle": (in_their_order, lambda: in_their_order(shuffle="batch"), "=False .*Received: .*='batch'"),
    "a data set": (arrays, lambda: {"x": dataset()}, "arrays, .* Received: a `tf.data.Dataset`, with which"),
    "arrays": (lambda: {"x": dataset()}, arrays, "a `tf.data.Dataset`. Received: arrays, with shuffle=True "),
    "batches": (arrays, lambda: {**arrays(), "batch_size": 9}, "batch_size=8.*Received: .*batch_size=9"),
    "rows": (lambda: rows(40), lambda: rows(39), r"\(examples=40, .*Received: .*\(examples=39, "),
    "a split": (lambda: split(0.2), lambda: split(0.3), r"\(examples=32, .*Received: .*\(examples=28, "),
    "a PyDataset": (in_their_order, lambda: {"x": Batches(), "shuffle": False}, "Received: a `PyDataset`, with shu"),
    "a shuffled PyDataset": (
        lambda: {"x": Batches(), "shuffle": False},
        lambda: {"x": Batches()},
        "a `PyDataset`, with shuffle=False. Received: a `PyDataset`, with shuffle=True",
    ),
    "a generator": (
        lambda: {"x": dataset().repeat(), "steps_per_epoch": 5},
        lambda: {"x": (batch for batch in dataset().repeat()), "steps_per_epoch": 5},
        "a `tf.data.Dataset`. Received: a generator",
    ),
}


@pytest.mark.parametrize("kind", others_slow(OTHERS, ["no shuffle", "a data set", "arrays", "batches", "rows"]))
def test_other_examples_in_the_rest_of_an_epoch_are_an_error(kind, tmp_path):
    before, after, words = OTHERS[kind]
    with pytest.raises(StoppedError):
        train(before(), tmp_path, StopAt(batch=4), save_freq=1)
    kept = (tmp_path / "latest.weights.h5").read_bytes()
    with pytest.raises(ValueError, match=f"interrupted within an epoch of .*{words}.*Give `fit` the same"):
        train(after(), tmp_path, save_freq=1)
    assert (tmp_path / "latest.weights.h5").read_bytes() == kept


def test_files_that_do_not_know_the_order_go_on(tmp_path, monkeypatch):
    with monkeypatch.context() as older:
        older.setattr(_progress, "_NUMBERS", _progress._NUMBERS[: _progress._NUMBERS.index("kind")])
        with pytest.raises(StoppedError):
            train(arrays(), tmp_path, StopAt(batch=4), save_freq=1)
    model, _ = train(rows(39), tmp_path, save_freq=1, epochs=1)
    assert model.optimizer.iterations.numpy() == 5
    assert (model.progress.rows, model.progress.batch_size) == (39, 8)


@pytest.mark.parametrize("kind", others_slow(["a data set", "no shuffle"], ["no shuffle"]))
def test_a_shuffle_between_two_epochs_is_told_as_what_it_is(kind, tmp_path):
    train({"x": dataset()} if kind == "a data set" else in_their_order(), tmp_path, epochs=1)
    with pytest.warns(UserWarning, match="Before, the data had an order of their own, and from now on `fit` draws one"):
        model, _ = train(arrays(), tmp_path, epochs=2)
    assert model.optimizer.iterations.numpy() == 10


def test_a_size_of_batches_that_is_not_said_is_that_of_keras(tmp_path):
    data = arrays()
    del data["batch_size"]
    with pytest.raises(StoppedError):
        train(data, tmp_path, StopAt(batch=2), save_freq=1)
    with pytest.raises(ValueError, match="batch_size=32.*Received: .*batch_size=33"):
        train({**data, "batch_size": 33}, tmp_path, save_freq=1)
    model, _ = train({**data, "batch_size": np.int64(32)}, tmp_path, save_freq=1, epochs=1)
    assert model.optimizer.iterations.numpy() == 2


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (arrays()["x"].tolist(), "Unrecognized data type"),
        ([tf.constant(1.0)] * 2, "same number of examples"),
        ([], "received 0 input tensors"),
    ],
)
def test_inputs_that_are_no_arrays_of_examples_are_refused_as_by_keras(x, message, tmp_path):
    backup = keras.callbacks.BackupAndRestore(tmp_path)
    with pytest.raises(ValueError, match=message):
        build().fit(x, arrays()["y"], verbose=0, callbacks=[backup])
