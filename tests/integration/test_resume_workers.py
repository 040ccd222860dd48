"""Two workers, of which one is killed, are started again together and end where two end that nobody disturbs."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def start(kind, folder, kill=("", "")):
    """Starts two workers, each of which may be told to kill itself."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        workers = [f"127.0.0.1:{each.getsockname()[1]}" for each in (one, two)]
    processes = []
    for index in range(2):
        config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "tests.integration._resuming", kind, str(folder)],
                cwd=ROOT,
                env={**os.environ, "TF_CONFIG": json.dumps(config), "KILL": kill[index]},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    return processes


def ended(processes):
    """What both said, and how they ended."""
    try:
        said = [process.communicate(timeout=240)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return said, [process.returncode for process in processes]


def results(folder):
    found = []
    for index in range(2):
        with np.load(folder / f"result{index}.npz") as file:
            found.append({name: value for name, value in file.items() if not name.startswith("log")})
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mixture", "batches"])
def test_two_workers_that_share_a_folder(kind, tmp_path):
    folders = [tmp_path / name for name in ("undisturbed", "killed")]
    for folder in folders:
        folder.mkdir()
    said, codes = ended(start(kind, folders[0], ("late:0", "late:0")))
    assert codes == [0, 0], said
    for kill in (("", "batch:12"), ("half:1", ""), ("", "rename:2")):
        processes = start(kind, folders[1], kill)
        index = 1 if kill[1] else 0
        said, codes = ended(processes)
        assert codes[index] == -signal.SIGKILL, said
        # The other notices that its peer is gone, and does not wait for it for ever.
        assert codes[1 - index] != 0, said
    said, codes = ended(start(kind, folders[1]))
    assert codes == [0, 0], said
    expected, found = results(folders[0]), results(folders[1])
    for one in (expected[1], *found):
        for name, value in expected[0].items():
            np.testing.assert_allclose(one[name], value, atol=1e-6, rtol=1e-6, err_msg=name)
    assert not (folders[1] / "backup").exists()
