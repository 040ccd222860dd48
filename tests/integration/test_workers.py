"""Two worker processes do what one does, and are told at the start what keeps them from it."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.integration._worker import run
from tests.models import others_slow

ROOT = Path(__file__).parents[2]
FAMILIES = [
    "equal",
    "uncertainty",
    "famo",
    "auto_lambda",
    "gradnorm",
    "db_mtl",
    "pcgrad",
    "nash_mtl",
    "moco",
    "graddrop",
]


def start(folder, balancer, *arguments, module="_worker"):
    """Starts two workers, the second with further arguments; gives the processes."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        workers = [f"127.0.0.1:{each.getsockname()[1]}" for each in (one, two)]
    processes = []
    for index in range(2):
        config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        command = [sys.executable, "-m", f"tests.integration.{module}", balancer, str(folder / f"{index}.npz")]
        processes.append(
            subprocess.Popen(
                [*command, *(arguments if index else ())],
                cwd=ROOT,
                env={**os.environ, "TF_CONFIG": json.dumps(config)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    return processes


def outputs(processes):
    try:
        return [process.communicate(timeout=240)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()


@pytest.mark.parametrize(
    "balancer",
    ["upgrad", *(pytest.param(family, marks=pytest.mark.slow) for family in FAMILIES)],
)
def test_two_workers_are_one(balancer, tmp_path):
    processes = start(tmp_path, balancer)
    said = outputs(processes)
    assert [process.returncode for process in processes] == [0, 0], said
    expected = run(tf.distribute.get_strategy(), balancer)
    for index in range(2):
        found = np.load(tmp_path / f"{index}.npz")
        assert set(found) == set(expected)
        for name, value in expected.items():
            tolerance = 1e-5 if name.startswith("weight") else 1e-6
            np.testing.assert_allclose(found[name], value, atol=tolerance, rtol=tolerance, err_msg=f"{index} {name}")


def test_another_model_is_told_to_both(tmp_path):
    processes = start(tmp_path, "equal", "2.0")
    for said, process in zip(outputs(processes), processes, strict=True):
        assert process.returncode != 0
        assert "All workers should compile the same model. Received: they differ in tasks" in said


@pytest.mark.parametrize("mode", others_slow(["saved", "not saved", "notes of the first"], by_default=("saved",)))
def test_arrays_come_in_one_order_without_a_seed(mode, tmp_path):
    """Also where a kill has cut short what Keras notes on one of the workers."""
    processes = start(tmp_path, mode, module="_worker_order")
    said = outputs(processes)
    assert [process.returncode for process in processes] == [0, 0], said
    for index in range(2):
        with np.load(tmp_path / f"{index}.npz") as file:
            weights, epochs = file["weights"], file["epochs"]
        assert weights[0] > 0
        np.testing.assert_allclose(weights, weights[0], rtol=1e-5)
        assert epochs == [1 if mode == "notes of the first" else 0]
    assert "strategy: multi-worker, 2 workers, this is" in said[0]


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("saved by the first", "they differ in the callbacks that save the model"),
        *(
            pytest.param(mode, message, marks=pytest.mark.slow)
            for mode, message in (
                ("split", "each would draw its own.*validation_split"),
                ("validated by the first", "they differ in the validation. Run the same script"),
                ("backup of the first", "they differ in their backups"),
            )
        ),
    ],
)
def test_what_would_go_apart_is_told_to_both(mode, message, tmp_path):
    processes = start(tmp_path, mode, module="_worker_order")
    for said, process in zip(outputs(processes), processes, strict=True):
        assert process.returncode != 0
        assert re.search(message, said), said
