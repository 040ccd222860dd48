"""What data sets must have in common to be mixed, and what is said where they have not."""

import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import tasks
from keras_mtl.data._layout import Layout

KINDS = [tasks.Classification("a", 4), tasks.Regression("b")]


class Pixels(tasks.Regression):
    """A number for each pixel, of images of any size."""

    num_label_axes = num_place_axes = 2


def of(x, y):
    return tf.data.Dataset.from_tensors((x, y))


def layout(kinds=KINDS, same_shapes=True, **datasets):
    return Layout(datasets, kinds, same_shapes=same_shapes)


def filled(found, dataset):
    x, y = found.fill(*next(iter(dataset.batch(1))))
    return x, {key: value.numpy() for key, value in y.items()}


A, B = of([1.0], {"a": 1}), of([1.0], {"b": 2.0})


@pytest.mark.parametrize(
    "other, message",
    [
        (of([1.0], {"a": 1, "c": 2}), r"Data set 'other': the keys .* among \['a', 'b'\].* not expected: \['c'\]"),
        (of([1.0], {"a": 1.5}), "Data set 'other': Labels 'a' of task 'a' .* integer dtype. Received: dtype float32"),
        (
            of([1.0], {"a": [1, 2]}),
            r"'other': Labels 'a' .* of shape \(\). Received: shape \(2,\). A data set of batches",
        ),
        (B.batch(2), r"'other': Labels 'b' .* Received: shape \(None,\). .*unbatch"),
        (of([1.0], {}), "Data set 'other' should yield"),
        (of([1.0], 1), "Data set 'other' should yield"),
        (tf.data.Dataset.from_tensors(([1.0], {"a": 1}, 1.0)), "Data set 'other' should yield"),
        (of(([1.0], [2.0]), {"a": 1}), "Data set 'other' should yield"),
        (of({"x": [1.0]}, {"a": 1}), r"one tensor in data set 'a', a dict of \['x'\] in data set 'other'"),
        (of([1], {"a": 1}), "Expected, as in 'a': .*float32.* Received, in 'other': .*int32"),
        (of([1.0, 2.0], {"a": 1}), r"Inputs should have one shape .* 'a': \(1,\). Received, in 'other': \(2,\)"),
        (of(1.0, {"a": 1}), r"Inputs should have one shape .* Received, in 'other': \(\)"),
    ],
    ids=str,
)
def test_a_data_set_that_does_not_fit_is_named(other, message):
    with pytest.raises(ValueError, match=message):
        layout(a=A, b=B, other=other)


def test_a_task_without_labels_is_named():
    with pytest.raises(ValueError, match=r"no labels \['b'\] \(of tasks \['b'\]\) in the data sets \['a'\]"):
        layout(a=A)


def test_columns_and_scalars_are_one():
    column = of([1.0], {"b": [3.0]})
    found = layout(a=A, b=B, column=column)
    for dataset, expected in ((A, [np.nan]), (B, [2.0]), (column, [3.0])):
        np.testing.assert_array_equal(filled(found, dataset)[1]["b"], expected)


def test_dtypes_are_brought_together():
    small = of([1.0], {"a": tf.constant(3, "uint8")})
    found = layout(a=A, b=B, small=small)
    assert {filled(found, dataset)[1]["a"].dtype for dataset in (A, B, small)} == {np.dtype("int32")}
    assert filled(found, small)[1]["a"] == 3
    number = of([1.0], {"b": tf.constant(3, "int64")})
    assert filled(layout(a=A, b=number), A)[1]["b"].dtype == "float32"


def test_dense_labels_take_the_sizes_of_the_data():
    kinds = [*KINDS, Pixels("depth")]
    dense = of([1.0], {"depth": np.ones((2, 3), "float32")})
    found = layout(kinds, a=A, b=B, dense=dense)
    assert filled(found, dense)[1]["depth"].tolist() == np.ones((1, 2, 3)).tolist()
    assert np.isnan(filled(found, A)[1]["depth"]).all()
    assert filled(found, A)[1]["depth"].shape == (1, 2, 3)


def test_dense_labels_may_be_columns():
    kinds = [*KINDS, Pixels("depth")]
    plain = of([1.0], {"depth": np.ones((2, 3), "float32")})
    column = of([1.0], {"depth": np.full((2, 3, 1), 2, "float32")})
    found = layout(kinds, a=A, b=B, plain=plain, column=column)
    assert filled(found, column)[1]["depth"].tolist() == np.full((1, 2, 3), 2.0).tolist()
    with pytest.raises(ValueError, match="Data set 'column': Labels 'depth' .* should be of one example"):
        layout(kinds, a=A, b=B, plain=plain, column=column.batch(2))
    other = of([1.0], {"depth": np.ones((3, 3), "float32")})
    with pytest.raises(
        ValueError, match=r"Labels 'depth' should have one shape .* 'plain': \(2, 3\).* 'other': \(3, 3"
    ):
        layout(kinds, a=A, b=B, plain=plain, other=other)


def test_dense_labels_of_unknown_size_cannot_be_filled_in():
    kinds = [*KINDS, Pixels("depth")]
    spec = ([1.0], {"depth": np.ones((2, 3), "float32")})
    signature = (tf.TensorSpec((1,)), {"depth": tf.TensorSpec((None, None))})
    dense = tf.data.Dataset.from_generator(lambda: iter([spec]), output_signature=signature)
    with pytest.raises(ValueError, match=r"Data set 'a' lacks labels 'depth', whose sizes .* in 'dense': shape"):
        layout(kinds, a=A, b=B, dense=dense)


def test_inputs_of_unknown_size_cannot_be_filled_in():
    signature = ({"x": tf.TensorSpec((None,))}, {"b": tf.TensorSpec(())})
    b = tf.data.Dataset.from_generator(lambda: iter([({"x": [1.0]}, {"b": 1.0})]), output_signature=signature)
    with pytest.raises(ValueError, match="Data set 'a' lacks inputs 'x', whose sizes should be known"):
        layout(a=of({"z": [1.0]}, {"a": 1}), b=b)
