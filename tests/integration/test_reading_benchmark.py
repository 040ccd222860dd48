"""The benchmark of reading runs, and writes what it shows."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "reading.py"


def run(*arguments):
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False)


def test_it_compares_with_pipelines_by_hand(tmp_path):
    small = ["--readers", "from_dataframe", "--examples", "20", "--turns", "2", "--batch-size", "100"]
    process = run(*small, "--json", str(tmp_path / "reading.json"))
    assert process.returncode == 0, process.stderr
    (row,) = json.loads((tmp_path / "reading.json").read_text())["rows"]
    assert (row["reader"], row["steps"], row["limit"]) == ("from_dataframe", 4, 1.05)
    assert min(row["ratio"], row["reading_ratio"], row["milliseconds"]) > 0
    assert "beside hand-written" in process.stdout


def test_too_few_turns_are_refused_before_measuring():
    process = run("--turns", "1")
    assert process.returncode == 2
    assert "should be at least 2" in process.stderr
