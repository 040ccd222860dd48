"""Files and folders that are written whole or not at all."""

from pathlib import Path

import pytest

from keras_mtl._files import check_absent, replacing


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

    def test_puts_the_old_one_back_if_the_move_fails(self, tmp_path, monkeypatch):
        path = tmp_path / "old.txt"
        path.write_text("old")
        rename = Path.rename

        def fail_on_the_new_one(self, target):
            if self.name == "old.txt" and self != path:
                raise OSError("no space left")
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", fail_on_the_new_one)
        with pytest.raises(OSError, match="no space left"), replacing(path, overwrite=True) as new:
            new.write_text("new")
        assert tree(tmp_path) == {"old.txt": "old"}
