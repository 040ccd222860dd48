"""Learning curves show each model's line."""

import pytest

from keras_mtl import plots, tasks
from keras_mtl.evaluation import Report, Result


@pytest.fixture
def report():
    def result(name, curve):
        return Result(name, {}, {}, 1, 1.0, {"val_a_mae": curve}, None)

    return Report(
        [tasks.Regression("a")], {"a": result("s", [3, 2, 1])}, [result("equal", [4, 3, 2]), result("stopped", [5, 4])]
    )


def test_each_model_is_a_line(report):
    pyplot = pytest.importorskip("matplotlib.pyplot", reason="Matplotlib is not installed")
    ax = plots.learning_curve(report, "a")
    assert [line.get_label() for line in ax.lines] == ["single-task", "equal", "stopped"]
    assert list(ax.lines[0].get_ydata()) == [3, 2, 1]
    assert list(ax.lines[1].get_xdata()) == [1, 2, 3]
    assert list(ax.lines[2].get_xdata()) == [1, 2]
    assert ax.get_ylabel() == "validation mae (lower is better)"
    _, other = pyplot.subplots()
    assert plots.learning_curve(report, "a", ax=other) is other
    pyplot.close("all")


def test_an_unknown_task(report):
    with pytest.raises(ValueError, match="Unknown task of the report: 'b'. The known ones are: a."):
        plots.learning_curve(report, "b")
