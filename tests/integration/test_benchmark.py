"""The benchmark of the training step runs, and writes what it shows."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "step_cost.py"
SMALL = ["--networks", "mlp", "--tasks", "2", "--balancers", "equal", "pcgrad", "upgrad:every10", "mgda:features"]


def run(*arguments):
    command = [sys.executable, str(SCRIPT), *SMALL, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_it_compares_with_plain_keras(tmp_path):
    quick = ["--seconds", "0.01", "--turns", "2", "--solver-calls", "5"]
    process = run(*quick, "--json", str(tmp_path / "cost.json"))
    assert process.returncode == 0, process.stderr
    result = json.loads((tmp_path / "cost.json").read_text())
    rows = result["rows"]
    assert [row["balancer"] for row in rows] == ["plain", "equal", "pcgrad", "upgrad:every10", "mgda:features"]
    assert [row["limit"] for row in rows] == [None, 1.05, 1.75, None, 1.15]
    assert all(row["milliseconds"] > 0 and row["ratio"] > 0 for row in rows)
    assert {row["num_tasks"] for row in result["solvers"]} == {10, 40}
    assert all(row["milliseconds"] > 0 for row in result["solvers"])
    assert "beside plain Keras" in process.stdout


def test_too_few_turns_are_refused_before_measuring():
    process = run("--turns", "1")
    assert process.returncode == 2
    assert "should be at least 2" in process.stderr
