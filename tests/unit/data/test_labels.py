"""Dtypes that can hold a missing label."""

import numpy as np
import pytest

from keras_mtl import tasks
from keras_mtl.data._labels import by_label, common_dtype, holding

CLASSES, YES_NO, NUMBER = tasks.Classification("a", 3), tasks.BinaryClassification("b"), tasks.Regression("c")
PIXELS = tasks.Segmentation("d", 3, ignore_label=255)


@pytest.mark.parametrize(
    "dtype, task, expected",
    [
        ("int64", CLASSES, "int64"),
        ("int8", CLASSES, "int8"),
        ("uint8", CLASSES, "int32"),
        ("uint32", CLASSES, "int64"),
        ("bool", YES_NO, "int32"),
        ("uint8", PIXELS, "uint8"),
        ("int8", PIXELS, "int32"),
        ("int64", PIXELS, "int64"),
        ("float32", YES_NO, "float32"),
        ("float64", NUMBER, "float64"),
        ("float16", NUMBER, "float16"),
        ("int32", NUMBER, "float32"),
        ("uint8", NUMBER, "float32"),
    ],
)
def test_it_can_hold_a_missing_label(dtype, task, expected):
    found, value = holding(np.dtype(dtype), [task])
    assert found == expected
    assert bool(np.all(task.missing(np.full(3, value, found))))


@pytest.mark.parametrize(
    "dtypes, expected",
    [
        (["int32", "int64"], "int64"),
        (["bool", "uint8"], "uint8"),
        (["float16", "int64"], "float16"),
        (["float32", "float64"], "float64"),
        (["uint64", "int64"], "int64"),
    ],
)
def test_the_dtype_of_all(dtypes, expected):
    assert common_dtype([np.dtype(dtype) for dtype in dtypes]) == expected


def test_tasks_by_label():
    other = tasks.Regression("d", label="c")
    assert by_label([CLASSES, NUMBER, other]) == {"a": [CLASSES], "c": [NUMBER, other]}
