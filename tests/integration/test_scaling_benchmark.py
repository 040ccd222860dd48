"""The benchmark of scaling runs, and the bytes that it reads off the graph are those of its formulas."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "scaling.py"


def run(path, *arguments):
    command = [sys.executable, str(SCRIPT), "--json", str(path), *arguments]
    subprocess.run(command, cwd=SCRIPT.parents[1], check=True, capture_output=True, timeout=600)
    return json.loads(path.read_text(encoding="utf-8"))["rows"]


@pytest.mark.slow
def test_bytes(tmp_path):
    few = ("--networks", "mlp", "--tasks", "2", "--turns", "2", "--builds", "1", "--seconds", "0.01")
    rows = run(tmp_path / "scaling.json", *few, "--replicas", "2", "--balancers", "equal", "upgrad")
    assert [(row["balancer"], row["name"]) for row in rows] == [("equal", "2 replicas"), ("upgrad", "2 replicas")]
    for row in rows:
        numbers = row["parameters"]["all"]
        if row["exchanged"] == "P + TS":
            numbers += row["num_tasks"] * row["parameters"]["shared"]
        # And some numbers for each task: losses and counts of labels.
        assert 4 * numbers < row["bytes"] < 4 * (numbers + 50)


@pytest.mark.slow
def test_every_family_and_number_of_replicas(tmp_path):
    few = ("--networks", "mlp", "--tasks", "3", "--turns", "2", "--builds", "1", "--seconds", "0.01")
    rows = run(tmp_path / "scaling.json", *few)
    assert {row["name"] for row in rows} == {"guard", "one replica", "the same", "2 replicas", "4 replicas"}
    assert len(rows) == 5 * 7
