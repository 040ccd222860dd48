"""What `fit` leaves where it trains nothing, and which files and arguments have a say in how far a training is."""

import contextlib

import keras
import pytest
import tensorflow as tf

from keras_mtl.model import _stored_model
from tests.models import largest_difference, others_slow, two_task_data
from tests.unit.model._resuming import RUNS_OUT, StopAt, StoppedError, arrays, build, check_same, dataset, train


@pytest.fixture
def loaded(tmp_path):
    """A model as it was after the third batch of the second epoch."""
    save = keras.callbacks.ModelCheckpoint(tmp_path / "model.keras", save_freq=8)
    build().fit(**arrays(), epochs=2, verbose=0, callbacks=[save])
    model = keras.saving.load_model(tmp_path / "model.keras")
    assert (model.progress.epochs, model.progress.batches) == (1, 3)
    return model


class Raises(keras.callbacks.Callback):
    """Raises before the numbered batch of an epoch, or before the first epoch."""

    def __init__(self, batch=None):
        super().__init__()
        self.batch = batch

    def on_train_begin(self, logs=None):
        if self.batch is None:
            raise StoppedError

    def on_train_batch_begin(self, batch, logs=None):
        if batch == self.batch:
            raise StoppedError


def test_a_loaded_model_goes_on_after_calls_that_were_refused(loaded):
    with pytest.raises(ValueError, match="within an epoch of 5 batches"):
        loaded.fit(**{**arrays(), "batch_size": 20}, initial_epoch=1, epochs=2, verbose=0)
    with pytest.raises(ValueError, match="'b'"):
        loaded.fit(arrays()["x"], {"a": arrays()["y"]["a"]}, initial_epoch=1, epochs=2, verbose=0)
    for batch in (None, 1, 3):  # the fourth batch is the first that is trained
        with pytest.raises(StoppedError):
            loaded.fit(**arrays(), initial_epoch=1, epochs=2, verbose=0, callbacks=[Raises(batch)])
    assert (loaded.progress.epochs, loaded.progress.batches, loaded.progress.loaded) == (1, 3, True)
    loaded.fit(**arrays(), initial_epoch=1, epochs=2, verbose=0)
    assert loaded.optimizer.iterations.numpy() == 10
    assert not loaded.progress.loaded


def test_a_loaded_model_that_was_trained_is_no_longer_where_it_was(loaded):
    with pytest.raises(StoppedError):
        loaded.fit(**arrays(), initial_epoch=1, epochs=2, verbose=0, callbacks=[Raises(4)])
    assert not loaded.progress.loaded
    assert loaded.progress.batches == 4


def test_labels_that_are_refused_within_the_first_step_leave_the_place(loaded):
    data = dataset()
    with pytest.raises(ValueError, match="'a'"):
        loaded.fit(data.map(lambda x, y: (x, {**y, "a": y["a"] + 9})), initial_epoch=0, epochs=2, verbose=0)
    assert (loaded.progress.epochs, loaded.progress.batches, loaded.progress.loaded) == (1, 3, True)


def test_a_training_that_found_a_backup_and_trained_nothing_is_where_the_backup_is(tmp_path):
    with pytest.raises(StoppedError):
        train(arrays(), tmp_path, StopAt(batch=9), save_freq=1)
    model = build()
    backup = keras.callbacks.BackupAndRestore(tmp_path, save_freq=1)
    with pytest.raises(StoppedError):
        model.fit(**arrays(), epochs=2, verbose=0, callbacks=[backup, Raises(1)])
    assert (model.progress.epochs, model.progress.batches, model.progress.loaded) == (1, 3, True)
    model.fit(**arrays(), initial_epoch=1, epochs=2, verbose=0)
    assert model.optimizer.iterations.numpy() == 10


class Warm(keras.callbacks.Callback):
    def __init__(self, path):
        super().__init__()
        self.path = path

    def on_train_begin(self, logs=None):
        self.model.load_weights(self.path)


@pytest.fixture
def warm(tmp_path):
    """A callback that begins with weights that were trained for three epochs."""
    model = build()
    model.fit(**arrays(), epochs=3, verbose=0)
    model.save_weights(tmp_path / "warm.weights.h5")
    return Warm(tmp_path / "warm.weights.h5")


def test_weights_that_a_callback_begins_with_are_no_backup(warm):
    model = build()
    assert model.fit(**arrays(), epochs=2, verbose=0, callbacks=[warm]).epoch == [0, 1]
    assert model.optimizer.iterations.numpy() == 15 + 10
    assert (model.progress.epochs, model.progress.deaf) == (2, False)


