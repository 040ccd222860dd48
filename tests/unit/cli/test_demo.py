"""The demo, with one epoch."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from typer.testing import CliRunner

from keras_mtl import data
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
    images = next(iter(data.multi_digits("test", batch_size=50, data_dir=tmp_path)))[0].numpy()
    model = keras.saving.load_model(output / "best.keras")
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


def test_overwriting_replaces_an_earlier_demo(demo, tmp_path, monkeypatch):
    """Without the training, which the fixture has seen."""
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


def test_the_command_line_shows_its_help():
    process = subprocess.run(
        [sys.executable, "-c", "from keras_mtl.cli import main; main()", "demo", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    for option in ("--output", "--epochs", "--seed", "--overwrite"):
        assert option in process.stdout
    assert json.dumps(process.stderr).count("Traceback") == 0
