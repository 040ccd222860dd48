"""A long training holds its memory and its pace."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "soak.py"


@pytest.mark.parametrize("steps", [200, pytest.param(20_000, marks=pytest.mark.slow)])
def test_memory_traces_and_pace(steps, tmp_path):
    path = tmp_path / "soak.json"
    command = [sys.executable, str(SCRIPT), "--steps", str(steps), "--json", str(path)]
    subprocess.run(command, cwd=SCRIPT.parents[1], check=True, capture_output=True, timeout=1200)
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["finite"]
    assert found["traces"] == 1
    assert found["megabytes"] < 50
    if steps == 20_000:
        # The mark is 1.05, on a machine that does nothing else.
        assert found["slowdown"] < 1.3
