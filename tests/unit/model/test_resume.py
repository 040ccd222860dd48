"""What a restored training does: its epoch, its place in the data, its metrics."""

import functools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from tests.models import largest_difference, two_task_data

EPOCHS = 4


class StoppedError(Exception):
    """In the place of a kill, within one process."""


class StopAt(keras.callbacks.Callback):
    """Stops a training before a batch of an epoch, counted over all epochs, or at the end of an epoch."""

    def __init__(self, *, batch=None, epoch=None):
        super().__init__()
        self.batch, self.epoch, self.seen = batch, epoch, 0

    def on_train_batch_begin(self, batch, logs=None):
        self.seen += 1
        if self.seen == self.batch:
            raise StoppedError

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise StoppedError


def build(balancer="dwa", **kwargs):
    keras.utils.set_random_seed(0)
    kinds = [mtl.tasks.Classification("a", 4), mtl.tasks.Regression("b")]
    model = mtl.build_model(mtl.backbones.MLP(6, units=(8,), dropout=0.3), kinds)
    model.compile(keras.optimizers.Adam(0.01), balancer=balancer, **kwargs)
    return model


def dataset(size=40):
    return tf.data.Dataset.from_tensor_slices(two_task_data(size)).shuffle(size, seed=1).batch(8)


def unknown():
    return dataset().filter(lambda x, y: True)


def arrays():
    x, y = two_task_data(40)
    return {"x": x, "y": y, "batch_size": 8, "validation_data": (x[:9], {name: value[:9] for name, value in y.items()})}


DATA = {
    "known": lambda: {"x": dataset()},
    "unknown": lambda: {"x": unknown()},
    "endless": lambda: {"x": dataset().repeat(), "steps_per_epoch": 4},
    "endless in the end": lambda: {"x": unknown().repeat(), "steps_per_epoch": 4},
    "several epochs a pass": lambda: {"x": dataset(48), "steps_per_epoch": 3},
    "arrays": arrays,
    "arrays in their order": lambda: {**arrays(), "shuffle": False},
    "weighted arrays": lambda: {**arrays(), "sample_weight": {"a": np.linspace(0, 1, 40)}},
    "class weights": lambda: {**arrays(), "class_weight": {"a": {0: 3.0}}},
    "generator": lambda: {"x": (batch for batch in dataset().repeat()), "steps_per_epoch": 4},
}
RUNS_OUT = pytest.mark.filterwarnings("ignore:Your input ran out of data")


def train(data, folder, *callbacks, save_freq="epoch", epochs=EPOCHS, **kwargs):
    model = build(**kwargs)
    backup = keras.callbacks.BackupAndRestore(folder, save_freq=save_freq, delete_checkpoint=False)
    history = model.fit(**data, epochs=epochs, verbose=0, callbacks=[*callbacks, backup])
    return model, history.history


def check_same(first, second):
    (model, logs), (other, other_logs) = first, second
    assert largest_difference(model, other) <= 1e-6
    for one, two in zip(model.optimizer.variables, other.optimizer.variables, strict=True):
        np.testing.assert_allclose(one.numpy(), two.numpy(), atol=1e-6)
    assert set(logs) == set(other_logs)
    for name, values in logs.items():
        assert values[-1] == pytest.approx(other_logs[name][-1], abs=1e-5), name


def some_slow(values, quick):
    return [value if value in quick else pytest.param(value, marks=pytest.mark.slow) for value in values]


@RUNS_OUT
@pytest.mark.parametrize("save_freq", some_slow(["epoch", 3], [3]))
@pytest.mark.parametrize("kind", some_slow(DATA, ["known", "endless", "arrays"]))
def test_it_ends_where_one_without_an_interruption_does(kind, save_freq, tmp_path):
    expected = train(DATA[kind](), tmp_path / "undisturbed", save_freq=save_freq)
    with pytest.raises(StoppedError):
        train(DATA[kind](), tmp_path / "backup", StopAt(batch=11), save_freq=save_freq)
    found = train(DATA[kind](), tmp_path / "backup", save_freq=save_freq)
    assert len(found[1]["loss"]) < EPOCHS
    check_same(found, expected)


@pytest.mark.parametrize("save_freq", some_slow([2, 5], [5]))
@pytest.mark.parametrize("case", some_slow([(40, 2), (48, 2), (40, 1)], [(40, 2)]))
def test_several_steps_at_once_and_saves_at_the_last_batch(case, save_freq, tmp_path):
    size, at_once = case
    arguments = {"save_freq": save_freq, "steps_per_execution": at_once}
    expected = train({"x": dataset(size)}, tmp_path / "undisturbed", **arguments)
    with pytest.raises(StoppedError):
        train({"x": dataset(size)}, tmp_path / "backup", StopAt(epoch=2), **arguments)
    check_same(train({"x": dataset(size)}, tmp_path / "backup", **arguments), expected)


@pytest.mark.parametrize("balancer", some_slow(["rlw", "famo", "random", "gradnorm"], ["rlw"]))
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


@pytest.mark.parametrize("kind", some_slow(["known", "arrays"], ["known"]))
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


@pytest.mark.parametrize("notes", some_slow(['{"epoch": 1, "batch": 0}', '{"epo', "", None], ['{"epo']))
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


def test_data_that_end_before_the_place_is_reached_are_an_error(tmp_path):
    def batches(number):
        return {"x": (batch for batch in dataset().repeat().take(number)), "steps_per_epoch": 4}

    with pytest.raises(StoppedError):
        train(batches(12), tmp_path, StopAt(epoch=2), epochs=3)
    with pytest.raises(ValueError, match="as many batches of them: 8. Received: 6, and then their end. Give"):
        train(batches(6), tmp_path, epochs=3)


class Batches(keras.utils.PyDataset):
    def __init__(self):
        super().__init__()
        self._x, self._y = two_task_data(40)

    def __len__(self):
        return 5

    def __getitem__(self, index):
        rows = slice(8 * index, 8 * index + 8)
        return self._x[rows], {name: value[rows] for name, value in self._y.items()}


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
@pytest.mark.parametrize("kind", LOST)
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


def test_a_data_set_that_was_read_on_is_told(tmp_path):
    data = dataset()
    with pytest.raises(StoppedError):
        train({"x": data}, tmp_path, StopAt(epoch=3))
    train({"x": data}, tmp_path / "other", epochs=1)
    with pytest.warns(UserWarning, match="was read more often than that. Make it anew"):
        train({"x": data}, tmp_path)


@pytest.mark.parametrize("stop", [StopAt(batch=8), StopAt(batch=5)], ids=["within an epoch", "within the first"])
@pytest.mark.parametrize("kind", ["known", "endless", "generator"])
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


@pytest.mark.parametrize("first", ["same", "other"])
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
