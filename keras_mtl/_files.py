"""Files and folders that are written whole or not at all, and never over another without being asked."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows: what a killed process leaves stays there
    fcntl = None  # type: ignore[assignment]

_SUFFIX = ".partial"
_LOCK = ".lock"


def check_absent(path: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Returns `path` if it may be written.

    Raises:
        FileExistsError: if something is there and `overwrite` is false.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"`{path}` is there already, and is left as it is. Choose another path, or pass overwrite=True "
            "(`--overwrite` on the command line) to replace it."
        )
    return path


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], *, overwrite: bool) -> Iterator[Path]:
    """A temporary path beside `path`, moved to `path` when the block ends well, and removed when it fails.

    What stood at `path` before is removed only once the new one is complete and on the disk: of a file in one
    operation, so that there is the old one or the new one at any moment. A folder is exchanged in two, between which a
    killed process leaves none; the next call completes that. The temporary path is in a hidden folder
    (`.{name}.????????.partial`), of which each process has its own, under a lock; those of processes that were killed
    are removed by the next call for the same path.

    Args:
        path: the file or folder to write.
        overwrite: whether one that is there may be replaced.

    Raises:
        FileExistsError: if something is there and `overwrite` is false.
        OSError: if it cannot be written, because the disk is full or the folder may not be written in, say. The message
            names `path`.
    """
    path = Path(path)
    _clear(path)
    check_absent(path, overwrite=overwrite)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        workshop, lock = _begin(path)
        try:
            new = workshop / path.name
            yield new
            _flush(new)
            check_absent(path, overwrite=overwrite)
            _move(new, path, workshop / "replaced")
        finally:
            lock.close()
            shutil.rmtree(workshop)
    except OSError as error:
        if isinstance(error, FileExistsError) and error.errno is None:  # of `check_absent`
            raise
        reason = f"`{path}` was not written, and what was there is left as it was: {error.strerror or error}"
        # With a number, Python makes it the subclass that goes with that, PermissionError say.
        raise OSError(*([] if error.errno is None else [error.errno]), reason) from error


def check_room(path: Path, size: int) -> None:
    """Finds out, before a file is written, whether there is room for it: the space is taken, and given back.

    For a library that does not survive a full disk. Limits of a user and of a process count too.

    Raises:
        OSError: if there is not.
    """
    try:
        with path.open("wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            elif shutil.disk_usage(path.parent).free < size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        path.unlink(missing_ok=True)


def _begin(path: Path) -> tuple[Path, IO[str]]:
    """A new hidden folder beside `path`, and the open file by which it is locked as long as this process lives."""
    while True:
        workshop = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=_SUFFIX, dir=path.parent))
        try:
            lock = (workshop / _LOCK).open("w", encoding="utf-8")
        except FileNotFoundError:  # another process took it for one that was left
            continue
        with contextlib.suppress(OSError):  # a file system without locks
            if fcntl:
                fcntl.flock(lock, fcntl.LOCK_EX)
        if (workshop / _LOCK).exists():
            return workshop, lock
        lock.close()


def _clear(path: Path) -> None:
    """Removes what killed processes left of `path`: hidden folders whose lock nobody holds."""
    start = f".{path.name}."
    with contextlib.suppress(OSError):
        # Without a lock nobody can tell. A folder above may be missing, or not ours to read.
        names = os.listdir(path.parent) if fcntl else []
        for name in names:
            inner = name.removeprefix(start).removesuffix(_SUFFIX)
            if name == f"{start}{inner}{_SUFFIX}" and "." not in inner:
                _clear_one(path.parent / name, path)


def _clear_one(workshop: Path, path: Path) -> None:
    try:
        lock = (workshop / _LOCK).open("r+", encoding="utf-8")
    except FileNotFoundError:
        with contextlib.suppress(OSError):  # not empty: another process begins
            workshop.rmdir()
        return
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
        if (workshop / "replaced").exists() and not path.exists():
            (workshop / path.name).rename(path)
        shutil.rmtree(workshop, ignore_errors=True)


def _flush(path: Path) -> None:
    """Waits until a file, or all files in a folder, are on the disk."""
    if path.is_dir():
        for inner in path.iterdir():
            _flush(inner)
        return
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _move(new: Path, path: Path, replaced: Path) -> None:
    if not (new.is_dir() or path.is_dir()):
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(path, new)
        os.replace(new, path)
    elif path.exists():
        path.rename(replaced)
        try:
            new.rename(path)
        except OSError:
            replaced.rename(path)
            raise
    else:
        new.rename(path)
