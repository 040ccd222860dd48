"""Files of a model are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keras_mtl._files import replacing

_SUFFIXES = (".keras", ".h5", ".hdf5")


def write_whole(path: Any, write: Callable[[Any], None], *, asks: bool) -> None:
    """Has a file written to a temporary path, which then takes the place of what was there.

    What has no local rename, or is no single file, is left to Keras: addresses such as `gs://...` and `hf://...`, open
    files, folders, devices, names that Keras refuses, and a file that is there and about which Keras is to ask.

    Args:
        path: the path that was given.
        write: writes to a path, which has the name of the given one.
        asks: whether a file that is there is not to be replaced without a question.

    Raises:
        OSError: if the file cannot be written.
    """
    # Through a link, so that it is the file that is replaced, and not the link.
    place = Path(os.path.realpath(path)) if _is_local(path) else None
    if place is None or not place.parent.is_dir() or (place.exists() and (asks or not place.is_file())):
        write(path)
        return
    with replacing(place, overwrite=True) as new:
        write(new)


def load_whole(path: Any, load: Callable[[], None]) -> None:
    """Has a file loaded.

    Raises:
        OSError: if it cannot be read; the message names the path.
    """
    try:
        load()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise OSError(
            f"`{path}` could not be read: it is no file of weights, or its writing was cut short, as that of other "
            f"programs may be. Remove it to begin anew, or put an earlier one in its place. ({error})"
        ) from error


def _is_local(path: Any) -> bool:
    return isinstance(path, (str, os.PathLike)) and "://" not in str(path) and str(path).endswith(_SUFFIXES)
