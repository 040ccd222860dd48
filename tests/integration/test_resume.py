"""A training that is killed and started again, as often as it takes, ends where one ends that nobody disturbs."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.integration._resuming import KINDS, build, run

ROOT = Path(__file__).parents[2]
MOMENTS = ["rename", "flush", "notes", "half", "step", "batch", "epoch", "between"]


def start(kind, folder, kill=""):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.integration._resuming", kind, str(folder)],
        cwd=ROOT,
        env={**os.environ, "KILL": kill},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def trained(kind, folder, kill=""):
    """Runs a training; whether it came to its end, and was not killed."""
    process = start(kind, folder, kill)
    said = process.communicate(timeout=240)[0]
    assert process.returncode in (0, -signal.SIGKILL), said
    return process.returncode == 0


def check_files(kind, folder):
    """What bears the name of a file of weights can be loaded, and is complete."""
    balancer, _, _, at_once = KINDS[kind]
    for path in folder.rglob("*.weights.h5"):
        if not any(part.endswith(".partial") for part in path.parts):
            model = build(balancer, at_once)
            model.load_weights(path)
            assert model.progress.loaded


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The result of a training that nobody disturbs, by kind, each run once."""
    found = {}

    def of(kind):
        if kind not in found:
            folder = tmp_path_factory.mktemp(kind)
            run(kind, folder)
            with np.load(folder / "result.npz") as file:
                found[kind] = dict(file)
        return found[kind]

    return of


def check_result(folder, expected):
    with np.load(folder / "result.npz") as file:
        found = dict(file)
    logs = {name for name in expected if name.startswith("log")}
    assert set(found) in (set(expected), set(expected) - logs)
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], atol=1e-6, rtol=1e-6, err_msg=name)
    assert not (folder / "backup").exists()


def test_killed_within_an_epoch_and_within_a_save(tmp_path, undisturbed):
    # After the 7th batch, 4 of which are in the backup; then where the notes of Keras are half-written.
    for kill in ("batch:7", "half:3"):
        assert not trained("batches", tmp_path, kill)
        check_files("batches", tmp_path)
    assert trained("batches", tmp_path)
    check_result(tmp_path, undisturbed("batches"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_killed_ten_times(kind, tmp_path, undisturbed):
    draws = random.Random(kind)
    kills = 0
    while kills < 10:
        # The process may come to its end before: the moments are counted from its start.
        done = trained(kind, tmp_path, f"{draws.choice(MOMENTS)}:{draws.randint(1, 5)}")
        check_files(kind, tmp_path)
        if done:
            check_result(tmp_path, undisturbed(kind))
            (tmp_path / "result.npz").unlink()
        kills += not done
    assert trained(kind, tmp_path)
    check_result(tmp_path, undisturbed(kind))


@pytest.mark.slow
def test_killed_at_any_time(tmp_path, undisturbed):
    draws = random.Random(0)
    begin = time.monotonic()
    assert trained("batches", tmp_path)
    length = time.monotonic() - begin
    (tmp_path / "result.npz").unlink()
    for _ in range(10):
        process = start("batches", tmp_path)
        try:
            said = process.communicate(timeout=draws.uniform(0.3, 1.0) * length)[0]
            assert process.returncode == 0, said
            check_result(tmp_path, undisturbed("batches"))
            (tmp_path / "result.npz").unlink()
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        check_files("batches", tmp_path)
    assert trained("batches", tmp_path)
    check_result(tmp_path, undisturbed("batches"))
