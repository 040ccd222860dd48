"""Before TensorFlow connects the workers: are they all there, and do they run the same code?

TensorFlow waits for a worker that does not come without an end, and workers that run different code wait for each other
in operations that do not match. So each worker listens at its own address for a moment, and asks all others what they
run. It leaves when it has heard all of them and all of them have heard it: then all know the same.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping

from keras_mtl.distribution._cluster import Cluster, host_and_port

_LINE = 65536
_PAUSE = 0.1


def meet(cluster: Cluster, facts: Mapping[str, str], timeout: float) -> None:
    """Waits until all workers have told each other what they run.

    Args:
        cluster: the workers.
        facts: what has to be the same on all of them, by what it is called in the message.
        timeout: how many seconds to wait.

    Raises:
        TimeoutError: if a worker did not come in time: the message names it.
        ValueError: if a worker runs something else: the message says which, and what.
        OSError: if this worker's own address cannot be listened at.
    """
    names, own = cluster.names, cluster.index
    heard: dict[int, Mapping[str, str]] = {own: facts}
    with _listening(cluster, facts) as heard_by:
        end = time.monotonic() + timeout
        while len(heard) < len(names) or len(heard_by) < len(names):
            for index in range(len(names)):
                if index not in heard and (found := _ask(cluster, index, end)) is not None:
                    heard[index] = found
            if time.monotonic() > end:
                absent = [i for i in range(len(names)) if i not in heard or i not in heard_by]
                listed = ", ".join(f"{names[i]} ({cluster.addresses[i]})" for i in absent)
                raise TimeoutError(
                    f"{names[own]} waited {timeout:g} seconds for: {listed}. Start the workers that are missing, all "
                    "with the same cluster in TF_CONFIG, see that their addresses can be reached, or wait longer with "
                    "`timeout`."
                )
            if len(heard) < len(names) or len(heard_by) < len(names):
                time.sleep(_PAUSE)
    differing = [
        f"{names[index]} has {what} {found.get(what)!r} and {names[own]} {value!r}"
        for index, found in sorted(heard.items())
        for what, value in facts.items()
        if found.get(what) != value
    ]
    if differing:
        raise ValueError(f"All workers should run the same. Received: {'; '.join(differing)}. Start them alike.")


@contextlib.contextmanager
def _listening(cluster: Cluster, facts: Mapping[str, str]) -> Iterator[set[int]]:
    """Answers the other workers; gives the set of those that have been answered, which grows."""
    answered, stop = {cluster.index}, threading.Event()
    host, port = host_and_port(cluster.addresses[cluster.index])
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server(("", port), family=family, backlog=2 * len(cluster.names)) as server:
        server.settimeout(_PAUSE)

        def serve() -> None:
            while not stop.is_set():
                with contextlib.suppress(
                    OSError, ValueError, RecursionError
                ):  # nobody came, a stranger did, or one that gave up
                    connection, _ = server.accept()
                    with connection:
                        connection.settimeout(2.0)
                        if (index := _asking(json.loads(_line(connection)), cluster)) is None:
                            continue
                        connection.sendall(_message(facts))
                        if json.loads(_line(connection)) == "heard":
                            connection.sendall(_message("noted"))
                            answered.add(index)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield answered
        finally:
            stop.set()
            thread.join(timeout=5.0)  # a peer that sends byte by byte holds the thread, and not this worker


def _asking(message: object, cluster: Cluster) -> int | None:
    """The place of the worker that asks, or None if it is none of this cluster."""
    for index in range(len(cluster.names)):
        if message == {"cluster": list(cluster.addresses), "index": index}:
            return index
    return None


def _ask(cluster: Cluster, index: int, end: float) -> Mapping[str, str] | None:
    """What a worker runs, or None if it does not answer (yet)."""
    patience = min(2.0, max(_PAUSE, end - time.monotonic()))
    try:
        with socket.create_connection(host_and_port(cluster.addresses[index]), timeout=patience) as connection:
            connection.settimeout(patience)
            connection.sendall(_message({"cluster": list(cluster.addresses), "index": cluster.index}))
            found = json.loads(_line(connection))
            connection.sendall(_message("heard"))
            if json.loads(_line(connection)) != "noted":  # it had no patience: ask again
                return None
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _message(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _line(connection: socket.socket) -> bytes:
    with connection.makefile("rb") as file:
        return file.readline(_LINE)
