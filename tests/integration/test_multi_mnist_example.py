"""The example on MultiMNIST composes as it says, runs, and says what its intervals allow."""

import json

import numpy as np
import pytest

from examples import multi_mnist


@pytest.fixture
def digits():
    """Two digits in ink of different strength, so that each can be found."""
    return np.stack([np.full((28, 28), 100, "uint8"), np.full((28, 28), 200, "uint8")]), np.array([3, 7])


def test_two_digits_are_laid_over_each_other(digits):
    images, classes = multi_mnist.compose(*digits, 50, seed=0)
    assert images.shape == (50, 36, 36, 1)
    assert images.dtype == "uint8"
    ink = {3: 100, 7: 200}
    for image, left, right in zip(images[..., 0], classes["left"], classes["right"], strict=True):
        assert set(np.unique(image)) <= {0, ink[left], ink[right]}
        begin, *_, end = np.flatnonzero(image.max(axis=0))
        assert 0 <= begin <= 2
        assert 33 <= end <= 35
        assert image[:, begin].max() == ink[left]
        assert image[:, end].max() == ink[right]


def test_the_images_are_the_seeds(digits):
    (first, _), (again, _), (other, _) = (multi_mnist.compose(*digits, 20, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize(
    "gains, said",
    [([1.0, 1.1, 1.2], "is better than"), ([-1.0, -1.1, -1.2], "is worse than"), ([1.0, -1.0, 0.5], "cannot be told")],
    ids=["better", "worse", "neither"],
)
def test_the_verdict_follows_from_the_interval(gains, said):
    verdict = multi_mnist.verdict("equal", gains)
    assert said in verdict
    assert f"Δm {np.mean(gains):+.2f} %" in verdict


def test_no_digit_of_one_part_is_in_another(tmp_path, monkeypatch):
    """Digits of a part are in a strength of ink that is its own."""
    monkeypatch.setattr(multi_mnist, "compose", lambda images, classes, number, seed: (images, classes))
    x = np.repeat(np.array([1, 2], "uint8"), [50_000, 10_000])
    path = tmp_path / "mnist.npz"
    np.savez(path, x_train=x, y_train=x, x_test=np.full(10_000, 3, "uint8"), y_test=np.zeros(10_000, "uint8"))
    parts = [{int(value) for batch, _ in part for value in np.unique(batch)} for part in multi_mnist.read(path, 100)]
    assert parts == [{1}, {2}, {3}]


@pytest.mark.data
@pytest.mark.slow
def test_it_runs(pytestconfig, tmp_path, monkeypatch, capsys):
    path = pytestconfig.rootpath.parent / "shared" / "data" / "mnist" / "mnist.npz"
    if not path.exists():
        pytest.skip("needs MNIST at ../shared/data/mnist")
    monkeypatch.setattr(
        "sys.argv",
        ["multi_mnist", "--data", str(path), "--images", "2000", "--epochs", "1", "--seeds", "2"]
        + ["--json", str(tmp_path / "result.json")],
    )
    multi_mnist.main()
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert [sorted(run) for run in result["test_accuracy"]] == [["equal", "single_task", "upgrad"]] * 2
    assert "single-task networks" in capsys.readouterr().out
