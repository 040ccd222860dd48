"""Wrong labels are told before they are trained on."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import tasks
from tests.models import largest_difference, others_slow, two_task_data, two_task_model


def compiled(**arguments):
    model = two_task_model(**arguments)
    model.compile(keras.optimizers.SGD(0.1))
    return model


def as_arrays(x, y):
    return {"x": x, "y": y}


def as_dataset(x, y):
    return {"x": tf.data.Dataset.from_tensor_slices((x, y)).batch(10)}


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x) // 10

    def __getitem__(self, index):
        rows = slice(10 * index, 10 * index + 10)
        return self.x[rows], {key: value[rows] for key, value in self.y.items()}


def as_py_dataset(x, y):
    return {"x": Batches(x, y)}


def as_generator(x, y):
    batches = Batches(x, y)
    return {"x": (batches[index] for index in range(len(batches))), "steps_per_epoch": len(batches)}


WRONG = {
    "a key that no task has": (
        lambda y: {**y, "c": y["a"]},
        r"keys of the labels should be \['a', 'b'\]. Received: \['a', 'b', 'c'\]; not expected: \['c'\]",
    ),
    "a task without labels": (
        lambda y: {"a": y["a"]},
        r"should be \['a', 'b'\]. Received: \['a'\]; absent: \['b'\]",
    ),
    "an index out of range": (
        lambda y: {**y, "a": np.where(np.arange(40) == 3, 7, y["a"])},
        r"Labels 'a' of task 'a' \(Classification\) should be class indices from 0 to 3. Received: (7|a batch with)",
    ),
    "a negative index": (
        lambda y: {**y, "a": np.where(np.arange(40) == 3, -2, y["a"])},
        r"should be class indices from 0 to 3. Received: (-2|a batch with)",
    ),
    "one-hot labels": (
        lambda y: {**y, "a": np.eye(4, dtype="int32")[y["a"]]},
        r"should be class indices of shape \(batch,\). Received: .*argmax",
    ),
    "classes as floats": (
        lambda y: {**y, "a": y["a"].astype("float32")},
        r"should be of an integer dtype. Received: dtype float32. Pass y.astype",
    ),
    "two numbers for one": (
        lambda y: {**y, "b": np.stack([y["b"], y["b"]], axis=1)},
        r"Labels 'b' of task 'b' \(Regression\) should have shape \(batch,\) or \(batch, 1\)",
    ),
    "numbers as text": (lambda y: {**y, "b": y["b"].astype("S8")}, "should be of an integer or float dtype"),
    "an infinity": (lambda y: {**y, "b": np.where(np.arange(40) == 3, np.inf, y["b"])}, "should be finite numbers"),
}


VALUES = ("an index out of range", "a negative index", "an infinity")


@pytest.mark.parametrize("wrong", list(WRONG))
@pytest.mark.parametrize("given", others_slow([as_arrays, as_dataset, as_py_dataset], by_default=(as_dataset,)))
def test_fit_and_evaluate_refuse(given, wrong):
    spoil, message = WRONG[wrong]
    x, y = two_task_data(40)
    model = compiled()
    weights = model.get_weights()
    # The wrong label is in the first batch, and nothing is trained on.
    for method in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match=message):
            method(**given(x, spoil(y)), verbose=0)
    validation = given(x, spoil(y))
    if given is as_dataset and wrong in VALUES:
        return  # told when it is read, after an epoch of training
    with pytest.raises(ValueError, match=message):
        model.fit(x, y, validation_data=tuple(validation.values()) if "y" in validation else validation["x"], verbose=0)
    for before, after in zip(weights, model.get_weights(), strict=True):
        assert (before == after).all()


def test_a_wrong_batch_of_a_dataset_is_not_trained_on():
    x, y = two_task_data(40)
    y["a"][25] = 9
    model, other = compiled(), compiled()
    with pytest.raises(ValueError, match="indices from 0 to 3. Received: a batch with others"):
        model.fit(**as_dataset(x, y), verbose=0)
    good = {key: value[:20] for key, value in y.items()}
    other.fit(**as_dataset(x[:20], good), verbose=0)
    assert largest_difference(model, other) == 0
    with pytest.raises(ValueError, match="indices from 0 to 3. Received: a batch with others"):
        other.fit(**as_dataset(x[:20], good), validation_data=as_dataset(x, y)["x"], verbose=0)


def test_the_keys_of_a_generator_are_checked_at_the_first_step():
    x, y = two_task_data(40)
    model = compiled()
    with pytest.raises(ValueError, match=r"absent: \['b'\]"):
        model.fit(**as_generator(x, {"a": y["a"]}), verbose=0)
    assert int(model.optimizer.iterations) == 0


def test_labels_that_are_no_dict():
    x, y = two_task_data(40)
    model = compiled()
    with pytest.raises(ValueError, match="Labels should be a dict of arrays with the keys .*Received: ndarray"):
        model.fit(x, y["a"], verbose=0)
    with pytest.raises(ValueError, match="should yield"):
        model.fit(tf.data.Dataset.from_tensor_slices((x, y["a"])).batch(10), verbose=0)
    with pytest.raises(ValueError, match="should yield"):
        model.fit(tf.data.Dataset.from_tensor_slices(x).batch(10), verbose=0)


def test_sample_weights_of_an_unknown_label():
    x, y = two_task_data(40)
    weights = {"a": np.ones(40, "float32"), "z": np.ones(40, "float32")}
    data = tf.data.Dataset.from_tensor_slices((x, y, weights)).batch(10)
    with pytest.raises(ValueError, match=r"keys of the sample weights .*not expected: \['z'\]"):
        compiled().fit(data, verbose=0)


@pytest.mark.parametrize(
    "given", others_slow([as_arrays, as_dataset, as_py_dataset, as_generator], by_default=(as_arrays, as_generator))
)
def test_good_labels_pass(given):
    x, y = two_task_data(40)
    for labels in (y, {"a": y["a"][:, None].astype("int64"), "b": y["b"][:, None]}):
        model = compiled()
        model.fit(**given(x, labels), batch_size=10 if given is as_arrays else None, verbose=0)
        assert int(model.optimizer.iterations) == 4


def test_labels_under_another_key():
    x, y = two_task_data(40)
    model = compiled(a={"label": "colour"})
    labels = {"colour": y["a"], "b": y["b"]}
    weights = {"colour": np.ones(40, "float32"), "b": np.zeros(40, "float32")}
    logs = model.fit(x, labels, sample_weight=weights, verbose=0).history
    assert logs["b_loss"] == [0.0]
    assert logs["a_loss"][0] > 0
    with pytest.raises(ValueError, match=r"should be \['b', 'colour'\]"):
        model.fit(x, y, verbose=0)


def test_nothing_is_read_ahead():
    """A pipeline that is read in part and then again may be cut short by a cache in it."""
    x, y = two_task_data(40)
    read = []

    def note(row):
        read.append(int(row))
        return row

    rows = tf.data.Dataset.range(40).map(lambda i: tf.numpy_function(note, [i], tf.int64))
    labels = {key: tf.constant(value) for key, value in y.items()}
    data = rows.map(
        lambda i: (
            tf.ensure_shape(tf.gather(x, i), (6,)),
            {key: tf.ensure_shape(tf.gather(value, i), ()) for key, value in labels.items()},
        )
    ).batch(10)
    model = compiled()
    model.fit(data, verbose=0)
    assert read == list(range(40))
    read.clear()
    model.evaluate(data, verbose=0)
    assert read == list(range(40))


def test_an_error_of_the_users_pipeline_is_left_as_it_is():
    x, y = two_task_data(40)

    def fail(x, y):
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_any(y["a"] > 9), ["my own check"])]):
            return tf.identity(x), y

    with pytest.raises(tf.errors.InvalidArgumentError, match="my own check"):
        compiled().fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(10).map(fail), verbose=0)


def test_several_numbers_for_an_example():
    from keras_mtl import build_model

    model = build_model("mlp", [tasks.Regression("box", num_outputs=4)], input_shape=(6,))
    model.compile("sgd")
    x = np.ones((8, 6), "float32")
    model.fit(x, {"box": np.ones((8, 4))}, verbose=0)
    with pytest.raises(ValueError, match=r"should have shape \(batch, 4\). Received: shape \(8,\)"):
        model.fit(x, {"box": np.ones(8)}, verbose=0)


SHAPES = ("one-hot labels", "classes as floats", "two numbers for one")


@pytest.mark.parametrize("wrong", [*VALUES, *SHAPES])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_generator_is_checked_as_it_is_read(wrong, jit_compile):
    spoil, message = WRONG[wrong]
    x, y = two_task_data(40)
    model = two_task_model()
    model.compile("sgd", jit_compile=jit_compile)
    weights = model.get_weights()
    with pytest.raises(ValueError, match=message):
        model.fit(**as_generator(x, spoil(y)), verbose=0)
    for before, after in zip(weights, model.get_weights(), strict=True):
        assert (before == after).all()


@pytest.mark.slow
def test_every_batch_of_a_py_dataset_is_checked_under_xla():
    x, y = two_task_data(40)
    y["a"][25] = 9
    for jit_compile in (False, True):
        model = two_task_model()
        model.compile("sgd", jit_compile=jit_compile)
        with pytest.raises(ValueError, match="indices from 0 to 3. Received: (9|a batch)"):
            model.fit(**as_py_dataset(x, y), verbose=0)
        assert np.isfinite(model.get_weights()[0]).all()
    y["a"][25] = 1
    history = model.fit(**as_py_dataset(x, y), epochs=2, verbose=0).history
    assert len(history["loss"]) == 2


@pytest.mark.parametrize("wrong", others_slow(WRONG, by_default=("a negative index", "an infinity")))
def test_single_batches_are_checked(wrong):
    spoil, message = WRONG[wrong]
    x, y = two_task_data(40)
    model = compiled()
    for method in (model.train_on_batch, model.test_on_batch):
        with pytest.raises(ValueError, match=message):
            method(x, spoil(y))
        assert len(method(x, y)) == 5


@pytest.mark.parametrize(
    "how", others_slow(["in the step", "eagerly", "XLA", "two replicas"], by_default=("in the step",))
)
def test_wrong_values_in_a_dataset_are_told_however_it_is_trained(how, two_replicas):
    x, y = two_task_data(40)
    y["b"][25] = np.inf
    scope = two_replicas.scope() if how == "two replicas" else contextlib.nullcontext()
    with scope:
        model = two_task_model()
        model.compile("sgd", balancer="pcgrad", jit_compile=how == "XLA", run_eagerly=how == "eagerly")
    for method in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match=r"'b' of task 'b' \(Regression\) should be finite.*a batch with others"):
            method(**as_dataset(x, y), verbose=0)
    y["b"][25] = 1.0
    model.fit(**as_dataset(x, y), verbose=0)  # nothing is left in disorder
