"""What the benchmarks say follows from the intervals, and their files are written whole."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def judgement(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("_judgement")


def test_the_interval_is_students(judgement):
    values = [0.81, 0.84, 0.86, 0.83]
    mean, half = judgement.interval(values)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose([mean - half, mean + half], [low, high])


def test_several_intervals_hold_together(judgement):
    values = [0.81, 0.84, 0.86, 0.83]
    mean, half = judgement.interval(values, comparisons=12)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(1 - 0.05 / 12)
    np.testing.assert_allclose([mean - half, mean + half], [low, high])


def test_the_sentence_follows_from_the_intervals(judgement):
    differences = {"up": [0.10, 0.11, 0.12], "down": [-0.10, -0.11, -0.12], "even": [-0.1, 0.1, 0.02]}
    said = judgement.sentence("test", differences, 3, "single-task models")
    better, worse, neither = said.removeprefix("test: ").split("; ")
    assert better.startswith("up (+0.1100 ± ")
    assert better.endswith(" better than single-task models")
    assert worse.startswith("down (-0.1100 ± ")
    assert worse.endswith(" worse than single-task models")
    assert neither.startswith("even (+0.0067 ± ")
    assert neither.endswith(" cannot be told from single-task models.")


def test_more_comparisons_say_less(judgement):
    differences = {"a": [0.01, 0.02, 0.03]}
    assert "cannot be told" in judgement.sentence("test", differences, 1, "b")
    sure = {"a": [0.018, 0.02, 0.022]}
    assert "better than b" in judgement.sentence("test", sure, 1, "b")
    assert "cannot be told" in judgement.sentence("test", sure, 1000, "b")


def test_the_file_is_whole_or_the_earlier_one(judgement, tmp_path):
    path = tmp_path / "result.json"
    judgement.write_json(path, {"a": 1})
    judgement.write_json(path, {"a": 2})
    with pytest.raises(TypeError):
        judgement.write_json(path, {"a": object()})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": 2}
    assert list(tmp_path.iterdir()) == [path]
