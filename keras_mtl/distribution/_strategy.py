"""A strategy by what the machine and its environment offer."""

from __future__ import annotations

import hashlib
import logging
import platform
import sys
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from rich.console import Console

from keras_mtl._checks import check_number, check_one_of
from keras_mtl._version import __version__
from keras_mtl.distribution._cluster import Cluster, read_cluster
from keras_mtl.distribution._rendezvous import meet

_LOGGER = logging.getLogger(__name__)
_KINDS = ("auto", "default", "mirrored", "multi_worker")


def strategy(kind: str = "auto", *, timeout: float = 120.0) -> tf.distribute.Strategy:
    """A `tf.distribute` strategy, chosen by what the machine and its environment offer.

    What `"auto"` picked is printed; the logger `keras_mtl.distribution` has it at level INFO, whatever the kind. Build
    and compile the model under `distribution.scope`, or within `strategy(...).scope()`; `fit`, `evaluate`, `predict`
    and saving are called as always. Batches are global: their examples are divided among the replicas, and the result
    is that of one device.

    Several workers are processes that are started alike, each with a `TF_CONFIG` of its own. Call this before any
    other operation of TensorFlow there. The workers first wait for each other, `timeout` seconds at most, and compare
    what they run: versions of Python, TensorFlow, Keras and this package, and the script.

    Args:
        kind: `"auto"`: `"multi_worker"` where `TF_CONFIG` names several workers, `"mirrored"` where there are several
            GPUs, otherwise `"default"`. `"mirrored"`: a replica on each GPU, or, without GPUs, on each logical CPU.
            `"multi_worker"`: the workers of `TF_CONFIG`. `"default"`: no strategy, one device.
        timeout: how many seconds to wait for workers, at least 0. Defaults to 120.

    Returns:
        A `tf.distribute.MirroredStrategy`, `MultiWorkerMirroredStrategy`, or the default strategy.

    Raises:
        ValueError: if `kind` is unknown, `TF_CONFIG` is malformed or, with `"multi_worker"`, absent, or a worker runs
            something else.
        TimeoutError: if a worker did not come in time; the message names it.

    Example:

    >>> from keras_mtl import distribution
    >>> distribution.strategy("default").num_replicas_in_sync
    1
    """
    check_one_of(kind, "kind", _KINDS)
    check_number(timeout, "timeout")
    cluster = read_cluster() if kind in ("auto", "multi_worker") else None
    if kind == "multi_worker" and cluster is None:
        raise ValueError(
            "The strategy 'multi_worker' needs the environment variable TF_CONFIG, which names the workers. It is not "
            "set, or names no cluster."
        )
    if cluster is not None and (kind == "multi_worker" or len(cluster.addresses) > 1):
        return _multi_worker(cluster, timeout, kind)
    gpus = tf.config.list_logical_devices("GPU")
    if kind == "mirrored" or (kind == "auto" and len(gpus) > 1):
        devices = [device.name for device in gpus or tf.config.list_logical_devices("CPU")]
        _say(kind, f"mirrored, a replica on each of {', '.join(devices)}")
        return tf.distribute.MirroredStrategy(devices)
    _say(kind, f"default, one device: {gpus[0].name if gpus else 'the CPU'}")
    return tf.distribute.get_strategy()


def scope(kind: str | tf.distribute.Strategy = "auto", *, timeout: float = 120.0) -> Any:
    """A context in which a model is built and compiled for a strategy: `strategy(kind).scope()`.

    Args:
        kind: what `strategy` takes, or a strategy.
        timeout: as in `strategy`.

    Raises:
        ValueError: as `strategy` does.
        TimeoutError: as `strategy` does.

    Example:

    >>> import keras_mtl as mtl
    >>> with mtl.distribution.scope("default"):
    ...     model = mtl.build_model("mlp", [mtl.tasks.Regression("a")], input_shape=(3,))
    ...     model.compile("adam")
    """
    found = kind if isinstance(kind, tf.distribute.Strategy) else strategy(kind, timeout=timeout)
    return found.scope()


def _say(kind: str, picked: str) -> None:
    _LOGGER.info("strategy: %s", picked)
    if kind == "auto":
        Console().print(f"strategy: {picked}", markup=False, highlight=False, soft_wrap=True)


def _multi_worker(cluster: Cluster, timeout: float, kind: str) -> tf.distribute.Strategy:
    meet(cluster, _facts(), timeout)
    _say(kind, f"multi-worker, {len(cluster.addresses)} workers, this is {cluster.names[cluster.index]}")
    return tf.distribute.MultiWorkerMirroredStrategy()


def _facts() -> dict[str, str]:
    """What has to be the same on all workers."""
    script = getattr(sys.modules["__main__"], "__file__", None)
    facts = {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "TensorFlow": tf.__version__,
        "Keras": keras.__version__,
        "keras_mtl": __version__,
    }
    if script is not None and Path(script).is_file():
        facts["a script with the hash"] = hashlib.sha256(Path(script).read_bytes()).hexdigest()[:16]
    return facts
