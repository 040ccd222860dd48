"""The benchmark on Omniglot reads, splits and judges as it says."""

import argparse
import importlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def omniglot(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("omniglot")


def png(white):
    """The bytes of a drawing, from where it is white."""
    buffer = io.BytesIO()
    Image.fromarray(np.where(white, 255, 0).astype("uint8")).convert("1").save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture
def folder(omniglot, tmp_path):
    """Two alphabets of two characters in a file, one of them in the other file too."""
    random = np.random.default_rng(0)
    for name, alphabets in zip(omniglot.FILES, (["Greek", "Old_(high)"], ["Greek"]), strict=True):
        with zipfile.ZipFile(tmp_path / name, "w") as file:
            for alphabet in alphabets:
                for character in range(2):
                    stroke = random.integers(0, 105, 2)
                    for drawer in range(20):
                        white = np.ones((105, 105), bool)
                        white[stroke[0], :] = white[:, (stroke[1] + drawer) % 105] = False
                        path = f"root/{alphabet}/character{character:02}/01_{drawer + 1:02}.png"
                        file.writestr(path, png(white))
    return tmp_path


def test_ink_is_averaged(omniglot):
    white = np.ones((105, 105), bool)
    white[:3, :3] = False
    white[3, 3] = False
    image = omniglot.shrunk(png(white))
    assert image.shape == (35, 35, 1)
    assert image.dtype == "uint8"
    assert (image[0, 0, 0], image[1, 1, 0], image[0, 1, 0]) == (255, round(255 / 9), 0)


def test_other_sizes_are_refused(omniglot):
    with pytest.raises(ValueError, match="should be of 105 x 105 pixels"):
        omniglot.shrunk(png(np.ones((28, 28), bool)))


def test_an_alphabet_in_both_files_is_read_once(omniglot, folder):
    alphabets = omniglot.read(folder)
    assert list(alphabets) == ["Greek", "Old_high"]
    for alphabet in alphabets.values():
        assert alphabet.images.shape == (40, 35, 35, 1)
        assert alphabet.num_classes == 2
        np.testing.assert_array_equal(np.bincount(alphabet.drawers), [2] * 20)


def test_people_are_kept_apart(omniglot, folder):
    alphabets = omniglot.read(folder)
    rows = omniglot.split(alphabets, seed=0)
    for name, alphabet in alphabets.items():
        people = [set(alphabet.drawers[rows[part][name]]) for part in omniglot.PARTS]
        assert [len(part) for part in people] == [12, 4, 4]
        assert len(set.union(*people)) == 20
        assert sum(len(rows[part][name]) for part in omniglot.PARTS) == 40
    again, other = omniglot.split(alphabets, seed=0), omniglot.split(alphabets, seed=1)
    np.testing.assert_array_equal(rows["test"]["Greek"], again["test"]["Greek"])
    assert set(rows["test"]["Greek"]) != set(other["test"]["Greek"])


def test_a_drawing_has_a_label_in_its_own_task_alone(omniglot, folder):
    alphabets = omniglot.read(folder)
    rows = omniglot.split(alphabets, seed=0)["test"]
    images, labels = omniglot.gather(alphabets, rows, list(alphabets))
    assert len(images) == 16
    assert ((labels["Greek"] < 0) != (labels["Old_high"] < 0)).all()
    for name in alphabets:
        known = labels[name] >= 0
        np.testing.assert_array_equal(images[known], alphabets[name].images[rows[name]])
        np.testing.assert_array_equal(labels[name][known], alphabets[name].characters[rows[name]])


@pytest.mark.parametrize("num_rows, num_steps, expected", [(640, 10, 64), (641, 10, 65), (5, 10, 1)])
def test_as_many_steps(omniglot, num_rows, num_steps, expected):
    assert omniglot.batch_size_of(num_rows, num_steps) == expected


@pytest.mark.slow
def test_it_runs(omniglot, folder, capsys):
    settings = argparse.Namespace(batch_size=16, filters=[4], units=8, epochs=1)
    result = omniglot.run(omniglot.read(folder), settings, seed=0)
    for kind in ("joint", "single"):
        for part in ("validation", "test"):
            accuracy = result[kind]["accuracy"][part]
            assert list(accuracy) == ["Greek", "Old_high"]
            assert all(0 <= value <= 1 for value in accuracy.values())
    with pytest.raises(SystemExit):
        omniglot.main(["--data", str(folder / "absent")])
    assert f"there is no {omniglot.FILES[0]}" in capsys.readouterr().err


def test_the_judgement_compares_within_a_seed(omniglot):
    def run_of(joint, single):
        kinds = {"joint": joint, "single": single}
        return {kind: {"accuracy": {"test": {"a": value, "b": 0.5}}} for kind, value in kinds.items()}

    runs = [run_of(0.62, 0.70), run_of(0.42, 0.50), run_of(0.81, 0.90)]
    average, by_alphabet = omniglot.judgement(runs).split("\n")
    assert average.startswith("Mean accuracy, test: joint (-0.0417 ± ")
    assert average.endswith("worse than single-task networks.")
    assert "a (-0.0833 ± " in by_alphabet.split("; ")[0]


@pytest.mark.data
def test_the_real_files(omniglot, pytestconfig):
    folder = pytestconfig.rootpath.parent / "shared" / "data" / "omniglot"
    if not folder.exists():
        pytest.skip("needs Omniglot at ../shared/data/omniglot")
    alphabets = omniglot.read(folder)
    numbers = {name: alphabet.num_classes for name, alphabet in alphabets.items()}
    assert numbers == {
        "Balinese": 24,
        "Early_Aramaic": 22,
        "Greek": 24,
        "Japanese_katakana": 47,
        "Korean": 40,
        "Latin": 26,
        "Sanskrit": 42,
        "Tagalog": 17,
    }
    for alphabet in alphabets.values():
        assert len(alphabet.images) == 20 * alphabet.num_classes
