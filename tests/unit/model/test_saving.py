"""Files of models are written whole or not at all."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_mtl._files import replacing
from tests.models import largest_difference, two_task_model


@pytest.fixture
def model():
    found = two_task_model()
    found.compile("adam")
    return found


def write(model, path):
    (model.save_weights if str(path).endswith(".weights.h5") else model.save)(path)


NAMES = ["model.keras", "model.weights.h5"]


@pytest.mark.parametrize("name", NAMES)
def test_a_failure_within_a_save_leaves_the_old_file_and_nothing_else(name, model, tmp_path, monkeypatch):
    write(model, tmp_path / name)
    old = (tmp_path / name).read_bytes()
    model.get_layer("trunk").kernel.assign(np.zeros((6, 16)))

    def fail(store):
        raise RuntimeError("in the middle")

    monkeypatch.setattr(model, "save_own_variables", fail)
    with pytest.raises(RuntimeError, match="in the middle"):
        write(model, tmp_path / name)
    assert (tmp_path / name).read_bytes() == old
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", NAMES)
def test_the_old_file_is_there_until_the_new_one_is_complete(name, model, tmp_path, monkeypatch):
    path = tmp_path / name
    path.write_bytes(b"old")
    replace, seen = os.replace, []

    def look(source, target):
        seen.append((path.read_bytes(), Path(source).stat().st_size > 1000, os.fspath(target)))
        replace(source, target)

    monkeypatch.setattr(os, "replace", look)
    write(model, path)
    assert seen == [(b"old", True, str(path))]


@pytest.mark.parametrize("name", NAMES)
def test_it_writes_through_a_link(name, model, tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / name).symlink_to(tmp_path / "store" / name)
    write(model, tmp_path / name)
    assert (tmp_path / name).is_symlink()
    assert (tmp_path / "store" / name).stat().st_size > 1000


def test_what_is_no_file_is_left_to_keras(model, tmp_path, monkeypatch):
    (tmp_path / "folder.keras").mkdir()
    (tmp_path / "folder.keras" / "mine").write_text("mine")
    with pytest.raises(IsADirectoryError):
        model.save(tmp_path / "folder.keras")
    assert (tmp_path / "folder.keras" / "mine").read_text() == "mine"
    with pytest.raises(FileNotFoundError):
        model.save(tmp_path / "nowhere" / "model.keras")
    with pytest.raises(ValueError, match="Invalid filepath extension.*model.txt"):
        model.save(tmp_path / "model.txt")
    with pytest.raises(ValueError, match=r"must end in `.weights.h5`.*model.keras"):
        model.save_weights(tmp_path / "model.keras")
    model.save(tmp_path / "unzipped", zipped=False)
    assert largest_difference(model, keras.saving.load_model(tmp_path / "unzipped")) == 0
    model.save_weights(tmp_path / "shards.weights.json", max_shard_size=0.001)
    model.load_weights(tmp_path / "shards.weights.json")


@pytest.mark.parametrize("answer", ["y", "n"])
def test_keras_asks_before_it_overwrites(answer, model, tmp_path, monkeypatch):
    path = tmp_path / "model.keras"
    path.write_bytes(b"old")
    questions = []
    monkeypatch.setattr("builtins.input", lambda question: (questions.append(question), answer)[1])
    model.save(path, overwrite=False)
    assert str(path) in questions[0]
    assert (path.read_bytes() == b"old") == (answer == "n")


def test_a_file_that_is_cut_short_is_named(model, tmp_path):
    model.save_weights(tmp_path / "whole.weights.h5")
    path = tmp_path / "model.weights.h5"
    path.write_bytes((tmp_path / "whole.weights.h5").read_bytes()[:3000])
    with pytest.raises(OSError, match=f"`{path}` could not be read.*Remove it to begin anew"):
        model.load_weights(path)
    with pytest.raises(FileNotFoundError):
        model.load_weights(tmp_path / "absent.weights.h5")


def test_a_sound_file_that_may_not_be_read_is_not_to_be_removed(model, tmp_path):
    path = tmp_path / "model.weights.h5"
    model.save_weights(path)
    holder = [
        sys.executable,
        "-c",
        f"import h5py; file = h5py.File({str(path)!r}, 'a'); print('held', flush=True); input()",
    ]
    with subprocess.Popen(holder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError) as caught:
            model.load_weights(path)
        process.communicate("\n")
    assert caught.value.filename == str(path)
    assert "Remove" not in str(caught.value)
    model.load_weights(path)


def test_nothing_is_saved_while_trained_batches_are_gone_through_again(model, tmp_path):
    model.progress.catching_up = True
    for name in NAMES:
        write(model, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_save_clears_what_a_killed_process_left(model, tmp_path):
    code = f"""
import os
from keras_mtl._files import replacing
with replacing({str(tmp_path / "model.keras")!r}, overwrite=True) as new:
    new.write_text("half")
    os.kill(os.getpid(), 9)
"""
    assert replacing.__module__ == "keras_mtl._files"
    subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    assert len(list(tmp_path.iterdir())) == 1
    model.save(tmp_path / "model.keras")
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]


FULL = """
import resource, signal, sys
import keras_mtl as mtl
from tests.models import two_task_model
model = two_task_model()
model.compile("adam")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
for path in sys.argv[1:]:
    try:
        (model.save_weights if path.endswith(".weights.h5") else model.save)(path)
    except Exception as error:
        print(type(error).__name__, error)
"""


def test_a_full_disk_is_told_and_loses_nothing(model, tmp_path):
    paths = [tmp_path / name for name in NAMES]
    for path in paths:
        write(model, path)
    old = [path.read_bytes() for path in paths]
    done = subprocess.run(
        [sys.executable, "-c", FULL, *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert [path.read_bytes() for path in paths] == old, done.stdout + done.stderr
    for path in paths:
        said = f"OSError [Errno 27] `{path}` was not written, and what was there is left as it was: File too large"
        assert said in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)
