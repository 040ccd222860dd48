"""Labels that data lack are filled with missing ones."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import data, tasks
from tests.models import two_task_data, two_task_model

KINDS = [
    tasks.Classification("kind", 3),
    tasks.BinaryClassification("flag"),
    tasks.Regression("size", label="length"),
    tasks.Regression("box", num_outputs=4),
]


class Pixels(tasks.Regression):
    """A number for each pixel, of images of any size."""

    num_label_axes = num_place_axes = 2


def labels_of(size=5):
    return {"kind": np.arange(size) % 3}


def assert_missing(y, size):
    for task in KINDS[1:]:
        found = y[task.label]
        shape = tuple(found.shape)
        assert shape == (size, *task.label_shape)
        assert bool(np.all(task.missing(tf.convert_to_tensor(found))))
        task.check_dtype(np.dtype(getattr(found.dtype, "as_numpy_dtype", found.dtype)))


def test_the_constant():
    assert data.MISSING.class_index == -1
    assert math.isnan(data.MISSING.number)
    assert tasks.Classification("a", 2).missing_label == data.MISSING.class_index


def test_arrays():
    x = np.ones((5, 2))
    weights = np.ones(5)
    found_x, y, found_weights = data.mask_missing((x, labels_of(), weights), KINDS)
    assert found_x is x
    assert found_weights is weights
    np.testing.assert_array_equal(y["kind"], labels_of()["kind"])
    assert_missing(y, 5)


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("rest", [(), (np.ones(5),)])
def test_data_sets(batched, rest):
    dataset = tf.data.Dataset.from_tensor_slices((np.ones((5, 2)), labels_of(), *rest))
    dataset = dataset.batch(3) if batched else dataset
    found = data.mask_missing(dataset, KINDS, batched=batched)
    assert found.cardinality() == dataset.cardinality()
    rows = 0
    for element in found if batched else found.batch(5):
        size = len(element[0])
        np.testing.assert_array_equal(element[1]["kind"], np.arange(rows, rows + size) % 3)
        assert_missing(element[1], size)
        assert len(element) == 2 + len(rest)
        rows += size
    assert rows == 5


def test_labels_that_are_there_are_left_alone():
    y = {"kind": [1, -1], "flag": [True, False], "length": [1.5, np.nan], "box": np.ones((2, 4))}
    y = {key: np.asarray(value) for key, value in y.items()}
    _, found = data.mask_missing((np.ones((2, 1)), y), KINDS)
    assert all(found[key] is y[key] for key in y)


def test_data_without_any_label():
    _, y = data.mask_missing(({"image": np.ones((3, 2))}, {}), KINDS)
    assert_missing(y, 3)
    assert y["kind"].tolist() == [-1] * 3


def test_sizes_that_the_data_decide():
    kinds = [*KINDS, Pixels("depth")]
    with pytest.raises(
        ValueError, match=r"'depth' of task 'depth' have shape \(None, None\), .* give them by `shapes="
    ):
        data.mask_missing((np.ones((5, 2)), labels_of()), kinds)
    _, y = data.mask_missing((np.ones((5, 2)), labels_of()), kinds, shapes={"depth": (2, 3)})
    assert y["depth"].shape == (5, 2, 3)
    assert np.isnan(y["depth"]).all()


def test_segmentation():
    x, y = np.ones((5, 4, 6, 3)), labels_of()
    fixed = tasks.Segmentation("mask", 3, label_size=(4, 6), ignore_label=255)
    found = data.mask_missing((x, y), [KINDS[0], fixed])[1]["mask"]
    assert found.shape == (5, 4, 6)
    assert (found == 255).all()
    free = tasks.Segmentation("mask", 3)
    found = data.mask_missing((x, y), [KINDS[0], free], shapes={"mask": (4, 6)})[1]["mask"]
    assert found.shape == (5, 4, 6)
    assert np.asarray(free.missing(found)).all()


def test_a_key_that_tasks_share():
    shared = [tasks.Classification("a", 3, label="y"), tasks.BinaryClassification("b", label="y")]
    _, y = data.mask_missing((np.ones((2, 1)), {}), shared)
    assert y["y"].tolist() == [-1, -1]
    apart = [tasks.Classification("a", 3, label="y"), tasks.Regression("b", label="y")]
    with pytest.raises(ValueError, match=r"of tasks \['a', 'b'\], and no label can be missing for all"):
        data.mask_missing((np.ones((2, 1)), {}), apart)


def test_a_model_of_all_tasks_trains_on_it():
    x, y = two_task_data(32)
    dataset = tf.data.Dataset.from_tensor_slices((x, {"b": y["b"]})).batch(8)
    model = two_task_model()
    model.compile(keras.optimizers.Adam(0.01))
    head = model.get_layer("a").kernel.numpy()
    history = model.fit(data.mask_missing(dataset, model.tasks), epochs=2, verbose=0).history
    assert history["b_loss"][1] < history["b_loss"][0]
    np.testing.assert_array_equal(model.get_layer("a").kernel.numpy(), head)


@pytest.mark.parametrize(
    "received, message",
    [
        (np.ones(3), "`data` should be a `tf.data.Dataset` of .* Received: ndarray"),
        (tf.data.Dataset.range(3), "Received: elements like TensorSpec"),
        ((np.ones((3, 1)), np.ones(3)), "Received: elements like|Received: tuple"),
        ((np.ones((3, 1)), {"sort": np.ones(3)}), r"should be among .* not expected: \['sort'\]"),
        ((np.ones((3, 1)), {"kind": np.ones((3, 1, 1), int)}), "Labels 'kind' of task 'kind' .* should have shape"),
        ((np.ones((3, 1)), {"kind": np.ones(3)}), "should be of an integer dtype"),
        (tf.data.Dataset.from_tensors((1.0, {"kind": 1})), "and no batches, need `batched=False`"),
    ],
    ids=str,
)
def test_other_data_are_refused(received, message):
    with pytest.raises(ValueError, match=message):
        data.mask_missing(received, KINDS)


def test_other_arguments_are_refused():
    for kinds in ([], None, "kind", [tasks.Regression], [1]):
        with pytest.raises(ValueError, match="`tasks` should be a list of at least one task"):
            data.mask_missing((np.ones((3, 1)), {}), kinds)
    with pytest.raises(ValueError, match=r"`shapes` should have keys among .*\['depth'\]"):
        data.mask_missing((np.ones((3, 1)), {}), KINDS, shapes={"depth": (1, 1)})
    with pytest.raises(ValueError, match="Labels 'box' of task 'box' .* should have shape"):
        data.mask_missing((np.ones((3, 1)), {}), KINDS, shapes={"box": (3,)})
