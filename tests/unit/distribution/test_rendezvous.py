"""Workers that wait for each other: here threads of one process."""

import socket
import threading
import time

import pytest

from keras_mtl.distribution._cluster import Cluster
from keras_mtl.distribution._rendezvous import meet


def free_addresses(number):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    addresses = tuple(f"127.0.0.1:{each.getsockname()[1]}" for each in sockets)
    for each in sockets:
        each.close()
    return addresses


def together(facts, delays=None, timeout=20.0):
    """What each of several workers says: None, or the error."""
    number = len(facts)
    addresses, names = free_addresses(number), tuple(f"worker {index}" for index in range(number))
    results = [None] * number

    def work(index):
        time.sleep((delays or [0.0] * number)[index])
        try:
            meet(Cluster(addresses, names, index), facts[index], timeout)
        except (OSError, ValueError) as error:
            results[index] = error

    threads = [threading.Thread(target=work, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    return results


@pytest.mark.parametrize("delays", [[0, 0, 0], [0.7, 0, 0.3], [0, 0, 1]])
def test_they_meet(delays):
    assert together([{"Keras": "1"}] * 3, delays) == [None] * 3


def test_one_alone_meets_nobody():
    assert together([{"Keras": "1"}]) == [None]


def test_one_that_does_not_come_is_named():
    addresses = free_addresses(3)
    cluster = Cluster(addresses, ("chief 0", "worker 0", "worker 1"), 0)
    begin = time.monotonic()
    with pytest.raises(TimeoutError, match=f"chief 0 waited 0.5 seconds for: worker 0 .{addresses[1]}., worker 1 "):
        meet(cluster, {}, 0.5)
    assert time.monotonic() - begin < 10


def test_all_are_told_which_one_runs_something_else():
    results = together([{"Keras": "1"}, {"Keras": "1"}, {"Keras": "2"}])
    assert [type(result) for result in results] == [ValueError] * 3
    assert "worker 2 has Keras '2' and worker 0 '1'" in str(results[0])
    assert "worker 0 has Keras '1' and worker 2 '2'; worker 1 has" in str(results[2])


def test_an_address_that_is_taken_is_told():
    with socket.create_server(("", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(OSError, match="in use"):
            meet(Cluster((address, "127.0.0.1:1"), ("worker 0", "worker 1"), 0), {}, 0.5)


def test_strangers_and_other_clusters_are_not_counted():
    addresses = free_addresses(2)
    names, errors = ("worker 0", "worker 1"), []

    def first():
        try:
            meet(Cluster(addresses, names, 0), {}, 3.0)
        except TimeoutError as error:
            errors.append(error)

    thread = threading.Thread(target=first)
    thread.start()
    time.sleep(0.3)
    host, port = addresses[0].split(":")
    for message in (b"GET / HTTP/1.1\r\n\r\n", b'{"cluster": ["other:1"], "index": 1}\n', b"[]\n", b""):
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(message)
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert len(errors) == 1
