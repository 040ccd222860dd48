"""Readers stream: what they hold in memory does not grow with what they have read."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "_streaming.py"
ROOT = Path(__file__).parents[2]
# Ten million in total.
MANY = {"text_lines": 7_000_000, "image_folder": 1_000_000, "tfds": 2_000_000}
MORE = 100  # megabytes that the last four fifths may take besides; ten million rows of these labels alone are 80


def stream(reader, number, folder):
    if reader == "tfds":
        pytest.importorskip("tensorflow_datasets", reason="needs the extra `data`")
    if not Path("/proc/self/statm").exists():
        pytest.skip("reads the memory of a process from Linux' /proc")
    command = [sys.executable, str(SCRIPT), reader, str(number), str(folder)]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    process = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path}
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return json.loads(process.stdout.splitlines()[-1])


def test_a_small_stream(tmp_path):
    result = stream("text_lines", 300_000, tmp_path)
    assert result["examples"] == 300_000
    assert result["most"] - result["first"] < MORE, result


@pytest.mark.slow
@pytest.mark.parametrize("reader", MANY)
def test_ten_million_examples(reader, tmp_path):
    result = stream(reader, MANY[reader], tmp_path)
    print(reader, result)  # noqa: T201
    assert result["examples"] == MANY[reader]
    assert result["most"] - result["first"] < MORE, result
