"""Which strategy is chosen, and what is said of it."""

import json
import logging

import pytest
import tensorflow as tf

from keras_mtl import distribution


def test_without_gpus_and_workers_there_is_none(monkeypatch, caplog, capsys):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with caplog.at_level(logging.INFO, logger="keras_mtl.distribution"):
        assert distribution.strategy().num_replicas_in_sync == 1
    assert "strategy: default, one device: the CPU" in caplog.text
    assert "strategy: default, one device: the CPU" in capsys.readouterr().out


def test_mirrored_without_gpus_takes_the_logical_cpus(caplog, two_replicas):
    with caplog.at_level(logging.INFO, logger="keras_mtl.distribution"):
        found = distribution.strategy("mirrored")
    assert isinstance(found, tf.distribute.MirroredStrategy)
    assert found.num_replicas_in_sync == 2
    assert "CPU:1" in caplog.text


def test_scope_takes_a_strategy(two_replicas):
    with distribution.scope(two_replicas):
        assert tf.distribute.get_strategy() is two_replicas


def test_a_cluster_of_one_is_no_cluster(monkeypatch):
    monkeypatch.setenv(
        "TF_CONFIG", json.dumps({"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}})
    )
    assert not isinstance(distribution.strategy(), tf.distribute.MultiWorkerMirroredStrategy)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "tpu"}, r"`kind` should be one of \['auto', 'default', 'mirrored', 'multi_worker'\]"),
        ({"timeout": -1}, "`timeout` should be a finite number of at least 0"),
        ({"kind": "multi_worker"}, "needs the environment variable TF_CONFIG"),
    ],
)
def test_bad_arguments(monkeypatch, arguments, message):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match=message):
        distribution.strategy(**arguments)


def test_a_malformed_environment_is_told(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{")
    with pytest.raises(ValueError, match="TF_CONFIG should be JSON"):
        distribution.strategy()
