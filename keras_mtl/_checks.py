"""Checks of arguments: each raises a `ValueError` that says what was expected, what was received and how to mend it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any

_LARGEST = (2.0 - 2.0**-23) * 2.0**127  # of float32
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def check_name(value: Any, parameter: str) -> str:
    """Returns `value` if it can name a task: it becomes a layer, a log key and a serving signature."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError(
            f"Parameter `{parameter}` should be a non-empty string of letters, digits and underscores that begins with "
            f"a letter. Received: {parameter}={value!r}"
        )
    return value


def check_integer(value: Any, parameter: str, *, minimum: int = 1) -> int:
    """Returns `value` as an `int` if it is an integer of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < minimum:
        raise ValueError(
            f"Parameter `{parameter}` should be an integer of at least {minimum}. Received: {parameter}={value!r}"
        )
    return int(value)


def check_number(value: Any, parameter: str, *, minimum: float = 0.0, below: float = math.inf) -> float:
    """Returns `value` as a `float` if it is a number with minimum <= value < below that is finite in float32 too."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not _is_finite(value) or not minimum <= value < below:
        bounds = f"at least {minimum:g}" + (f" and below {below:g}" if below < math.inf else "")
        raise ValueError(
            f"Parameter `{parameter}` should be a finite number of {bounds}. Received: {parameter}={value!r}"
            + (". It has no place in float32" if is_number and _LARGEST < value < math.inf else "")
        )
    return float(value)


def check_seed(value: Any, parameter: str = "seed") -> int | None:
    """Returns `value` as an `int` if it is an integer from 0 to 2**32 - 1, or None, which stands for a random one."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Integral) or not 0 <= int(value) < 2**32:
        raise ValueError(
            f"Parameter `{parameter}` should be an integer from 0 to 2**32 - 1, or None for a random one. "
            f"Received: {parameter}={value!r}"
        )
    return int(value)


def check_fraction(value: Any, parameter: str) -> float:
    """Returns `value` as a `float` if it is a number with 0 <= value <= 1."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= 1:
        raise ValueError(f"Parameter `{parameter}` should be a number from 0 to 1. Received: {parameter}={value!r}")
    return float(value)


def check_integers(value: Any, parameter: str, *, minimum: int = 1) -> tuple[int, ...]:
    """Returns `value` as a tuple if it is an integer or a sequence of integers of at least `minimum`."""
    if isinstance(value, Integral) and not isinstance(value, bool):
        value = (value,)
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise ValueError(
            f"Parameter `{parameter}` should be an integer or a sequence of integers. Received: {parameter}={value!r}"
        )
    return tuple(check_integer(item, f"{parameter}[{index}]", minimum=minimum) for index, item in enumerate(value))


def check_one_of(value: Any, parameter: str, options: Iterable[Any]) -> Any:
    """Returns `value` if it is one of `options`."""
    options = list(options)
    if value not in options:
        raise ValueError(f"Parameter `{parameter}` should be one of {options}. Received: {parameter}={value!r}")
    return value


def check_same_names(received: Iterable[str], expected: Iterable[str], *, what: str, mend: str) -> None:
    """Raises if the two sets of names differ, and shows both."""
    received, expected = list(received), list(expected)
    unknown = [name for name in received if name not in expected]
    absent = [name for name in expected if name not in received]
    if unknown or absent:
        raise ValueError(
            f"The {what} should be {_sorted(expected)}. Received: {_sorted(received)}"
            + (f"; not expected: {_sorted(unknown)}" if unknown else "")
            + (f"; absent: {_sorted(absent)}" if absent else "")
            + f". {mend}"
        )


def _sorted(names: Iterable[Any]) -> list[Any]:
    return sorted(names, key=str)  # a user's dict may have keys of several types


def _is_finite(value: Any) -> bool:
    return bool(-_LARGEST <= value <= _LARGEST)
