"""Epochs of another number of batches than before: refused where one was begun, told or taken as they are elsewhere."""

import keras
import pytest

from keras_mtl.model import _progress
from tests.models import others_slow
from tests.unit.model._resuming import (
    DATA,
    RUNS_OUT,
    Batches,
    StopAt,
    StoppedError,
    arrays,
    build,
    check_same,
    dataset,
    train,
    unknown,
)


def endless(steps):
    return {"x": dataset().repeat(), "steps_per_epoch": steps}


def fewer(**arguments):
    return {**arrays(), "batch_size": 20, **arguments}


def stop(data, folder, batch=5, **arguments):
    """Stops after `batch - 1` batches, counted over all epochs, all of them in the backup."""
    with pytest.raises(StoppedError):
        train(data, folder, StopAt(batch=batch), save_freq=1, **arguments)


@pytest.mark.parametrize(
    ("data", "at_once", "now", "taken"),
    [
        (lambda: endless(3), 1, "3 batches of one stream", 3),
        pytest.param(lambda: endless(5), 2, "6 batches of one stream", 6, marks=pytest.mark.slow),
        pytest.param(lambda: {"x": dataset()}, 1, "a pass", 5, marks=pytest.mark.slow),
    ],
)
def test_epochs_of_another_size_are_told(data, at_once, now, taken, tmp_path):
    with pytest.raises(StoppedError):
        train(endless(3), tmp_path, StopAt(epoch=2), epochs=4, steps_per_execution=2)
    with pytest.warns(UserWarning, match=f"An epoch was 4 batches of one stream before, and is {now} now"):
        model, _ = train(data(), tmp_path, epochs=3, steps_per_execution=at_once)
    assert model.optimizer.iterations.numpy() == 8 + taken
    assert model.progress.taken == (0 if now == "a pass" else taken)


WITHIN = {
    "arrays": (arrays, fewer, "of 5 batches. Received: .* an epoch has 2"),
    "arrays, and more": (fewer, arrays, "of 2 batches. Received: .* an epoch has 5"),
    "arrays in their order": (DATA["arrays in their order"], lambda: fewer(shuffle=False), "of 5 .* has 2"),
    "split": (
        lambda: {**arrays(), "validation_data": None, "validation_split": 0.2},
        lambda: fewer(validation_data=None, validation_split=0.5),
        "of 4 .* has 1",
    ),
    "data set": (lambda: {"x": dataset()}, lambda: {"x": dataset(24)}, "of 5 .* has 3"),
    "data set, and more": (lambda: {"x": dataset()}, lambda: {"x": dataset(80)}, "of 5 .* has 10"),
    "a pass, then a stream": (lambda: {"x": dataset()}, lambda: endless(4), "of 5 .* has 4"),
    "a stream, then a pass": (lambda: endless(4), lambda: {"x": dataset(16)}, "of 4 .* has 2"),
    "a stream": (lambda: endless(6), lambda: endless(3), "of 6 .* has 3"),
    "a lost order": (lambda: endless(4), lambda: {"x": dataset(), "steps_per_epoch": 3}, "of 4 .* has 3"),
    "a PyDataset": (lambda: {"x": Batches(5)}, lambda: {"x": Batches(3)}, "of 5 .* has 3"),
    "an unknown size": (lambda: {"x": unknown()}, lambda: {"x": dataset(16)}, "after 3 batches. .* has 2"),
}


@pytest.mark.parametrize("kind", others_slow(WITHIN, ["arrays", "data set, and more", "a stream", "an unknown size"]))
def test_an_epoch_of_another_size_that_was_begun_is_an_error(kind, tmp_path):
    before, after, words = WITHIN[kind]
    stop(before(), tmp_path, 2 if kind == "arrays, and more" else 4)
    kept = (tmp_path / "latest.weights.h5").read_bytes()
    with pytest.raises(ValueError, match=f"interrupted within an epoch,? {words}. Give `fit` the same"):
        train(after(), tmp_path, StopAt(batch=1), save_freq=1)
    assert (tmp_path / "latest.weights.h5").read_bytes() == kept


def test_an_epoch_of_another_size_in_a_loaded_model_is_an_error(tmp_path):
    save = keras.callbacks.ModelCheckpoint(tmp_path / "model.keras", save_freq=8)
    build().fit(**arrays(), epochs=2, verbose=0, callbacks=[save])
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert (loaded.progress.epochs, loaded.progress.batches, loaded.progress.size) == (1, 3, 5)
    with pytest.raises(ValueError, match="within an epoch of 5 batches. Received: .* an epoch has 2"):
        loaded.fit(**fewer(), initial_epoch=1, epochs=2, verbose=0)
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    loaded.fit(**arrays(), initial_epoch=1, epochs=2, verbose=0)
    assert loaded.optimizer.iterations.numpy() == 10
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    loaded.fit(**fewer(), epochs=2, verbose=0)  # anew
    assert loaded.progress.size == 2


def test_an_epoch_of_unknown_size_that_ends_too_soon_is_an_error(tmp_path):
    stop({"x": unknown()}, tmp_path)
    with pytest.raises(ValueError, match="as many batches of them: 4. Received: 2, and then their end. Give"):
        train({"x": unknown(16)}, tmp_path, save_freq=1)


