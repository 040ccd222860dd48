"""The benchmark of task affinity measures what it says."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("affinity")


def test_a_turn_has_two_measurements(benchmark):
    found = benchmark.cost("mlp", 2, turns=1)
    assert found["measurements_a_turn"] == 2
    assert found["ratios"] == [found["ratio"]]
    assert found["ratio"] > 0  # of one turn on a busy machine, no more can be said


def test_correlations_leave_out_the_diagonal(benchmark):
    rng = np.random.default_rng(0)
    first = rng.normal(size=(5, 5))
    second = np.exp(first)
    np.fill_diagonal(second, rng.normal(size=5))
    found = benchmark.correlation(first, second)
    assert found["ordered"] == pytest.approx(1)
    assert benchmark.correlation(first, -first)["pairs"] == pytest.approx(-1)
    other_levels = first + 100 * rng.normal(size=5)  # of the targets, which are columns
    assert benchmark.correlation(first, other_levels)["by_target"] == pytest.approx(1)
    assert benchmark.correlation(first, other_levels)["ordered"] < 0.9
    runs = [{"joint": {"affinity": first + step}, "pairs": {"gains": second * (1 + step)}} for step in range(3)]
    found = benchmark.order(runs)
    assert [len(found[key]) for key in ("of a seed", "gains of two seeds")] == [3, 3]
    assert benchmark.said(found).count("\n") == 3
    gains = (second, first, -first, -first)
    halves = benchmark.order([{**runs[0], "pairs": {"gains": each}} for each in gains])["gains of half the seeds"]
    assert [each["pairs"] for each in halves] == [pytest.approx(-benchmark.correlation(first, first + second)["pairs"])]
    assert (
        "gains of two seeds, over pairs and by target: +1.00 and +1.00, +1.00 and +1.00, +1.00 and +1.00. On average +1"
        in (benchmark.said(found))
    )


def test_they_are_spearmans_with_their_chance(benchmark):
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 6, 6))
    apart, above = ~np.eye(6, dtype=bool), np.triu_indices(6, 1)
    found = benchmark.correlation(first, second)
    assert found["ordered"] == pytest.approx(stats.spearmanr(first[apart], second[apart])[0])
    both = (first + first.T)[above], (second + second.T)[above]
    assert found["pairs"] == pytest.approx(stats.spearmanr(*both)[0])
    columns = [(first[apart[:, task], task], second[apart[:, task], task]) for task in range(6)]
    assert found["by_target"] == pytest.approx(np.mean([stats.spearmanr(*column)[0] for column in columns]))
    alike, nothing = benchmark.correlation(first, second + 9 * first), benchmark.correlation(np.zeros((6, 6)), first)
    levels = [rng.normal(size=(2, 6, 6)) + 5 * rng.normal(size=(2, 1, 6)) for _ in range(60)]  # of the targets
    for kind in ("ordered", "pairs", "by_target"):
        assert found[f"{kind}_p"] > 0.05
        assert alike[f"{kind}_p"] <= 0.01
        assert (nothing[kind], nothing[f"{kind}_p"]) == (0, 1)
        chances = [benchmark.correlation(*pair)[f"{kind}_p"] for pair in levels]
        assert 0.35 < np.mean(chances) < 0.65  # uniform, of matrices that have nothing in common


def test_halves_are_of_different_people(benchmark):
    drawers, characters = np.tile(np.arange(20), 3), np.repeat(np.arange(3), 20)
    alphabet = benchmark.omniglot.Alphabet(np.zeros((60, 35, 35, 1), "uint8"), characters, drawers)
    alphabets = {"Greek": alphabet, "Latin": alphabet}
    rows = benchmark.omniglot.split(alphabets, 0)
    twice, found = benchmark.halves(alphabets, rows)
    assert list(twice) == ["Greek_1", "Greek_2", "Latin_1", "Latin_2"]
    for part, number in benchmark.omniglot.NUM_DRAWERS.items():
        of_halves = [found[part][f"Greek_{half}"] for half in (1, 2)]
        assert sorted(np.concatenate(of_halves)) == sorted(rows[part]["Greek"])
        people = [set(drawers[chosen]) for chosen in of_halves]
        assert len(people[0]) == len(people[1]) == number // 2
        assert not people[0] & people[1]
        assert all(set(characters[chosen]) == {0, 1, 2} for chosen in of_halves)


def test_the_largest_alphabets_are_two_tasks(benchmark):
    def alphabet(size):
        return benchmark.omniglot.Alphabet(
            np.zeros((20 * size, 35, 35, 1), "uint8"), np.repeat(np.arange(size), 20), np.tile(np.arange(20), size)
        )

    alphabets = {"Greek": alphabet(3), "Latin": alphabet(7)}
    rows = benchmark.omniglot.split(alphabets, 0)
    more, found = benchmark.parts(alphabets, rows, 4)
    assert {name: each.num_classes for name, each in more.items()} == {
        "Greek": 3,
        "Latin_1": 3,
        "Latin_2_1": 2,
        "Latin_2_2": 2,
    }
    for part, of_part in found.items():
        np.testing.assert_array_equal(of_part["Greek"], rows[part]["Greek"])
        latin = [of_part[name] for name in ("Latin_1", "Latin_2_1", "Latin_2_2")]
        assert sorted(np.concatenate(latin)) == sorted(rows[part]["Latin"])
        originals = [alphabets["Latin"].characters[chosen] for chosen in latin]
        assert [set(characters) for characters in originals] == [{0, 1, 2}, {3, 4}, {5, 6}]
        for name, chosen, original in zip(("Latin_1", "Latin_2_1", "Latin_2_2"), latin, originals, strict=True):
            np.testing.assert_array_equal(more[name].characters[chosen], original - original.min())
    assert set(rows["train"]) == {"Greek", "Latin"}


def test_how_often_twins_are_ahead(benchmark):
    values = np.zeros((6, 6))
    values[0, 1] = values[3, 2] = values[4, 5] = 1  # of either direction
    assert benchmark.twins_ahead(values) == 1
    assert benchmark.twins_ahead(-values) == 0
    values[0, 2] = 2  # of twelve others, one ahead of all three
    assert benchmark.twins_ahead(values) == pytest.approx(11 / 12)


COST = {"num_tasks": 2, "ratio": 1.4}


@pytest.mark.slow
def test_it_runs_on_drawings(benchmark, tmp_path, capsys):
    omniglot = benchmark.omniglot
    rng = np.random.default_rng(0)

    def alphabet():
        images = rng.integers(0, 256, (40, omniglot.SIDE, omniglot.SIDE, 1)).astype("uint8")
        return omniglot.Alphabet(
            images, np.repeat([0, 1], 20).astype("int32"), np.tile(np.arange(20), 2).astype("int32")
        )

    alphabets = {name: alphabet() for name in ("Greek", "Latin", "Tagalog")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(omniglot, "read", lambda folder: alphabets)
        patch.setattr(benchmark, "cost", lambda network, num_tasks, turns: {"network": network, **COST})
        for name in omniglot.FILES:
            (tmp_path / name).touch()
        benchmark.main(
            ["--data", str(tmp_path), "--networks", "mlp", "--tasks", "2", "--seeds", "1", "--epochs", "1"]
            + ["--filters", "2", "--units", "4", "--every", "1", "--json", str(tmp_path / "affinity.json")]
        )
    result = json.loads((tmp_path / "affinity.json").read_text())
    assert np.array(result["runs"][0]["joint"]["affinity"]).shape == (3, 3)
    assert (np.diag(result["runs"][0]["pairs"]["gains"]) == 0).all()
    shown = capsys.readouterr().out
    assert "Spearman" in shown
    assert "1.40 × │          no" in shown
    with pytest.raises(SystemExit):
        benchmark.main(["--data", str(tmp_path / "absent")])
    assert f"there is no {omniglot.FILES[0]}" in capsys.readouterr().err
