"""What a restored training does: its epoch, its metrics, and where it ends."""

import functools
import json

import keras
import pytest

from tests.models import largest_difference, others_slow, two_task_data
from tests.unit.model._resuming import (
    DATA,
    EPOCHS,
    RUNS_OUT,
    StopAt,
    StoppedError,
    arrays,
    build,
    check_same,
    dataset,
    train,
)


@RUNS_OUT
@pytest.mark.parametrize("save_freq", others_slow(["epoch", 3], [3]))
@pytest.mark.parametrize("kind", others_slow(DATA, ["known"]))
def test_it_ends_where_one_without_an_interruption_does(kind, save_freq, tmp_path):
    expected = train(DATA[kind](), tmp_path / "undisturbed", save_freq=save_freq)
    with pytest.raises(StoppedError):
        train(DATA[kind](), tmp_path / "backup", StopAt(batch=11), save_freq=save_freq)
    found = train(DATA[kind](), tmp_path / "backup", save_freq=save_freq)
    assert len(found[1]["loss"]) < EPOCHS
    check_same(found, expected)


@pytest.mark.parametrize("save_freq", others_slow([2, 5], [5]))
@pytest.mark.parametrize("case", others_slow([(40, 2), (48, 2), (40, 1)], [(40, 2)]))
def test_several_steps_at_once_and_saves_at_the_last_batch(case, save_freq, tmp_path):
    size, at_once = case
    arguments = {"save_freq": save_freq, "steps_per_execution": at_once}
    expected = train({"x": dataset(size)}, tmp_path / "undisturbed", **arguments)
    with pytest.raises(StoppedError):
        train({"x": dataset(size)}, tmp_path / "backup", StopAt(epoch=2), **arguments)
    check_same(train({"x": dataset(size)}, tmp_path / "backup", **arguments), expected)


@pytest.mark.parametrize(("stop", "before", "after"), [({"batch": 4}, 1, 2), ({"epoch": 2}, 2, 1)])
def test_other_steps_at_once_within_an_epoch_are_refused(stop, before, after, tmp_path):
    """The second stops after the last batch, of five, which Keras counts as the sixth."""
    save_freq = 3 if "batch" in stop else 5
    with pytest.raises(StoppedError):
        train({"x": dataset()}, tmp_path, StopAt(**stop), save_freq=save_freq, steps_per_execution=before)
    with pytest.raises(ValueError, match=f"steps_per_execution={before}. Received: .*={after}"):
        train({"x": dataset()}, tmp_path, save_freq=save_freq, steps_per_execution=after)
    history = train({"x": dataset()}, tmp_path, save_freq=save_freq, steps_per_execution=before)[1]
    assert len(history["loss"]) == EPOCHS - stop.get("epoch", 1) + 1


@pytest.mark.parametrize("balancer", others_slow(["rlw", "famo", "random", "gradnorm"], ["rlw"]))
def test_balancers_with_state_and_random_numbers_go_on(balancer, tmp_path):
    arguments = {"save_freq": 3, "balancer": balancer, "epochs": 3}
    expected = train({"x": dataset()}, tmp_path / "undisturbed", **arguments)
    with pytest.raises(StoppedError):
        train({"x": dataset()}, tmp_path / "backup", StopAt(batch=9), **arguments)
    check_same(train({"x": dataset()}, tmp_path / "backup", **arguments), expected)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["known", "arrays"])
@pytest.mark.parametrize("save_freq", ["epoch", 3])
def test_over_replicas(kind, save_freq, tmp_path, two_replicas):
    with two_replicas.scope():
        expected = train(DATA[kind](), tmp_path / "undisturbed", save_freq=save_freq)
        with pytest.raises(StoppedError):
            train(DATA[kind](), tmp_path / "backup", StopAt(batch=14), save_freq=save_freq)
        check_same(train(DATA[kind](), tmp_path / "backup", save_freq=save_freq), expected)


@pytest.mark.parametrize("kind", others_slow(["known", "arrays"], ["known"]))
@pytest.mark.parametrize("same", [False, True], ids=["made anew", "the same data set"])
def test_a_loaded_model_goes_on_from_its_epoch(kind, same, tmp_path):
    path = str(tmp_path / "{epoch}.keras")
    data = DATA[kind]()
    model = build()
    logs = model.fit(**data, epochs=EPOCHS, verbose=0, callbacks=[keras.callbacks.ModelCheckpoint(path)]).history
    again = DATA[kind]()
    first = build()
    first.fit(**again, epochs=2, verbose=0, callbacks=[keras.callbacks.ModelCheckpoint(path)])
    loaded = keras.saving.load_model(tmp_path / "2.keras")
    assert (loaded.progress.epochs, loaded.progress.batches) == (2, 0)
    data = again if same else DATA[kind]()
    other_logs = loaded.fit(**data, initial_epoch=2, epochs=EPOCHS, verbose=0).history
    check_same((loaded, other_logs), (model, logs))