@RUNS_OUT
@pytest.mark.parametrize("at_once", [1, 2])
def test_an_epoch_of_unknown_size_goes_on(at_once, tmp_path):
    arguments = {"save_freq": 1, "steps_per_execution": at_once}
    expected = train({"x": unknown()}, tmp_path / "undisturbed", **arguments)
    with pytest.raises(StoppedError):
        train({"x": unknown()}, tmp_path / "backup", StopAt(epoch=1), **arguments)
    check_same(train({"x": unknown()}, tmp_path / "backup", **arguments), expected)


def test_batches_left_over_at_the_end_of_an_epoch_are_an_error(tmp_path):
    """Within a `CallbackList`, no callback is told the size of an epoch beforehand."""
    stop({"x": dataset()}, tmp_path)
    kept = (tmp_path / "latest.weights.h5").read_bytes()
    model = build()
    backup = keras.callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)
    callbacks = keras.callbacks.CallbackList([backup, StopAt(epoch=1)], model=model)
    with pytest.raises(ValueError, match="as many batches of them: 4. Received: 2, and then their end. Give"):
        model.fit(dataset(16), epochs=2, verbose=0, callbacks=callbacks)
    assert (tmp_path / "latest.weights.h5").read_bytes() == kept
    assert type(model.train_function).__name__ != "CatchUp"


def test_a_callback_may_stop_a_training_among_batches_that_were_trained_before(tmp_path):
    class Ends(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

    stop(arrays(), tmp_path)
    model, history = train(arrays(), tmp_path, Ends(), save_freq=1)
    assert len(history["loss"]) == 1
    assert model.optimizer.iterations.numpy() == 4
    assert (model.progress.epochs, model.progress.batches, model.progress.loaded) == (1, 0, False)


@RUNS_OUT
@pytest.mark.parametrize("kind", others_slow(["arrays", "data set", "unknown"], ["arrays"]))
def test_epochs_of_another_size_go_on_between_two(kind, tmp_path):
    before, after = {
        "arrays": (arrays, fewer),
        "data set": (lambda: {"x": dataset()}, lambda: {"x": dataset(16)}),
        "unknown": (lambda: {"x": unknown()}, lambda: {"x": dataset(16)}),
    }[kind]
    with pytest.raises(StoppedError):
        train(before(), tmp_path, StopAt(epoch=2))
    with pytest.raises(StoppedError):
        train(after(), tmp_path, StopAt(batch=4), save_freq=1)
    model, history = train(after(), tmp_path, save_freq=1)  # within an epoch of the new size
    # Where the size is not known, the optimizer counts one step more at the end of each pass.
    assert model.optimizer.iterations.numpy() == 2 * (5 + (kind == "unknown")) + 2 * 2
    assert (len(history["loss"]), model.progress.size) == (1, 2)


@pytest.mark.parametrize(
    ("before", "after", "at_once"),
    [
        pytest.param(lambda: endless(5), lambda: endless(6), 2, marks=pytest.mark.slow),  # Keras takes 6 for both
        (lambda: {"x": dataset()}, lambda: endless(5), 1),
        pytest.param(
            lambda: {"x": dataset()}, lambda: {"x": dataset(), "steps_per_epoch": 5}, 2, marks=pytest.mark.slow
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:The training goes on after 0 epochs, with examples in another order")
@RUNS_OUT
def test_as_many_batches_in_an_epoch_by_other_arguments_go_on(before, after, at_once, tmp_path):
    stop(before(), tmp_path, 3, steps_per_execution=at_once)
    model, history = train(after(), tmp_path, save_freq=1, steps_per_execution=at_once)
    assert len(history["loss"]) == 4
    assert model.progress.epochs == 4


def older_numbers(missing):
    """Those of a file that was written before some were added, `size` the last of them."""
    return _progress._NUMBERS[: _progress._NUMBERS.index("size") + 1 - missing]


@pytest.mark.parametrize("missing", others_slow([1, 3], [3]))
def test_files_that_do_not_know_the_size_of_an_epoch_go_on(missing, tmp_path, monkeypatch):
    expected = train(endless(3), tmp_path / "undisturbed")
    with monkeypatch.context() as older:
        older.setattr(_progress, "_NUMBERS", older_numbers(missing))
        with pytest.raises(StoppedError):
            train(endless(3), tmp_path / "backup", StopAt(epoch=2))
    found = train(endless(3), tmp_path / "backup")
    check_same(found, expected)
    assert (found[0].progress.taken, found[0].progress.size) == (3, 3)


def test_files_that_do_not_know_the_size_of_an_epoch_go_on_within_one(tmp_path, monkeypatch):
    expected = train(arrays(), tmp_path / "undisturbed", save_freq=1)
    with monkeypatch.context() as older:
        older.setattr(_progress, "_NUMBERS", older_numbers(1))
        stop(arrays(), tmp_path / "backup", 10)
    with pytest.raises(ValueError, match="interrupted within an epoch, after 4 batches. Received: .* an epoch has 2"):
        train(fewer(), tmp_path / "backup", save_freq=1)
    check_same(train(arrays(), tmp_path / "backup", save_freq=1), expected)
