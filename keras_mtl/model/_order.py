"""Which examples the batches of a pass have: the kind of the data and of their order, their number, the batch size."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_mtl.model._progress import Progress

# A file has the place in this list: what is added comes last.
_KINDS = (
    "arrays, with shuffle=True",
    "arrays, with shuffle=False",
    "arrays, with shuffle='batch'",
    "a `tf.data.Dataset`",
    "a generator",
    "a `PyDataset`, with shuffle=True",
    "a `PyDataset`, with shuffle=False",
    "data of another kind",
)


@dataclass
class Order:
    """Which examples the batches have; None is what is not known.

    Args:
        kind: the place of the kind in a list.
        rows: how many examples there are.
        batch_size: how many a batch has.
    """

    kind: int | None
    rows: int | None = None
    batch_size: int | None = None

    def differs(self, other: Order) -> bool:
        """Whether the two are known to differ."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return any(None not in (mine, yours) and mine != yours for mine, yours in pairs)

    def __str__(self) -> str:
        numbers = {"examples": self.rows, "batch_size": self.batch_size}
        known = [f"{name}={number}" for name, number in numbers.items() if number is not None]
        kind = "data" if self.kind is None else _KINDS[self.kind]
        return f"{kind} ({', '.join(known)})" if known else kind


def order_of(arguments: dict[str, Any]) -> Order:
    """The order of the data of `fit`, by its arguments; of what yields batches, their size is not known."""
    x, shuffle = arguments["x"], arguments.get("shuffle", True)
    if arguments["y"] is not None:
        kind = "arrays, with shuffle='batch'" if shuffle == "batch" else f"arrays, with shuffle={bool(shuffle)}"
        leaves = keras.tree.flatten(x)
        shape = tuple(np.shape(leaves[0])) if leaves else ()
        rows = int(shape[0]) if shape and shape[0] is not None else None
        if rows is not None and arguments.get("validation_split") and arguments.get("validation_data") is None:
            rows = math.floor(rows * (1 - arguments["validation_split"]))
        batch_size = arguments.get("batch_size") or (None if arguments.get("steps_per_epoch") else 32)
        return Order(_KINDS.index(kind), rows, batch_size)
    if isinstance(x, keras.utils.PyDataset):
        return Order(_KINDS.index(f"a `PyDataset`, with shuffle={bool(shuffle)}"))
    if isinstance(x, Iterator):
        return Order(_KINDS.index("a generator"))
    return Order(_KINDS.index("a `tf.data.Dataset`" if hasattr(x, "cardinality") else "data of another kind"))


def order_before(progress: Progress) -> Order:
    """The one that a training had, as far as its file says."""
    return Order(progress.kind, progress.rows, progress.batch_size)


def note_order(progress: Progress, order: Order) -> None:
    """Notes it for the files that are saved from now on."""
    progress.kind, progress.rows, progress.batch_size = order.kind, order.rows, order.batch_size
