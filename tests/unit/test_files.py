"""Files and folders that are written whole or not at all."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from keras_mtl import _files as files
from keras_mtl._files import check_absent, check_room, replacing


def tree(folder):
    """All files below a folder, with what they hold."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def write_half(path, error):
    """Begins a folder in place of `path`, and fails."""
    with replacing(path, overwrite=True) as new:
        new.mkdir()
        (new / "half").write_text("half")
        raise error


class TestCheckAbsent:
    def test_returns_a_path_where_nothing_is(self, tmp_path):
        assert check_absent(str(tmp_path / "new"), overwrite=False) == tmp_path / "new"

    @pytest.mark.parametrize("name", ["file", "folder"])
    def test_refuses_one_where_something_is(self, tmp_path, name):
        (tmp_path / "file").write_text("old")
        (tmp_path / "folder").mkdir()
        message = rf"`{tmp_path / name}` is there already.*overwrite=True.*--overwrite"
        with pytest.raises(FileExistsError, match=message):
            check_absent(tmp_path / name, overwrite=False)
        assert check_absent(tmp_path / name, overwrite=True) == tmp_path / name


class TestReplacing:
    @pytest.mark.parametrize("overwrite", [False, True])
    def test_a_file_appears_when_the_block_ends(self, tmp_path, overwrite):
        path = tmp_path / "new.txt"
        with replacing(str(path), overwrite=overwrite) as new:
            new.write_text("new")
            assert not path.exists()
            assert new.name == path.name
        assert tree(tmp_path) == {"new.txt": "new"}
        assert list(tmp_path.iterdir()) == [path]

    def test_a_folder_appears_with_all_that_is_in_it(self, tmp_path):
        with replacing(tmp_path / "model", overwrite=False) as new:
            (new / "assets").mkdir(parents=True)
            (new / "assets" / "a").write_text("1")
            (new / "b").write_text("2")
        assert tree(tmp_path) == {"model/assets/a": "1", "model/b": "2"}

    def test_makes_the_folders_above(self, tmp_path):
        with replacing(tmp_path / "deep" / "down" / "new", overwrite=False) as new:
            new.write_text("new")
        assert tree(tmp_path) == {"deep/down/new": "new"}

    def test_works_beside_the_path_so_that_the_move_stays_on_one_disk(self, tmp_path):
        with replacing(tmp_path / "new", overwrite=False) as new:
            assert new.parent.parent == tmp_path
            new.write_text("new")

    def test_refuses_before_the_block_what_is_there(self, tmp_path):
        path = tmp_path / "old.txt"
        path.write_text("old")
        with pytest.raises(FileExistsError), replacing(path, overwrite=False):
            pytest.fail("the block ran")
        assert tree(tmp_path) == {"old.txt": "old"}

    def test_replaces_a_file_only_when_the_block_ends(self, tmp_path):
        path = tmp_path / "old.txt"
        path.write_text("old")
        with replacing(path, overwrite=True) as new:
            new.write_text("new")
            assert path.read_text() == "old"
        assert tree(tmp_path) == {"old.txt": "new"}
        assert list(tmp_path.iterdir()) == [path]

    def test_replaces_a_folder_whole(self, tmp_path):
        path = tmp_path / "model"
        path.mkdir()
        (path / "stale").write_text("old")
        with replacing(path, overwrite=True) as new:
            new.mkdir()
            (new / "fresh").write_text("new")
        assert tree(tmp_path) == {"model/fresh": "new"}

    @pytest.mark.parametrize("old, new_is_folder", [("file", True), ("folder", False)])
    def test_replaces_a_file_by_a_folder_and_the_reverse(self, tmp_path, old, new_is_folder):
        path = tmp_path / "thing"
        if old == "file":
            path.write_text("old")
        else:
            path.mkdir()
            (path / "stale").write_text("old")
        with replacing(path, overwrite=True) as new:
            if new_is_folder:
                new.mkdir()
            (new / "fresh" if new_is_folder else new).write_text("new")
        assert tree(tmp_path) == {"thing/fresh" if new_is_folder else "thing": "new"}

    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
    def test_a_failure_leaves_nothing_behind(self, tmp_path, error):
        with pytest.raises(error):
            write_half(tmp_path / "new", error)
        assert list(tmp_path.iterdir()) == []

    def test_a_failure_leaves_what_was_there(self, tmp_path):
        path = tmp_path / "old.txt"
        path.write_text("old")
        with pytest.raises(RuntimeError):
            write_half(path, RuntimeError)
        assert tree(tmp_path) == {"old.txt": "old"}
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("there", [False, True])
    def test_a_block_that_writes_nothing_fails_and_leaves_what_was_there(self, tmp_path, there):
        path = tmp_path / "old.txt"
        if there:
            path.write_text("old")
        with pytest.raises(FileNotFoundError), replacing(path, overwrite=True):
            pass
        assert tree(tmp_path) == ({"old.txt": "old"} if there else {})
        assert list(tmp_path.iterdir()) == [path] * there

    def test_does_not_replace_what_came_while_the_block_ran(self, tmp_path):
        path = tmp_path / "new.txt"

        def race():
            with replacing(path, overwrite=False) as new:
                new.write_text("new")
                path.write_text("another's")

        with pytest.raises(FileExistsError):
            race()
        assert tree(tmp_path) == {"new.txt": "another's"}

    def test_puts_the_old_folder_back_if_the_move_fails(self, tmp_path, monkeypatch):
        path = tmp_path / "old"
        path.mkdir()
        (path / "a").write_text("old")
        rename = Path.rename

        def fail_on_the_new_one(self, target):
            if self.name == "old" and self != path:
                raise OSError("no space left")
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", fail_on_the_new_one)

        def exchange():
            with replacing(path, overwrite=True) as new:
                new.mkdir()
                (new / "a").write_text("new")

        with pytest.raises(OSError, match="no space left"):
            exchange()
        assert tree(tmp_path) == {"old/a": "old"}

    def test_keeps_the_permissions_of_the_file(self, tmp_path):
        path = tmp_path / "old.txt"
        path.write_text("old")
        path.chmod(0o604)
        with replacing(path, overwrite=True) as new:
            new.write_text("new")
        assert path.stat().st_mode & 0o777 == 0o604


