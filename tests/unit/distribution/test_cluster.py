"""The cluster that TF_CONFIG describes."""

import json

import pytest

from keras_mtl.distribution._cluster import Cluster, host_and_port, read_cluster


def given(monkeypatch, value):
    monkeypatch.setenv("TF_CONFIG", value if isinstance(value, str) else json.dumps(value))


def cluster_of(jobs, kind="worker", index=0):
    return {"cluster": jobs, "task": {"type": kind, "index": index}}


@pytest.mark.parametrize("value", ["", "  ", {}, {"cluster": {}}])
def test_none(monkeypatch, value):
    given(monkeypatch, value)
    assert read_cluster() is None


def test_workers(monkeypatch):
    given(monkeypatch, cluster_of({"worker": ["a:1", "b:2"]}, index=1))
    assert read_cluster() == Cluster(("a:1", "b:2"), ("worker 0", "worker 1"), 1)


def test_a_chief_comes_first(monkeypatch):
    given(monkeypatch, cluster_of({"worker": ["b:2"], "chief": ["a:1"]}, index="0"))
    assert read_cluster() == Cluster(("a:1", "b:2"), ("chief 0", "worker 0"), 1)


def test_addresses():
    assert host_and_port("some.host:80") == ("some.host", 80)
    assert host_and_port("[::1]:80") == ("::1", 80)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{", r"should be JSON \(.*\). Received: {. An example: "),
        ([1], "should be a JSON object"),
        ({"cluster": ["a:1"]}, "should have a `cluster` of lists"),
        (cluster_of({"worker": "a:1"}), "should have a `cluster` of lists"),
        (cluster_of({"worker": ["a:1"], "ps": ["b:1"]}), r"not of \['ps'\]"),
        (cluster_of({"worker": ["a:1"], "chief": ["b:1", "c:1"]}), "one 'chief' at most"),
        (cluster_of({"worker": ["a"]}), "addresses `host:port`, not 'a'"),
        (cluster_of({"worker": ["a:0"]}), "addresses `host:port`, not 'a:0'"),
        (cluster_of({"worker": [1]}), "addresses `host:port`, not 1"),
        (cluster_of({"worker": ["a:1", "a:1"]}), "an address of its own"),
        ({"cluster": {"worker": ["a:1"]}}, "should say which worker this is"),
        (cluster_of({"worker": ["a:1"]}, index=1), r"one of \['worker 0'\]"),
        (cluster_of({"worker": ["a:1"]}, kind="chief"), r"one of \['worker 0'\]"),
    ],
)
def test_malformed(monkeypatch, value, message):
    given(monkeypatch, value)
    with pytest.raises(ValueError, match=f"TF_CONFIG .*{message}"):
        read_cluster()
