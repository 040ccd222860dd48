"""The size of labels that are images."""

from __future__ import annotations

from typing import Any

from keras_mtl._checks import check_integers


def check_label_size(value: Any) -> tuple[int, ...] | None:
    """Returns height and width if `value` is two positive integers, and None for None.

    Raises:
        ValueError: for anything else.
    """
    if value is None:
        return None
    size = check_integers(value, "label_size")
    if len(size) != 2:
        raise ValueError(f"Parameter `label_size` should be height and width, or None. Received: label_size={value!r}")
    return size
