"""Files and folders that are written whole or not at all, and never over another without being asked."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


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

    What stood at `path` before is removed only once the new one is complete.

    Args:
        path: the file or folder to write.
        overwrite: whether one that is there may be replaced.

    Raises:
        FileExistsError: if something is there and `overwrite` is false.
    """
    path = check_absent(path, overwrite=overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    workshop = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        new = workshop / path.name
        yield new
        if check_absent(path, overwrite=overwrite).exists():
            old = path.rename(workshop / "replaced")
            try:
                new.rename(path)
            except OSError:
                old.rename(path)
                raise
        else:
            new.rename(path)
    finally:
        shutil.rmtree(workshop)