def test_a_loaded_model_begins_anew_where_it_is_not_told_to_go_on(tmp_path):
    model = build()
    model.fit(dataset(), epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert len(loaded.fit(dataset(), epochs=3, verbose=0).epoch) == 3
    assert loaded.progress.epochs == 3


@pytest.mark.parametrize("notes", others_slow(['{"epoch": 1, "batch": 0}', '{"epo', "", None], ['{"epo']))
def test_the_weights_say_which_epoch_it_is_and_not_the_notes_of_keras(notes, tmp_path):
    expected = train({"x": dataset()}, tmp_path / "undisturbed", epochs=3)
    with pytest.raises(StoppedError):
        train({"x": dataset()}, tmp_path / "backup", StopAt(epoch=2))
    path = tmp_path / "backup" / "training_metadata.json"
    assert json.loads(path.read_text()) == {"epoch": 2, "batch": 0}
    path.unlink() if notes is None else path.write_text(notes)
    found = train({"x": dataset()}, tmp_path / "backup", epochs=3)
    assert len(found[1]["loss"]) == 1
    check_same(found, expected)


def test_weights_without_progress_take_back_that_of_a_file_before(tmp_path):
    keras.Model.save_weights(build(), tmp_path / "plain.weights.h5")  # never trained
    model = build()
    model.fit(dataset(), epochs=2, verbose=0)
    model.save_weights(tmp_path / "trained.weights.h5")
    model.load_weights(tmp_path / "trained.weights.h5")
    assert (model.progress.epochs, model.progress.loaded) == (2, True)
    model.load_weights(tmp_path / "plain.weights.h5")
    assert (model.progress.epochs, model.progress.loaded) == (0, False)


def test_notes_without_weights_do_not_end_a_training_before_it_begins(tmp_path):
    tmp_path.joinpath("training_metadata.json").write_text(f'{{"epoch": {EPOCHS}, "batch": 0}}')
    assert len(train({"x": dataset()}, tmp_path)[1]["loss"]) == EPOCHS


def test_weights_without_progress_and_notes_cut_short_are_an_error(tmp_path):
    keras.Model.save_weights(build(), tmp_path / "latest.weights.h5")  # never trained, so it has no progress
    (tmp_path / "training_metadata.json").write_text('{"epo')
    with pytest.raises(ValueError, match="does not say which epoch it is of.*Remove the folder to begin anew"):
        train({"x": dataset()}, tmp_path)


def test_a_backup_that_is_cut_short_is_named(tmp_path):
    (tmp_path / "latest.weights.h5").write_bytes(b"half")
    with pytest.raises(OSError, match="`.*latest.weights.h5` could not be read"):
        train({"x": dataset()}, tmp_path)


def test_the_epoch_of_a_restored_training_is_not_that_of_the_next(tmp_path):
    train({"x": dataset()}, tmp_path, epochs=2)
    model, logs = train({"x": dataset()}, tmp_path, epochs=3)
    assert len(logs["loss"]) == 1
    assert model.fit(dataset(), epochs=3, verbose=0).epoch == [0, 1, 2]


def test_checkpoints_of_batches_that_were_trained_before_are_left(tmp_path):
    def checkpoint():
        return keras.callbacks.ModelCheckpoint(str(tmp_path / "{epoch}-{batch}.weights.h5"), save_freq=1)

    with pytest.raises(StoppedError):
        train({"x": dataset()}, tmp_path / "backup", checkpoint(), StopAt(batch=5), save_freq=3)
    old = (tmp_path / "1-2.weights.h5").read_bytes()
    train({"x": dataset()}, tmp_path / "backup", checkpoint(), save_freq=3, epochs=1)
    assert (tmp_path / "1-2.weights.h5").read_bytes() == old
    assert (tmp_path / "1-5.weights.h5").exists()


def test_callbacks_that_make_the_train_function_anew_or_observe_batches(tmp_path):
    seen = []

    class Renewing(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.make_train_function(force=True)

        def on_train_batch_begin(self, batch, logs=None):
            self.model.observe_next_batch(lambda data: seen.append(batch))

    expected = train({"x": dataset()}, tmp_path / "undisturbed", Renewing(), save_freq=3, epochs=2)
    with pytest.raises(StoppedError):
        train({"x": dataset()}, tmp_path / "backup", Renewing(), StopAt(batch=5), save_freq=3)
    seen.clear()
    check_same(train({"x": dataset()}, tmp_path / "backup", Renewing(), save_freq=3, epochs=2), expected)
    assert seen == [3, 4, 0, 1, 2, 3, 4]


@pytest.mark.parametrize("changed", [{"on_nonfinite": "skip"}, {"metrics": {"b": ["mean_squared_error"]}}])
def test_metrics_that_are_new_count_what_remains_of_the_epoch(changed, tmp_path):
    expected = train({"x": dataset()}, tmp_path / "undisturbed", save_freq=3, epochs=2)
    with pytest.raises(StoppedError):
        train({"x": dataset()}, tmp_path / "backup", StopAt(batch=9), save_freq=3)
    with pytest.warns(UserWarning, match="goes on within epoch 2, with metrics that it did not have before"):
        found = train({"x": dataset()}, tmp_path / "backup", save_freq=3, epochs=2, **changed)
    assert largest_difference(found[0], expected[0]) <= 1e-6
    assert found[1]["a_accuracy"] == pytest.approx(expected[1]["a_accuracy"][1:])


def test_what_a_callback_loads_does_not_change_how_far_the_training_is(tmp_path):
    class Loads(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seed = self.model.progress.seed
            self.model.load_weights(tmp_path / "other.weights.h5")
            seen.append((self.model.progress.epochs, self.model.progress.seed == seed))

    seen = []
    other = build()
    other.fit(**arrays(), epochs=4, verbose=0)
    other.save_weights(tmp_path / "other.weights.h5")
    train(arrays(), tmp_path / "backup", Loads(), epochs=2)
    assert seen == [(1, True), (2, True)]


def test_without_callbacks_that_save_keras_is_given_what_was_given(monkeypatch):
    @functools.wraps(keras.Model.fit)
    def fit(self, *args, **kwargs):
        return args, kwargs

    monkeypatch.setattr(keras.Model, "fit", fit)
    x, y = two_task_data(16)
    args, kwargs = build().fit(x, y, batch_size=8)
    assert args[0] is x
    assert kwargs.keys() <= {"batch_size", "callbacks"}
    assert {"batch_size", "callbacks"} - kwargs.keys() == set() or len(args) > 2


def test_the_model_counts_epochs_and_batches(tmp_path):
    seen = []
    model = build()
    assert (model.progress.epochs, model.progress.batches) == (0, 0)
    look = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: seen.append((model.progress.epochs, model.progress.batches)),
        on_train_batch_end=lambda batch, logs: seen.append((model.progress.epochs, model.progress.batches)),
        on_epoch_end=lambda epoch, logs: seen.append((model.progress.epochs, model.progress.batches)),
    )
    model.fit(dataset(16), epochs=2, verbose=0, callbacks=look)
    assert seen == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 0), (1, 1), (1, 2), (2, 0)]


