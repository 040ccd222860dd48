"""The workers of a training, from the environment variable `TF_CONFIG`."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_ADDRESS = re.compile(r"(?P<host>[^\s:]+|\[[^\s\]]+\]):(?P<port>\d{1,5})")
_EXAMPLE = '{"cluster": {"worker": ["host0:12345", "host1:12345"]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True)
class Cluster:
    """The workers of a training.

    Args:
        addresses: `host:port` of each worker, in TensorFlow's order: a chief before the workers.
        names: what each is called, such as `"worker 1"`.
        index: the place of this process among them.
    """

    addresses: tuple[str, ...]
    names: tuple[str, ...]
    index: int


def read_cluster() -> Cluster | None:
    """The cluster that `TF_CONFIG` describes, or None where it is not set or names no cluster.

    Raises:
        ValueError: if it is malformed: the message says what is wrong and shows a good one.
    """
    text = os.environ.get("TF_CONFIG", "")
    if not text.strip():
        return None
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise _malformed(f"should be JSON ({error})", text) from error
    if not isinstance(config, Mapping):
        raise _malformed("should be a JSON object", text)
    if not config.get("cluster"):
        return None
    return _checked(config["cluster"], config.get("task"), text)


def host_and_port(address: str) -> tuple[str, int]:
    """The two parts of an address."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _checked(jobs: Any, task: Any, text: str) -> Cluster:
    if not isinstance(jobs, Mapping) or not all(isinstance(listed, list) for listed in jobs.values()):
        raise _malformed("should have a `cluster` of lists of addresses by kind of job", text)
    kinds = [kind for kind in ("chief", "worker") if jobs.get(kind)]
    others = sorted(set(jobs) - {"chief", "worker"})
    if others:
        raise _malformed(
            f"should have a cluster of one 'chief' at most and of 'worker's, which train as equals, not of {others}",
            text,
        )
    rows = [(kind, index, address) for kind in kinds for index, address in enumerate(jobs[kind])]
    if len(jobs.get("chief", ())) > 1:
        raise _malformed("should have one 'chief' at most", text)
    for _, _, address in rows:
        found = _ADDRESS.fullmatch(address) if isinstance(address, str) else None
        if found is None or not 0 < int(found["port"]) < 2**16:
            raise _malformed(f"should have addresses `host:port`, not {address!r}", text)
    addresses = tuple(address for _, _, address in rows)
    if len(set(addresses)) < len(addresses):
        raise _malformed("should have an address of its own for each worker", text)
    if not isinstance(task, Mapping) or "type" not in task or not isinstance(task.get("index"), (int, str)):
        raise _malformed("should say which worker this is, as its `task` with `type` and `index`", text)
    own = next(
        (n for n, (kind, index, _) in enumerate(rows) if [kind, str(index)] == [task["type"], str(task["index"])]), None
    )
    if own is None:
        known = [f"{kind} {index}" for kind, index, _ in rows]
        raise _malformed(f"should have a `task` of the cluster, one of {known}", text)
    return Cluster(addresses, tuple(f"{kind} {index}" for kind, index, _ in rows), own)


def _malformed(expected: str, text: str) -> ValueError:
    return ValueError(f"The environment variable TF_CONFIG {expected}. Received: {text}. An example: {_EXAMPLE}")
