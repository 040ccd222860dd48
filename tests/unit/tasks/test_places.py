"""Tasks that predict something for each pixel or token: their arguments, and which labels they take."""

import keras
import numpy as np
import pytest

from keras_mtl.tasks import DenseRegression, Segmentation, SequenceTagging


@pytest.mark.parametrize("size", [(4,), (4, 0), (4, 4, 4), "ab", 4, (4.0, 4)])
@pytest.mark.parametrize("make", [lambda **a: Segmentation("mask", 3, **a), lambda **a: DenseRegression("depth", **a)])
def test_label_size_is_height_and_width(make, size):
    with pytest.raises(ValueError, match="`label_size"):
        make(label_size=size)
    task = make(label_size=[4, 6])
    assert (task.label_size, task.output_shape[:2]) == ((4, 6), (4, 6))
    assert task.get_config()["label_size"] == [4, 6]
    assert (make().label_size, make().output_shape[:2]) == (None, (None, None))


@pytest.mark.parametrize("label", [0, 2, 1.0, None, True, "255"])
def test_the_ignored_label_is_no_class(label):
    with pytest.raises(ValueError, match="`ignore_label` should be an integer that is no class, none from 0 to 2"):
        Segmentation("mask", 3, ignore_label=label)


@pytest.mark.parametrize("label", [-1, 3, 255])
def test_the_ignored_label_is_missing(label):
    task = Segmentation("mask", 3, ignore_label=label)
    labels = np.array([[[0, 1], [label, 2]]], "int32" if label < 0 else "uint8")
    np.testing.assert_array_equal(task.missing(labels), [[[False, False], [True, False]]])
    task.check_labels(labels)
    assert not np.any(task.missing(labels + 0 * labels.astype("bool"))[:, 0])


def test_an_ignored_label_beyond_the_dtype_is_nowhere():
    task = Segmentation("mask", 3, ignore_label=300)
    assert not np.any(task.missing(np.zeros((1, 2, 2), "uint8")))


def test_a_pixel_is_missing_if_one_number_is():
    labels = np.zeros((1, 2, 2, 3), "float32")
    labels[0, 0, 1, 2] = np.nan
    missing = DenseRegression("normal", 3).missing(labels)
    np.testing.assert_array_equal(missing, [[[False, True], [False, False]]])


@pytest.mark.parametrize(
    ("task", "shapes", "others"),
    [
        (Segmentation("a", 3), [(8, 4, 6), (8, 4, 6, 1), (None, None, None)], [(8,), (8, 4), (8, 4, 6, 3)]),
        (Segmentation("a", 3, label_size=(4, 6)), [(8, 4, 6), (8, None, 6)], [(8, 6, 4), (8, 4, 6, 3)]),
        (DenseRegression("a"), [(8, 4, 6), (8, 4, 6, 1)], [(8,), (8, 4), (8, 4, 6, 3)]),
        (DenseRegression("a", 3), [(8, 4, 6, 3)], [(8, 3), (8, 4, 6), (8, 4, 6, 1)]),
        (SequenceTagging("a", 3), [(8, 5), (8, 5, 1), (8, None)], [(8,), (8, 5, 3)]),
    ],
)
def test_shapes_of_labels(task, shapes, others):
    for shape in shapes:
        task.check_shape(shape)
    for shape in others:
        with pytest.raises(ValueError, match=r"Labels 'a' of task 'a' .* should have shape \(batch, "):
            task.check_shape(shape)


def test_the_message_names_the_axes():
    with pytest.raises(ValueError, match=r"shape \(batch, height, width\) or \(batch, height, width, 1\)"):
        Segmentation("mask", 3).check_shape((8, 4))
    with pytest.raises(ValueError, match=r"shape \(batch, 4, 6\) or \(batch, 4, 6, 1\)"):
        Segmentation("mask", 3, label_size=(4, 6)).check_shape((8, 4))


def test_a_decoder_takes_several_maps():
    maps = [keras.Input((8, 8, 4)), keras.Input((4, 4, 8))]
    assert Segmentation("mask", 3, label_size=(32, 32)).head(maps).shape == (None, 32, 32, 3)
    with pytest.raises(ValueError, match=r"features of shape \(None, 8, 8, 4\), \(None, 8\)"):
        Segmentation("mask", 3, label_size=(32, 32)).head([maps[0], keras.Input((8,))])
