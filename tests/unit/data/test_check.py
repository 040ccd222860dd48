"""check: what is wrong with a data set, by name, label, task and row."""

import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import data, tasks

KINDS = [tasks.Classification("breed", 3), tasks.Regression("age")]
NAN = float("nan")


def dataset(breed=(0, 2, -1, 1), age=(1.0, NAN, 3.0, 4.0), batch_size=2, x=None, **labels):
    y = {"breed": np.asarray(breed), "age": np.asarray(age, "float32"), **labels}
    y = {key: values for key, values in y.items() if values is not None and values.shape != ()}
    x = np.zeros((len(next(iter(y.values()))), 2)) if x is None else x
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(batch_size)


def test_what_it_has_read():
    assert data.check(dataset(), KINDS) == (4, {"breed": 3, "age": 3}, True)
    long = dataset(np.zeros(100, int), np.zeros(100))
    assert data.check(long, KINDS) == (16, {"breed": 16, "age": 16}, False)
    assert data.check(long, KINDS, scan="all") == (100, {"breed": 100, "age": 100}, True)


def test_a_class_out_of_range_on_the_first_batches_and_by_a_full_scan():
    breed = np.zeros(100, int)
    breed[[40, 77]] = 3, 5
    late = dataset(breed, np.zeros(100))
    assert not data.check(late, KINDS).whole
    message = (
        "Data set 'pets': labels 'breed' of task 'breed' should be class indices from 0 to 2. Received: 3 in row 40 "
        r"\(2 such rows in 100\)"
    )
    with pytest.raises(ValueError, match=message):
        data.check(late, KINDS, scan="all", name="pets")
    with pytest.raises(ValueError, match=r"Received: 7 in row 1 \(1 such row in 4\)"):
        data.check(dataset(breed=(0, 7, -1, 1)), KINDS)


def test_places_within_a_row():
    mask = np.zeros((4, 2, 2), int)
    mask[2] = [[9, 1], [-1, 8]]
    kinds = [*KINDS, tasks.Segmentation("mask", 3)]
    with pytest.raises(ValueError, match=r"labels 'mask' .* Received: 8, 9 in row 2 \(1 such row in 4\)"):
        data.check(dataset(mask=mask), kinds)
    mask[2] = -1
    assert data.check(dataset(mask=mask), kinds).num_labels["mask"] == 3


def test_labels_that_are_all_missing():
    nothing = dataset(age=[NAN] * 4)
    with pytest.raises(ValueError, match="'age' of task 'age' should have one at least that is not missing. .*4 exam"):
        data.check(nothing, KINDS)
    # Of a part that was read, that says nothing.
    long = dataset(np.zeros(100, int), np.full(100, NAN))
    assert data.check(long, KINDS).num_labels["age"] == 0
    with pytest.raises(ValueError, match="all missing"):
        data.check(long, KINDS, scan="all")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: dataset(wings=np.zeros(4)), r"not expected: \['wings'\]"),
        (lambda: dataset(age=0), r"each task should have its labels. .* none for the tasks \['age'\]"),
        (lambda: dataset(breed=(0.0, 1.0, 1.0, 1.0)), "be of an integer dtype"),
        (lambda: dataset(breed=np.zeros((4, 3), int)), r"of shape \(batch,\). Received: shape \(None, 3\)"),
        (lambda: dataset().take(0), "one example at least. Received: an empty data set"),
        (lambda: dataset().map(lambda x, y: x), "should yield"),
        (lambda: [1], "`dataset` should be"),
    ],
    ids=["no_task", "no_label", "dtype", "shape", "empty", "form", "type"],
)
def test_what_is_wrong(given, message):
    with pytest.raises(ValueError, match=message):
        data.check(given(), KINDS)


def test_a_shape_that_only_the_values_have():
    def unknown(x, y):
        return x, {**y, "breed": tf.numpy_function(lambda b: np.stack([b, b], 1), [y["breed"]], tf.int64)}

    with pytest.raises(ValueError, match="Data set 'data': .*have shape"):
        data.check(dataset().map(unknown), KINDS)


def test_inputs():
    x = {"image": np.zeros((4, 2)), "text": np.zeros(4)}
    assert data.check(dataset(x=x), KINDS, inputs=["text", "image"]).num_examples == 4
    with pytest.raises(ValueError, match=r"inputs of data set 'data' should be \['image'\].*not expected: \['text'\]"):
        data.check(dataset(x=x), KINDS, inputs=["image"])


def test_an_example_that_cannot_be_read():
    broken = dataset().map(lambda x, y: (tf.debugging.check_numerics(y["age"], "no number"), y))
    with pytest.raises(ValueError, match="should be readable. Received, after 0 examples: .*no number"):
        data.check(broken, KINDS)
