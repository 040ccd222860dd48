"""The place in the data of a restored training: found, or told of where it is not."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.models import others_slow, two_task_data
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


def test_data_that_end_before_the_place_is_reached_are_an_error(tmp_path):
    def batches(number):
        return {"x": (batch for batch in dataset().repeat().take(number)), "steps_per_epoch": 4}

    with pytest.raises(StoppedError):
        train(batches(12), tmp_path, StopAt(epoch=2), epochs=3)
    with pytest.raises(ValueError, match="as many batches of them: 8. Received: 6, and then their end. Give"):
        train(batches(6), tmp_path, epochs=3)


@pytest.mark.parametrize("save", [keras.callbacks.BackupAndRestore, keras.callbacks.ModelCheckpoint])
def test_arrays_of_other_lengths_are_an_error_as_without_callbacks(save, tmp_path):
    x, y = two_task_data(40)
    for others in ({"x": x[:32], "y": y}, {"x": x, "y": y, "sample_weight": {"a": np.ones(60)}}):
        model = build()
        with pytest.raises(ValueError, match=r"the same number of examples.*Received: .*\((32, 6|60,)\)"):
            model.fit(**others, verbose=0, callbacks=[save(tmp_path / "kept.keras")])
        assert model.optimizer.iterations.numpy() == 0


LOST = {
    "a PyDataset": (lambda: {"x": Batches()}, "Pass shuffle=False"),
    "split": (lambda: {**arrays(), "validation_data": None, "validation_split": 0.2}, "`validation_data` in place"),
    "by batches": (lambda: {**arrays(), "shuffle": "batch"}, "Keras draws the order. Pass shuffle=True"),
    "unknown size with steps": (
        lambda: {"x": unknown(), "steps_per_epoch": 3},
        "or no end: `repeat\\(\\)` it, as the last",
    ),
    "steps": (lambda: {"x": dataset().repeat(2), "steps_per_epoch": 3}, "a multiple of `steps_per_epoch`"),
}


@RUNS_OUT
@pytest.mark.parametrize("kind", others_slow(LOST, ["split", "unknown size with steps"]))
def test_it_says_where_the_place_in_the_data_is_lost(kind, tmp_path):
    data, why = LOST[kind]
    train(data(), tmp_path, epochs=1)
    with pytest.warns(UserWarning, match=f"goes on after 1 epochs, with examples in another order.*{why}"):
        train(data(), tmp_path, epochs=2)


def test_a_pydataset_in_its_own_order_goes_on(tmp_path):
    data = {"x": Batches(), "shuffle": False}
    expected = train(data, tmp_path / "undisturbed", save_freq=3)
    with pytest.raises(StoppedError):
        train(data, tmp_path / "backup", StopAt(batch=10), save_freq=3)
    check_same(train(data, tmp_path / "backup", save_freq=3), expected)


class Reordered(Batches):
    """In another order in each epoch, by itself."""

    def on_epoch_end(self):
        self._x = self._x[::-1]


@pytest.mark.parametrize("save_freq", ["epoch", 1], ids=["between", "within"])
def test_a_pydataset_that_reorders_itself_is_told_after_the_first_epoch(save_freq, tmp_path):
    with pytest.raises(StoppedError):
        train({"x": Reordered(), "shuffle": False}, tmp_path, StopAt(batch=9), save_freq=save_freq)
    with pytest.warns(UserWarning, match="after 1 epochs, with .* another order.*`on_epoch_end` of its own, which is"):
        train({"x": Reordered(), "shuffle": False}, tmp_path, save_freq=save_freq, epochs=2)


def test_a_pydataset_that_reorders_itself_goes_on_within_the_first_epoch(tmp_path):
    def data():
        return {"x": Reordered(), "shuffle": False}

    expected = train(data(), tmp_path / "undisturbed", save_freq=1, epochs=1)
    with pytest.raises(StoppedError):
        train(data(), tmp_path / "backup", StopAt(batch=4), save_freq=1)
    check_same(train(data(), tmp_path / "backup", save_freq=1, epochs=1), expected)


def test_a_data_set_that_was_read_on_is_told(tmp_path):
    data = dataset()
    with pytest.raises(StoppedError):
        train({"x": data}, tmp_path, StopAt(epoch=3))
    train({"x": data}, tmp_path / "other", epochs=1)
    with pytest.warns(UserWarning, match="was read more often than that. Make it anew"):
        train({"x": data}, tmp_path)


@pytest.mark.parametrize("stop", [StopAt(batch=8), StopAt(batch=5)], ids=["within an epoch", "within the first"])
@pytest.mark.parametrize("kind", others_slow(["known", "endless", "generator"], ["generator"]))
def test_the_same_data_after_a_stop_within_an_epoch_are_told(kind, stop, tmp_path):
    data = DATA[kind]()
    stop.seen = 0
    with pytest.raises(StoppedError):
        train(data, tmp_path, stop, save_freq=2)
    with pytest.warns(UserWarning, match="was read more often than that. Make it anew"):
        train(data, tmp_path, save_freq=2)


def test_the_same_data_set_after_a_stop_between_epochs_goes_on(tmp_path):
    expected = train({"x": dataset()}, tmp_path / "undisturbed")
    data = dataset()
    with pytest.raises(StoppedError):
        train({"x": data}, tmp_path / "backup", StopAt(epoch=2))
    check_same(train({"x": data}, tmp_path / "backup"), expected)


@pytest.mark.parametrize("stopped_early", [False, True])
def test_a_second_training_on_the_same_data_set(stopped_early, tmp_path):
    class StopTraining(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = stopped_early and batch == 2

    def trained(folder, *callbacks):
        data, model = dataset(), build()
        model.fit(data, epochs=1, verbose=0, callbacks=[StopTraining()])
        backup = keras.callbacks.BackupAndRestore(folder, delete_checkpoint=False)
        return model, model.fit(data, epochs=3, verbose=0, callbacks=[*callbacks, backup]).history

    expected = trained(tmp_path / "undisturbed")
    with pytest.raises(StoppedError):
        trained(tmp_path / "backup", StopAt(batch=13))
    check_same(trained(tmp_path / "backup"), expected)


@pytest.mark.parametrize("kind", ["known", "endless"])
def test_a_training_that_begins_with_a_later_epoch(kind, tmp_path):
    def trained(folder, *callbacks):
        model = build()
        backup = keras.callbacks.BackupAndRestore(folder, delete_checkpoint=False)
        return model, model.fit(
            **DATA[kind](), initial_epoch=1, epochs=3, verbose=0, callbacks=[*callbacks, backup]
        ).history

    expected = trained(tmp_path / "undisturbed")
    with pytest.raises(StoppedError):
        trained(tmp_path / "backup", StopAt(epoch=2))
    check_same(trained(tmp_path / "backup"), expected)


@pytest.mark.parametrize("first", others_slow(["same", "other"], ["other"]))
def test_an_earlier_training_on_the_data_set_that_the_next_process_has_not(first, tmp_path):
    def later(folder, *callbacks, data, epochs=3):
        return train({"x": data}, folder, *callbacks, epochs=epochs)

    data = dataset()
    build().fit(data, epochs=1, verbose=0)
    expected = later(tmp_path / "undisturbed", data=data)
    data = dataset()
    build().fit(data, epochs=1, verbose=0)
    with pytest.raises(StoppedError):
        later(tmp_path / "backup", StopAt(epoch=2), data=data)
    check_same(later(tmp_path / "backup", data=data if first == "same" else dataset()), expected)


def test_a_stream_that_was_read_before_and_is_not_in_the_next_process(tmp_path):
    data = DATA["endless"]()
    build().fit(**data, epochs=1, verbose=0)
    with pytest.raises(StoppedError):
        train(data, tmp_path, StopAt(epoch=2))
    with pytest.warns(UserWarning, match="found its data set read by others. Make it anew for each `fit`"):
        train(DATA["endless"](), tmp_path)


def test_a_shuffle_that_training_and_validation_share_is_told(tmp_path):
    def data(**kwargs):
        x = tf.data.Dataset.from_tensor_slices(two_task_data(48)).shuffle(48, seed=1, **kwargs)
        return {"x": x.skip(8).batch(8), "validation_data": x.take(8).batch(8)}

    train(data(), tmp_path / "shared", epochs=1)
    with pytest.warns(UserWarning, match="share a `shuffle`.*reshuffle_each_iteration=False"):
        train(data(), tmp_path / "shared", epochs=2)
    same = {"reshuffle_each_iteration": False}
    expected = train(data(**same), tmp_path / "undisturbed", epochs=2)
    train(data(**same), tmp_path / "backup", epochs=1)
    (model, logs), (other, other_logs) = train(data(**same), tmp_path / "backup", epochs=2), expected
    check_same((model, logs), (other, other_logs))


def test_arrays_in_an_order_of_keras_are_told(tmp_path):
    model = build()
    model.fit(**arrays(), epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    with pytest.warns(
        UserWarning, match="after 2 epochs, .*Before, Keras drew the order. It is kept where `fit` has a"
    ):
        loaded.fit(**arrays(), initial_epoch=2, epochs=3, verbose=0)
    loaded.save(tmp_path / "model.keras")  # from there on it can be found
    keras.saving.load_model(tmp_path / "model.keras").fit(**arrays(), initial_epoch=3, epochs=4, verbose=0)


@pytest.mark.slow
def test_an_order_of_keras_over_replicas_is_told(tmp_path, two_replicas):
    with two_replicas.scope():
        model = build()
        model.fit(dataset(), epochs=1, verbose=0)
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        with pytest.warns(UserWarning, match="Before, Keras drew the order"):
            loaded.fit(dataset(), initial_epoch=1, epochs=2, verbose=0)
