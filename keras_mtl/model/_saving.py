"""Files of a model are written whole or not at all."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from keras_mtl._files import check_room, replacing

_SUFFIXES = (".keras", ".h5", ".hdf5")
# Bytes of a file beside the numbers: for each variable, and for the rest. Too many rather than too few.
_EACH, _REST = 4096, 2**16


def write_whole(model: keras.Model, path: Any, write: Callable[[Any], None], *, asks: bool) -> None:
    """Has a file of a model written to a temporary path, which then takes the place of what was there.

    What has no local rename, or is no single file, is left to Keras: addresses such as `gs://...` and `hf://...`, open
    files, folders, devices, names that Keras refuses, and a file that is there and about which Keras is to ask.

    Args:
        model: the model.
        path: the path that was given.
        write: writes to a path, which has the name of the given one.
        asks: whether a file that is there is not to be replaced without a question.

    Raises:
        OSError: if the file cannot be written, for want of room on the disk, say.
    """
    # Through a link, so that it is the file that is replaced, and not the link.
    place = Path(os.path.realpath(path)) if _is_local(path) else None
    if place is None or not place.parent.is_dir() or (place.exists() and (asks or not place.is_file())):
        write(path)
        return
    with replacing(place, overwrite=True) as new:
        # HDF5 ends the process where the disk becomes full.
        check_room(new, _size(model))
        write(new)


def load_whole(path: Any, load: Callable[[], None]) -> None:
    """Has a file loaded.

    Raises:
        OSError: if it cannot be read; the message names the path. What the system refuses, as it does where the file is
            another user's or being written, is of the class that it has there.
    """
    try:
        load()
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno is not None:
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise OSError(
            f"`{path}` could not be read: it is no file of weights, or its writing was cut short, as that of other "
            f"programs may be. Remove it to begin anew, or put an earlier one in its place. ({error})"
        ) from error


def _is_local(path: Any) -> bool:
    return isinstance(path, (str, os.PathLike)) and "://" not in str(path) and str(path).endswith(_SUFFIXES)


def _size(model: keras.Model) -> int:
    """How many bytes a file of the model has, at most."""
    variables = [*model.variables, *(model.optimizer.variables if model.compiled else [])]
    return _REST + sum(_EACH + math.prod(each.shape) * (8 if "64" in each.dtype else 4) for each in variables)
