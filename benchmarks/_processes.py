"""Work of a benchmark in several processes, with a core for each."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import tensorflow as tf
from rich.progress import track


def in_processes(function: Callable[[Any], Any], pieces: Sequence[Any], workers: int, label: str) -> list[Any]:
    """What a function makes of each piece, in their order.

    Args:
        function: at the top of a module, or a `functools.partial` of such a one.
        pieces: what it is given.
        workers: how many processes there are.
        label: of the progress bar.
    """
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _with_one_core) as pool:
        return list(track(pool.map(function, pieces), label, len(pieces)))


def _with_one_core() -> None:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
