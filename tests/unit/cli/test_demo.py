"""The demo, with one epoch."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from typer.testing import CliRunner

from keras_mtl import data, evaluation
from keras_mtl.cli import _demo
from keras_mtl.cli._app import app


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    output = tmp_path_factory.mktemp("demo") / "output"
    result = CliRunner().invoke(app, ["demo", "--output", str(output), "--epochs", "1"])
    assert result.exit_code == 0, result.output
    return output, result.output


def test_it_writes_what_it_says(demo):
    output, text = demo
    assert {path.name for path in output.iterdir()} == {
        "comparison.md",
        "learning_curves.png",
        "best.keras",
        "saved_model",
    }
    table = (output / "comparison.md").read_text(encoding="utf-8")
    for name in (
        "3 × single-task",
        "equal",
        "uncertainty",
        "pcgrad",
        "† selected",
        "Δm",
        "parameters",
        "Sharing",
    ):
        assert name in table
    assert (output / "learning_curves.png").read_bytes()[:4] == b"\x89PNG"
    for step in ("1. Data", "2. Training", "3. Comparison", "4. Export", "through TensorFlow alone"):
        assert step in text
    assert [path.name for path in output.parent.iterdir()] == ["output"]


def test_the_saved_models_agree(demo, tmp_path):
    output, _ = demo
    test = data.multi_digits("test", batch_size=250, data_dir=tmp_path)
    images = next(iter(test))[0].numpy()
    model = keras.saving.load_model(output / "best.keras")
    scores = model.evaluate(test, verbose=0, return_dict=True)
    (row,) = [line for line in (output / "comparison.md").read_text(encoding="utf-8").splitlines() if " † |" in line]
    for key, cell in zip(("left_accuracy", "right_accuracy", "sum_mae"), row.split("|")[2:5], strict=True):
        assert scores[key] == pytest.approx(float(cell), abs=1e-4)
    loaded = tf.saved_model.load(output / "saved_model")
    served = loaded.signatures["serving_default"](image=tf.constant(images, tf.float32))
    for task, values in model.predict(images, verbose=0).items():
        np.testing.assert_allclose(served[task], values, atol=1e-5)


def test_it_refuses_to_overwrite(demo):
    output, _ = demo
    before = (output / "comparison.md").stat().st_mtime_ns
    result = CliRunner().invoke(app, ["demo", "--output", str(output), "--epochs", "1"])
    assert result.exit_code == 1
    assert "is there already" in result.output
    assert "--overwrite" in result.output
    assert (output / "comparison.md").stat().st_mtime_ns == before


def test_overwriting_spares_what_no_demo_wrote(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    result = CliRunner().invoke(app, ["demo", "--output", str(tmp_path), "--epochs", "1", "--overwrite"])
    assert result.exit_code == 1
    assert "was not written by a demo" in result.output
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_the_best_on_the_validation_data_is_written(tmp_path, monkeypatch):
    """Without the training, which the fixture has seen; over what an earlier demo wrote."""
    output = tmp_path / "output"
    output.mkdir()
    (output / "comparison.md").write_text("old")
    (output / "old.txt").write_text("old")
    seen = {}

    def compare(build, found, train, validation, test, **arguments):
        seen.update(train=len(train), validation=validation, test=test)

        def result(name, subset, validation, test):
            curves = {f"val_{task.name}_{task.primary_metric}": [1.0] for task in subset}
            return evaluation.Result(name, validation, test, 1, 1.0, curves, build(subset))

        singles = {task.name: result("s", [task], {task.name: 0.5}, {task.name: 0.5}) for task in found}
        good, bad = {"left": 0.9, "right": 0.9, "sum": 0.1}, {"left": 0.1, "right": 0.1, "sum": 0.9}
        multi = [result("bad", found, bad, good), result("good", found, good, bad)]
        return evaluation.Report(found, singles, multi)

    monkeypatch.setattr(evaluation, "compare", compare)
    report = _demo.run_demo(output, epochs=1, seed=0, overwrite=True)
    assert report.best.name == "good"
    assert "| good † |" in (output / "comparison.md").read_text(encoding="utf-8")
    assert not (output / "old.txt").exists()
    images = next(iter(seen["test"]))[0].numpy()
    saved = keras.saving.load_model(output / "best.keras").predict(images, verbose=0)
    np.testing.assert_allclose(saved["left"], report.best.model.predict(images, verbose=0)["left"], atol=1e-6)
    assert seen["train"] == 94
    assert not np.array_equal(next(iter(seen["validation"]))[0].numpy(), images)


def test_a_demo_that_fails_leaves_the_earlier_one(tmp_path, monkeypatch):
    output = tmp_path / "output"
    output.mkdir()
    (output / "comparison.md").write_text("old")

    class Stop(Exception):  # noqa: N818
        pass

    def stop(*_):
        raise Stop

    monkeypatch.setattr(_demo, "_compare", stop)
    with pytest.raises(Stop):
        _demo.run_demo(output, epochs=1, seed=0, overwrite=True)
    assert (output / "comparison.md").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["output"]


def test_what_it_needs_is_asked_for_before_any_training(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(_demo, "_compare", lambda *_: pytest.fail("it has trained"))
    result = CliRunner().invoke(app, ["demo", "--output", str(tmp_path / "output")])
    assert result.exit_code == 1
    assert "pip install 'keras_mtl[plots]'" in result.output


def test_the_command_line_shows_its_help():
    process = subprocess.run(
        [sys.executable, "-c", "from keras_mtl.cli import main; main()", "demo", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    for option in ("--output", "--epochs", "--seed", "--overwrite"):
        assert option in process.stdout
    assert "Traceback" not in process.stderr
