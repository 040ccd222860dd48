"""Examples that several data sets or splits have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from keras_mtl._checks import check_one_of
from keras_mtl.data._fingerprints import are_near, bands, fingerprint, kind_of

Part = tuple[str, str]


@dataclass(frozen=True, eq=False, repr=False)
class Leaks:
    """What `find_leaks` found: which examples of each split of each data set are in which other one.

    Pass it to `mix` as `exclude`, or look at it with `to_markdown`.

    Args:
        kind: `"text"`, `"image"` or `"rows"`.
        near: whether near duplicates were looked for too.
        sizes: the number of examples, by data set and split.
        positions: by two pairs of data set and split, the positions of the examples of the first that are in the
            second, ascending. Pairs without any are not there.

    Example:

    >>> from keras_mtl import data
    >>> leaks = data.find_leaks({"a": {"train": ["One.", "Two."]}, "b": {"test": ["two", "three"]}})
    >>> leaks.positions["a", "train"]["b", "test"].tolist()
    [1]
    """

    kind: str
    near: bool
    sizes: dict[Part, int]
    positions: dict[Part, dict[Part, np.ndarray]]

    @property
    def counts(self) -> dict[tuple[Part, Part], int]:
        """How many examples of the first are in the second, by two pairs of data set and split, where there are any."""
        return {
            (first, second): len(found) for first, others in self.positions.items() for second, found in others.items()
        }

    def overlaps(self, split: str = "train", against: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """The examples of a split that are in other splits of any data set, its own included.

        Args:
            split: the split whose examples are meant. Defaults to `"train"`.
            against: the other splits. Defaults to all but `split`.

        Returns:
            Positions, ascending, by name of each data set that has the split.

        Raises:
            ValueError: if no data set has such a split.
        """
        known = list(dict.fromkeys(part[1] for part in self.sizes))
        check_one_of(split, "split", known)
        against = [other for other in known if other != split] if against is None else list(against)
        for other in against:
            check_one_of(other, "against", known)
        found = {}
        for part in self.sizes:
            if part[1] == split:
                leaking = [rows for other, rows in self.positions[part].items() if other[1] in against]
                found[part[0]] = np.unique(np.concatenate([np.zeros(0, "int64"), *leaking]))
        return found

    def to_markdown(self) -> str:
        """A table of the pairs, those with the largest share first."""
        lines = ["| examples of | that are in | number | share |", "| --- | --- | ---: | ---: |"]
        shares = {pair: count / self.sizes[pair[0]] for pair, count in self.counts.items()}
        for pair in sorted(shares, key=lambda pair: -shares[pair]):
            first, second = (" ".join(part).replace("|", "\\|") for part in pair)
            lines.append(f"| {first} | {second} | {self.counts[pair]:,} | {100 * shares[pair]:.1f} % |")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"Leaks({self.kind}, {len(self.counts)} pairs of {len(self.sizes)} splits)"


def find_leaks(datasets: Mapping[str, Mapping[str, Any]], *, kind: str | None = None, near: bool = False) -> Leaks:
    """Finds inputs that several data sets, or several splits of one, have in common.

    Use it before tasks from different data sets are learnt together: an example of one task's test set may be in the
    training set of another, and the joint model is then judged on what it has seen. `mix(..., exclude=leaks)` keeps
    those out. Of each input only a fingerprint is held, of 8 bytes (near: 32 for an image, 256 for a text).

    What counts as the same:

    - texts: the same letters and digits in the same order, whatever the case, the white space and the punctuation.
      Latin letters outside ASCII are passed over, for some conversions lose them.
      Near: the sets of their sequences of five such characters share at least 0.8 of those that either has, as 64
      MinHash values estimate it (standard error 0.05);
    - images: the same pixels, shape and dtype. Near: shrunk to 16 x 17 gray values, of 256 pairs of neighbours at most
      8 differ in whether the right one is brighter by more than 2 % of the image's range. Made for photographs: images
      of one colour are all near, and drawings on an empty ground, such as digits, often are;
    - rows: the same numbers and strings in all columns, where integers are not floats. Near: the same numbers when
      rounded to three significant digits.

    Args:
        datasets: by name of data set and of split, the inputs: an array or a list, a dict of such columns, or an
            unbatched `tf.data.Dataset` of inputs or of tuples that begin with them.
        kind: `"text"`, `"image"` or `"rows"`. Defaults to what the first input looks like: a string is a text, an array
            `(height, width, 1, 3 or 4)` an image, and everything else a row.
        near: whether near duplicates are found too. Defaults to False.

    Raises:
        ValueError: if an argument is of another form, there are no inputs, or one is of another kind.

    Example:

    >>> from keras_mtl import data
    >>> reviews = {"train": ["A fine film .", "Dull."], "test": ["So-so"]}
    >>> opinions = {"train": ["so so!", "Rain"], "test": ["a  fine film"]}
    >>> leaks = data.find_leaks({"reviews": reviews, "opinions": opinions})
    >>> print(leaks.to_markdown())
    | examples of | that are in | number | share |
    | --- | --- | ---: | ---: |
    | reviews test | opinions train | 1 | 100.0 % |
    | opinions test | reviews train | 1 | 100.0 % |
    | reviews train | opinions test | 1 | 50.0 % |
    | opinions train | reviews test | 1 | 50.0 % |
    """
    parts = _parts(datasets)
    if kind is None:
        kind = kind_of(next(_examples(next(iter(parts.values()))), ""))
    check_one_of(kind, "kind", ("text", "image", "rows"))
    if not isinstance(near, bool):
        raise ValueError(f"Parameter `near` should be True or False. Received: near={near!r}")
    found = {part: _fingerprints(part, inputs, kind, near) for part, inputs in parts.items()}

    different, rows = np.unique(np.concatenate(list(found.values())), axis=0, return_inverse=True)
    rows = rows.reshape(-1)
    ends = np.cumsum([len(prints) for prints in found.values()])
    rows_of = dict(zip(found, np.split(rows, ends[:-1]), strict=True))
    present = np.zeros((len(different), len(found)), dtype=bool)
    for column, own in enumerate(rows_of.values()):
        present[own, column] = True
    reached = _reached(different, present, kind) if near else present
    positions: dict[Part, dict[Part, np.ndarray]] = {}
    for part, own in rows_of.items():
        others = {other: np.flatnonzero(reached[own, column]) for column, other in enumerate(found) if other != part}
        positions[part] = {other: shared for other, shared in others.items() if len(shared)}
    return Leaks(kind, near, {part: len(own) for part, own in rows_of.items()}, positions)


def _reached(different: np.ndarray, present: np.ndarray, kind: str) -> np.ndarray:
    """Which parts hold each fingerprint or one that is near it, booleans `[number, num_parts]`."""
    reached = present.copy()
    parts = bands(kind, different)
    for band in range(parts.shape[1]):
        _, keys = np.unique(parts[:, band], axis=0, return_inverse=True)
        order = np.argsort(keys.reshape(-1), kind="stable")
        keys = keys.reshape(-1)[order]
        active, step = np.arange(len(keys) - 1), 1
        while len(active):  # every pair within a run of equal keys, by their distance in it
            active = active[active + step < len(keys)]
            active = active[keys[active] == keys[active + step]]
            first, second = order[active], order[active + step]
            near = are_near(kind, different[first], different[second])
            first, second = first[near], second[near]
            np.logical_or.at(reached, first, present[second])
            np.logical_or.at(reached, second, present[first])
            step += 1
    return reached


def _fingerprints(part: Part, inputs: Any, kind: str, near: bool) -> np.ndarray:
    """The fingerprints of a split, uint8 `[number, bytes]`."""
    function = fingerprint(kind, near=near)
    held = bytearray()
    number = 0
    for example in _examples(inputs):
        try:
            held += function(example)
        except ValueError as error:
            raise ValueError(
                f"Data set {part[0]!r}, split {part[1]!r}: the input at position {number}, of kind {kind!r}, should "
                f"{error}. A data set of batches: pass `dataset.unbatch()`."
            ) from error
        number += 1
    if not number:
        raise ValueError(f"Data set {part[0]!r}, split {part[1]!r}, should have one input at least. Received: none")
    return np.frombuffer(held, dtype="uint8").reshape(number, -1)


def _parts(datasets: Any) -> dict[Part, Any]:
    if not isinstance(datasets, Mapping) or not all(isinstance(splits, Mapping) for splits in datasets.values()):
        raise ValueError(
            "Parameter `datasets` should be inputs by name of data set and of split, {'reviews': {'train': ..., "
            f"'test': ...}}}}. Received: {type(datasets).__name__}"
        )
    parts = {(name, split): inputs for name, splits in datasets.items() for split, inputs in splits.items()}
    if not parts:
        raise ValueError(f"Parameter `datasets` should hold one split at least. Received: datasets={datasets!r}")
    for (name, split), inputs in parts.items():
        is_array = (
            hasattr(inputs, "__getitem__") and hasattr(inputs, "__len__") and not isinstance(inputs, (str, bytes))
        )
        if not is_array and not isinstance(inputs, tf.data.Dataset):
            raise ValueError(
                f"Data set {name!r}, split {split!r}, should be an array, a list, a dict of columns or a "
                f"`tf.data.Dataset`. Received: {type(inputs).__name__}"
            )
    return parts


def _examples(inputs: Any) -> Iterator[Any]:
    if isinstance(inputs, tf.data.Dataset):
        for element in inputs.as_numpy_iterator():
            yield element[0] if isinstance(element, tuple) else element
    elif isinstance(inputs, Mapping):
        columns = list(inputs.values())
        for values in zip(*columns, strict=True):
            yield dict(zip(inputs, values, strict=True))
    else:
        yield from inputs
