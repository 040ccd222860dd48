"""Pictures of what an architecture has learnt show its numbers."""

import numpy as np
import pytest

from keras_mtl import plots

pyplot = pytest.importorskip("matplotlib.pyplot", reason="Matplotlib is not installed")


@pytest.fixture(autouse=True)
def _closed():
    yield
    pyplot.close("all")


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_expert_use_has_a_number_for_each_expert_of_each_task():
    ax = plots.expert_use({"a": [0.25, 0.75], "b": [0.5, 0.2, 0.3]})
    assert texts(ax) == ["0.25", "0.75", "0.50", "0.20", "0.30"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    other = pyplot.subplots()[1]
    assert plots.expert_use({"a": [1.0]}, ax=other) is other
    with pytest.raises(ValueError, match="Received: no gate"):
        plots.expert_use({})


def test_stitches_of_channels_are_averaged():
    matrix = np.array([[[0.9, 0.1], [0.2, 0.8]], [[0.7, 0.3], [0.0, 1.0]]])
    assert texts(plots.stitches(matrix, ["a", "b"])) == ["0.80", "0.20", "0.10", "0.90"]
    ax = plots.stitches(matrix[0], ["a", "b"])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("features of", "read by")
    with pytest.raises(ValueError, match=r"shape \(3, 3\).* Received: shape \(2, 2, 2\)"):
        plots.stitches(matrix, ["a", "b", "c"])


def test_branching_draws_the_choice_of_every_node():
    parents = {"one": np.array([[0.1, 0.9], [0.5, 0.5]]), "two": np.array([[0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])}
    ax = plots.branching(parents, ["a", "b", "c"])
    chosen = [line for line in ax.lines if line.get_color() == "C0"]
    assert (len(ax.lines), len(chosen)) == (10, 5)
    assert list(chosen[0].get_xdata()) == [0.75, 0.25]  # below the second node
    assert texts(ax) == ["a", "b", "c"]
    with pytest.raises(ValueError, match=r"2 nodes, one for each task. Received: shapes \[\(2, 2\), \(3, 2\)\]"):
        plots.branching(parents, ["a", "b"])
