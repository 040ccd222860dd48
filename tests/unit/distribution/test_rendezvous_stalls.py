"""The meeting of workers when one of them stalls, or a stranger calls."""

import socket
import threading
import time

from keras_mtl.distribution import _rendezvous
from keras_mtl.distribution._cluster import Cluster


def _cluster(index):
    with socket.create_server(("", 0)) as one, socket.create_server(("", 0)) as other:
        ports = [server.getsockname()[1] for server in (one, other)]
    return Cluster(tuple(f"localhost:{port}" for port in ports), ("worker 0", "worker 1"), index)


def test_worker_that_stalls_before_it_says_that_it_has_heard(monkeypatch):
    first = _cluster(0)
    message, stalled, done = _rendezvous._message, [], []

    def slow(value):
        if value == "heard" and threading.current_thread().name == "second" and not stalled:
            stalled.append(True)
            time.sleep(2.3)
        return message(value)

    monkeypatch.setattr(_rendezvous, "_message", slow)

    def meet(index):
        _rendezvous.meet(Cluster(first.addresses, first.names, index), {"Python": "3"}, 15.0)
        done.append(index)

    threads = [
        threading.Thread(target=meet, args=(index,), name=name) for index, name in enumerate(("first", "second"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stalled
    assert sorted(done) == [0, 1]


def test_stranger_that_sends_deep_brackets_ends_nothing():
    cluster = _cluster(0)
    with _rendezvous._listening(cluster, {"Python": "3"}) as heard_by:
        port = int(cluster.addresses[0].rpartition(":")[2])
        with socket.create_connection(("localhost", port)) as stranger:
            stranger.sendall(b"[" * 60000 + b"\n")
            stranger.settimeout(5)
            assert stranger.recv(1) == b""
        other = Cluster(cluster.addresses, cluster.names, 1)
        assert _rendezvous._ask(other, 0, time.monotonic() + 5) == {"Python": "3"}
        end = time.monotonic() + 5
        while 1 not in heard_by and time.monotonic() < end:
            time.sleep(0.05)
        assert 1 in heard_by
