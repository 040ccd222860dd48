"""The benchmark of the training step runs, and writes what it shows."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "step_cost.py"
SMALL = ["--networks", "mlp", "--tasks", "2", "--balancers", "equal", "pcgrad"]


def run(*arguments):
    command = [sys.executable, str(SCRIPT), *SMALL, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_compares_with_plain_keras(tmp_path):
    process = run("--steps", "3", "--turns", "2", "--json", str(tmp_path / "cost.json"))
    assert process.returncode == 0, process.stderr
    rows = json.loads((tmp_path / "cost.json").read_text())["rows"]
    assert [row["balancer"] for row in rows] == ["plain", "equal", "pcgrad"]
    assert [row["limit"] for row in rows] == [None, 1.05, 1.75]
    assert rows[0]["ratio"] == 1
    assert all(row["milliseconds"] > 0 for row in rows)
    assert "beside plain Keras" in process.stdout


def test_too_few_turns_are_refused_before_measuring():
    process = run("--turns", "1")
    assert process.returncode == 2
    assert "should be at least 2" in process.stderr