def test_beside_such_weights_a_backup_counts(warm, tmp_path):
    with pytest.raises(StoppedError):
        train(arrays(), tmp_path / "backup", warm, StopAt(epoch=1))
    _, logs = train(arrays(), tmp_path / "backup", warm, epochs=3)
    assert len(logs["loss"]) == 2
    other = keras.callbacks.BackupAndRestore(tmp_path / "other")  # the first of two, and there is none in its folder
    _, logs = train(arrays(), str(tmp_path / "backup") + "/", other, epochs=4)
    assert len(logs["loss"]) == 1


@pytest.mark.parametrize("batch", others_slow([4, 6, 9], [4]))
def test_a_backup_goes_before_a_later_epoch_to_begin_with(batch, tmp_path):
    stop = StopAt(batch=batch)
    with pytest.raises(StoppedError):
        train(arrays(), tmp_path, stop, save_freq="epoch" if batch == 6 else 1)
    model = build()
    backup = keras.callbacks.BackupAndRestore(tmp_path, save_freq=1)
    reached = f"{batch // 6} epochs and {(batch - 1) % 5} batches"
    with pytest.warns(UserWarning, match=f"as far as {reached}: the model has its .*=2. To begin .*: `{tmp_path}`"):
        history = model.fit(**arrays(), initial_epoch=2, epochs=4, verbose=0, callbacks=[backup])
    assert history.epoch == list(range(batch // 6, 4))
    assert model.optimizer.iterations.numpy() == 20


def test_a_checkpoint_may_be_further_on_than_the_backup(tmp_path):
    """Keras saves within epochs alone where it saves each few batches, and a checkpoint at their ends."""

    def script(*callbacks):
        path = tmp_path / "checkpoint.keras"
        model = keras.saving.load_model(path) if path.exists() else build()
        saving = [keras.callbacks.ModelCheckpoint(path), keras.callbacks.BackupAndRestore(tmp_path / "b", save_freq=3)]
        begin = model.progress.epochs if path.exists() else 0
        return model, model.fit(
            **arrays(), initial_epoch=begin, epochs=2, verbose=0, callbacks=[*callbacks, *saving]
        ).history

    with pytest.raises(StoppedError):
        script(StopAt(batch=6))
    with pytest.warns(UserWarning, match="as far as 0 epochs and 3 batches: the model"):
        found = script()
    assert found[0].optimizer.iterations.numpy() == 10
    check_same(found, train(arrays(), tmp_path / "undisturbed", epochs=2))


class RaisesAtEpochEnd(keras.callbacks.Callback):
    """Raises at the end of an epoch, before the callbacks after it."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            raise StoppedError


def test_an_epoch_that_is_only_caught_up_has_ended(tmp_path):
    with pytest.raises(StoppedError):
        train(arrays(), tmp_path / "backup", RaisesAtEpochEnd(1), save_freq=5, epochs=2)
    model, _ = train(arrays(), tmp_path / "backup", save_freq=5, epochs=2)
    assert model.optimizer.iterations.numpy() == 10
    assert (model.progress.epochs, model.progress.batches) == (2, 0)
    model.save(tmp_path / "model.keras")
    found = keras.saving.load_model(tmp_path / "model.keras")
    logs = found.fit(**arrays(), initial_epoch=2, epochs=3, verbose=0).history
    check_same((found, logs), train(arrays(), tmp_path / "undisturbed", epochs=3))


@pytest.mark.parametrize("accumulated", others_slow([None, 20], [None]))
def test_steps_at_once_of_which_the_first_were_taken_are_no_place_to_go_on(accumulated, tmp_path):
    """With a label in the last of four batches that no task admits."""
    model = build()
    optimizer = keras.optimizers.Adam(0.01, gradient_accumulation_steps=accumulated)
    model.compile(optimizer, balancer="dwa", steps_per_execution=4)
    save = keras.callbacks.ModelCheckpoint(tmp_path / "model.keras")
    model.fit(dataset(32), verbose=0, callbacks=[save])
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x, y = two_task_data(32)
    y["a"][-1] = 9
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
    with pytest.raises(ValueError, match="'a'"):
        loaded.fit(data, initial_epoch=1, epochs=2, verbose=0)
    assert int(loaded.optimizer.variables[0]) > 4
    assert not loaded.progress.loaded


@pytest.mark.parametrize("accumulated", others_slow([None, 3], [None]))
def test_several_steps_at_once_that_failed_before_the_first_leave_the_place(accumulated, tmp_path):
    """By weights of wrong axes, by data that were used up, and by a callback."""

    def compiled():
        model = build()
        optimizer = keras.optimizers.Adam(0.01, gradient_accumulation_steps=accumulated)
        model.compile(optimizer, balancer="dwa", steps_per_execution=2)
        return model

    def stream():
        return dataset(32).repeat()

    compiled().fit(
        stream(), steps_per_epoch=4, verbose=0, callbacks=[keras.callbacks.ModelCheckpoint(tmp_path / "model.keras")]
    )
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    goes_on = {"steps_per_epoch": 4, "initial_epoch": 1, "epochs": 2, "verbose": 0}
    with pytest.raises(ValueError, match="Sample weights of task 'a'"):
        loaded.fit(stream().map(lambda x, y: (x, y, {"a": tf.ones([8, 3])})), **goes_on)
    with pytest.raises(ValueError, match="read past as many batches of them: 4. Received: 3"):
        loaded.fit((batch for batch in dataset(24)), **goes_on)
    with pytest.raises(StoppedError):
        loaded.fit(stream(), **goes_on, callbacks=[Raises(0)])
    assert (loaded.progress.epochs, loaded.progress.batches, loaded.progress.loaded) == (1, 0, True)
    loaded.fit(stream(), **goes_on)
    expected = compiled()
    expected.fit(stream(), steps_per_epoch=4, epochs=2, verbose=0)
    assert largest_difference(loaded, expected) <= 1e-6


@RUNS_OUT
def test_data_without_a_batch_leave_the_place(tmp_path):
    model = build()
    model.fit(dataset(), verbose=0, callbacks=[keras.callbacks.ModelCheckpoint(tmp_path / "model.keras")])
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    loaded.fit(dataset().filter(lambda x, y: False), initial_epoch=1, epochs=3, verbose=0, validation_data=dataset())
    assert (loaded.progress.epochs, loaded.progress.batches, loaded.progress.loaded) == (1, 0, True)


@pytest.mark.parametrize(("save_freq", "stop", "begin"), [(1, StopAt(batch=4), 2), ("epoch", StopAt(epoch=1), 1)])
def test_a_backup_of_plain_weights_takes_precedence_too(save_freq, stop, begin, tmp_path, monkeypatch):
    """As plain Keras writes it: its epoch is in the notes of Keras alone, and not in those within a first epoch."""
    with monkeypatch.context() as plain:
        plain.setattr(_stored_model, "save_progress", lambda *_: None)
        with pytest.raises(StoppedError):
            train(arrays(), tmp_path, stop, save_freq=save_freq)
    model = build()
    backup = keras.callbacks.BackupAndRestore(tmp_path)
    said = pytest.warns(UserWarning, match="as far as 1 epochs and 0 batches: the model .*=2. To begin")
    with contextlib.nullcontext() if begin == 2 else said:
        history = model.fit(**arrays(), initial_epoch=2, epochs=3, verbose=0, callbacks=[backup])
    assert history.epoch == list(range(begin, 3))


def test_an_earlier_epoch_than_that_of_the_backup_is_the_one_of_the_first_start(tmp_path):
    def trained(*callbacks):
        model = build()
        backup = keras.callbacks.BackupAndRestore(tmp_path, save_freq=1, delete_checkpoint=False)
        model.fit(**arrays(), initial_epoch=1, epochs=3, verbose=0, callbacks=[*callbacks, backup])
        return model

    with pytest.raises(StoppedError):
        trained(StopAt(batch=9))
    assert trained().optimizer.iterations.numpy() == 10


class SavesLast(keras.callbacks.Callback):
    def __init__(self, path):
        super().__init__()
        self.path = path

    def on_train_end(self, logs=None):
        self.model.save(self.path)


@pytest.mark.parametrize("epochs", others_slow([1, 2], [2]))
def test_a_backup_that_is_further_on_than_the_training_is_told_and_can_be_saved(epochs, tmp_path):
    with pytest.raises(StoppedError):
        train(arrays(), tmp_path / "backup", StopAt(batch=14), save_freq=1)
    expected = train(arrays(), tmp_path / "undisturbed", epochs=3)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", save_freq=1)
    model = build()
    with pytest.warns(UserWarning, match=f"as far as 2 epochs and 3 batches already, .*: epochs={epochs}. To go "):
        model.fit(**arrays(), epochs=epochs, verbose=0, callbacks=[backup, SavesLast(tmp_path / "end.keras")])
    saved = keras.saving.load_model(tmp_path / "end.keras")
    assert (saved.progress.epochs, saved.progress.batches, saved.progress.size) == (2, 3, 5)
    for each in (saved, model):
        logs = each.fit(**arrays(), initial_epoch=2, epochs=3, verbose=0).history
        check_same((each, logs), expected)


def test_a_loaded_model_that_is_further_on_than_the_training_is_told(loaded):
    with pytest.warns(UserWarning, match="as far as 1 epochs and 3 batches already, .*: epochs=1. To go on"):
        assert loaded.fit(**arrays(), initial_epoch=1, epochs=1, verbose=0).epoch == []
    loaded.fit(**arrays(), initial_epoch=1, epochs=2, verbose=0)
    assert loaded.optimizer.iterations.numpy() == 10