def test_a_train_function_that_is_made_anew_among_batches_that_were_trained_before(tmp_path):
    class Renewing(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 1:
                self.model.make_train_function(force=True)

    expected = train({"x": dataset()}, tmp_path / "undisturbed", Renewing(), save_freq=3, epochs=2)
    with pytest.raises(StoppedError):
        train({"x": dataset()}, tmp_path / "backup", Renewing(), StopAt(batch=10), save_freq=3)
    found = train({"x": dataset()}, tmp_path / "backup", Renewing(), save_freq=3, epochs=2)
    check_same(found, expected)
    assert type(found[0].train_function).__name__ != "CatchUp"


def test_an_interrupted_training_leaves_the_train_function_as_it_was(tmp_path):
    with pytest.raises(StoppedError):
        train({"x": dataset()}, tmp_path, StopAt(batch=5), save_freq=3)
    model = build()
    backup = keras.callbacks.BackupAndRestore(tmp_path, save_freq=3)
    with pytest.raises(StoppedError):
        model.fit(dataset(), epochs=2, verbose=0, callbacks=[backup, StopAt(batch=2)])
    assert not model.progress.catching_up
    assert type(model.train_function).__name__ != "CatchUp"
    assert model.fit(dataset(), epochs=1, verbose=0).epoch == [0]
