"""The SavedModel: all signatures, through TensorFlow alone, whole or not at all."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import MultiTaskModel, backbones, build_model, export, tasks


@pytest.fixture
def model(digit_tasks):
    return build_model(backbones.Convolutional((8, 8, 1), filters=(4, 8)), digit_tasks)


def test_a_signature_for_all_tasks_and_one_for_each(model, digits, tmp_path):
    images = digits[0]
    export.saved_model(model, tmp_path / "serving" / "1")
    loaded = tf.saved_model.load(tmp_path / "serving" / "1")
    assert {"serving_default", "digit", "is_even", "value"} == set(loaded.signatures)
    expected = model.predict(images, verbose=0)
    inputs = tf.constant(images, tf.float32)
    everything = loaded.signatures["serving_default"](image=inputs)
    assert everything.keys() == expected.keys()
    for task, value in expected.items():
        np.testing.assert_allclose(everything[task], value, atol=1e-6)
        alone = loaded.signatures[task](image=inputs)
        assert list(alone) == [task]
        np.testing.assert_allclose(alone[task], value, atol=1e-6)


def test_the_signature_of_a_task_holds_nothing_of_the_others(tmp_path):
    x = keras.Input((3,), name="x")
    outputs = {name: keras.layers.Dense(units, name=name)(x) for name, units in (("a", 1), ("b", 2))}
    model = MultiTaskModel(x, outputs, [tasks.Regression("a"), tasks.Regression("b", num_outputs=2)])
    export.saved_model(model, tmp_path / "model")
    loaded = tf.saved_model.load(tmp_path / "model")
    captured = {tuple(variable.shape) for variable in loaded.signatures["a"].variables}
    assert captured == {(3, 1), (1,)}


def test_a_fresh_process_predicts_the_same(model, digits, tmp_path):
    export.saved_model(model, tmp_path / "model")
    differences = export.verify_saved_model(model, tmp_path / "model", digits[0])
    assert differences.keys() == {
        "digit/digit",
        "is_even/is_even",
        "value/value",
        *(f"serving_default/{task}" for task in ("digit", "is_even", "value")),
    }
    assert max(differences.values()) <= 1e-5


def test_verification_notices_another_model(model, digits, digit_tasks, tmp_path):
    export.saved_model(model, tmp_path / "model")
    other = build_model(backbones.Convolutional((8, 8, 1), filters=(4, 8)), digit_tasks)
    assert max(export.verify_saved_model(other, tmp_path / "model", digits[0]).values()) > 1e-3
    with pytest.raises(RuntimeError, match="does not run in a fresh process"):
        export.verify_saved_model(model, tmp_path / "nothing", digits[0])


def test_several_inputs(tmp_path):
    inputs = {"left": keras.Input((3,), name="left"), "right": keras.Input((2,), name="right")}
    trunk = keras.layers.Concatenate()(list(inputs.values()))
    model = MultiTaskModel(inputs, {"a": keras.layers.Dense(1, name="a")(trunk)}, [tasks.Regression("a")])
    export.saved_model(model, tmp_path / "model")
    x = {"left": np.ones((4, 3), "float32"), "right": np.ones((4, 2), "float32")}
    assert max(export.verify_saved_model(model, tmp_path / "model", x).values()) <= 1e-6


def test_what_is_there_stays(model, tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    (path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is there already, and is left as it is.*overwrite=True"):
        export.saved_model(model, path)
    assert (path / "mine.txt").read_text() == "mine"
    export.saved_model(model, path, overwrite=True)
    assert not (path / "mine.txt").exists()
    assert (path / "saved_model.pb").is_file()
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_a_failed_export_leaves_nothing(model, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("the disk is full")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(OSError, match="the disk is full"):
        export.saved_model(model, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["serving_default", "signatures"])
def test_a_name_that_a_saved_model_keeps_for_itself(name, tmp_path):
    model = build_model("mlp", [tasks.Regression(name), tasks.Regression("b")], input_shape=(3,))
    with pytest.raises(ValueError, match=f"keeps the name '{name}' for itself.*`label`"):
        export.saved_model(model, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_the_script_says_when_the_package_sneaks_in(tmp_path):
    from keras_mtl.export import _run_saved_model

    code = f"import keras_mtl, runpy, sys; sys.argv = ['x', 'a', 'b', 'c']; import {_run_saved_model.__name__} as s\n"
    code += "import numpy as np, tensorflow as tf\n"
    code += "np.savez('x.npz', arr_0=np.ones(1)); tf.saved_model.save(tf.Module(), 'm'); s.main('m', 'x.npz', 'y.npz')"
    process = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "keras_mtl was imported" in process.stderr