# Run by file, without the package: its imports take seconds.
LOAD = f"""
import importlib.util, os, resource, signal, sys
spec = importlib.util.spec_from_file_location("files", {str(Path(files.__file__))!r})
files = importlib.util.module_from_spec(spec)
spec.loader.exec_module(files)
"""


def python(code, *arguments, **kwargs):
    command = [sys.executable, "-c", LOAD + code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **kwargs)


KILLED = """
with files.replacing(sys.argv[1], overwrite=True) as new:
    new.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


class TestKilled:
    def test_what_was_there_stays_and_the_next_call_clears_up(self, tmp_path):
        path = tmp_path / "old.txt"
        path.write_text("old")
        for _ in range(2):
            assert python(KILLED, path).returncode == -signal.SIGKILL
            assert path.read_text() == "old"
            assert len(list(tmp_path.iterdir())) == 2  # the second one cleared the first one's
        with replacing(path, overwrite=True) as new:
            new.write_text("new")
        assert tree(tmp_path) == {"old.txt": "new"}
        assert list(tmp_path.iterdir()) == [path]

    def test_a_folder_that_was_half_exchanged_is_completed(self, tmp_path):
        path = tmp_path / "model"
        path.mkdir()
        (path / "a").write_text("old")
        code = """
rename = type(files.Path()).rename
def killed(self, target):
    rename(self, target)
    os.kill(os.getpid(), signal.SIGKILL)
type(files.Path()).rename = killed
with files.replacing(sys.argv[1], overwrite=True) as new:
    new.mkdir()
    (new / "a").write_text("new")
"""
        assert python(code, path).returncode == -signal.SIGKILL
        assert not path.exists()
        with pytest.raises(FileExistsError), replacing(path, overwrite=False):
            pytest.fail("the block ran")
        assert tree(tmp_path) == {"model/a": "new"}

    def test_the_folders_of_living_processes_and_of_other_paths_are_left(self, tmp_path):
        code = "with files.replacing(sys.argv[1], overwrite=True) as new:\n    new.write_text('its'); print(); input()"
        command = [sys.executable, "-c", f"{LOAD}\n{code}", str(tmp_path / "x")]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as living:
            living.stdout.readline()
            assert python(KILLED, tmp_path / "x.y").returncode == -signal.SIGKILL
            with replacing(tmp_path / "x", overwrite=True) as new:
                new.write_text("mine")
            assert (tmp_path / "x").read_text() == "mine"
            assert len(list(tmp_path.iterdir())) == 3
            living.communicate("\n")
            assert living.returncode == 0
        assert (tmp_path / "x").read_text() == "its"
        assert len(list(tmp_path.iterdir())) == 2


class TestFailures:
    def test_a_full_disk_is_told_and_loses_nothing(self, tmp_path):
        path = tmp_path / "old.txt"
        path.write_text("old")
        code = """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
with files.replacing(sys.argv[1], overwrite=True) as new:
    new.write_text("x" * 2000)
"""
        said = python(code, path).stderr
        assert f"`{path}` was not written, and what was there is left as it was: File too large" in said
        assert tree(tmp_path) == {"old.txt": "old"}
        assert list(tmp_path.iterdir()) == [path]

    def test_a_folder_that_may_not_be_written_in_is_told(self, tmp_path):
        (tmp_path / "old.txt").write_text("old")
        tmp_path.chmod(0o555)
        code = """
if os.getuid() == 0:
    os.setuid(65534)
with files.replacing("old.txt", overwrite=True) as new:
    new.write_text("new")
"""
        # Whoever runs this may write everywhere, or not look into the folders above: so the folder is entered first.
        said = python(code, cwd=tmp_path).stderr
        tmp_path.chmod(0o755)
        assert "PermissionError: [Errno 13] `old.txt` was not written" in said
        assert tree(tmp_path) == {"old.txt": "old"}

    def test_a_file_in_the_place_of_a_folder_is_told(self, tmp_path):
        (tmp_path / "a").write_text("a file")
        with pytest.raises(OSError, match=f"`{tmp_path / 'a' / 'b'}` was not written"):
            write_half(tmp_path / "a" / "b", RuntimeError)
        assert tree(tmp_path) == {"a": "a file"}


class TestCheckRoom:
    def test_where_there_is_room_nothing_is_left(self, tmp_path):
        check_room(tmp_path / "new", 10_000)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("allocates", [True, False])
    def test_where_there_is_none_it_says_so(self, tmp_path, allocates, monkeypatch):
        if not allocates:
            monkeypatch.delattr(os, "posix_fallocate")
        with pytest.raises(OSError, match="No space left|too large"):
            check_room(tmp_path / "new", 2**62)
        assert list(tmp_path.iterdir()) == []
