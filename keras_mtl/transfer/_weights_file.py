"""The weights of each layer, in the format of Keras' weights files, in which a model can be compared with a file."""

from __future__ import annotations

import contextlib
import os
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras

from keras_mtl.transfer._selection import check_model

_WITHIN_KERAS_FILE = "model.weights.h5"
# What a compiled model holds beside its layers, which is left as it is.
_OF_TRAINING = ("optimizer/", "loss_balancer/", "gradient_balancer/", "vars/progress", "vars/random_state_")


@dataclass(frozen=True)
class LayerWeights:
    """The weights of a layer in a file.

    Args:
        place: the group of the layer in the file: its class and number, in each model on the way to it.
        shapes: the shape of each weight, by where it lies within that group.
    """

    place: str
    shapes: dict[str, tuple[int, ...]]


@contextlib.contextmanager
def weights_file(source: Any) -> Iterator[Path]:
    """The path of a weights file with what a model, a `.keras` file or a weights file holds.

    Nothing of a `.keras` file but its weights is read: no code comes with it.

    Raises:
        ValueError: if the source is of another kind, or the file cannot be read.
        FileNotFoundError: if there is no file.
    """
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(source, keras.Model):
            check_model(source)
            path = Path(folder) / "own.weights.h5"
            source.save_weights(path)
            yield path
            return
        if not isinstance(source, (str, os.PathLike)) or not str(source).endswith((".keras", ".weights.h5")):
            raise ValueError(
                "Parameter `source` should be a Keras model, or the path of a `.keras` or `.weights.h5` file. "
                f"Received: source={source!r}"
            )
        path = Path(source)
        if not path.is_file():
            raise FileNotFoundError(
                f"Parameter `source` should be a file that exists. Received: source={str(source)!r}"
            )
        if path.suffix == ".keras":
            try:
                with zipfile.ZipFile(path) as archive:
                    path = Path(archive.extract(_WITHIN_KERAS_FILE, folder))
            except (KeyError, zipfile.BadZipFile) as error:
                raise ValueError(f"`{source}` is no `.keras` file with weights in it: {error}") from error
        yield path


def layers_of(path: Path, source: Any) -> dict[str, LayerWeights]:
    """The layers in a weights file that have weights, by path through the models that contain them.

    Args:
        path: the file.
        source: what it was made of, for messages.

    Raises:
        ValueError: if it is not the weights file of a Functional or Sequential model, as Keras 3 writes it.
    """
    try:
        with h5py.File(path, "r") as file:
            if "layers" not in file:
                raise ValueError("it has no `layers`")
            return _layers(file["layers"], "")
    except (OSError, ValueError) as error:
        raise ValueError(
            "The source should hold the weights of a Functional or Sequential model, as `save` and `save_weights` of "
            f"Keras 3 write them. Received: {source}, where {error}"
        ) from error


def _layers(group: h5py.Group, prefix: str) -> dict[str, LayerWeights]:
    found: dict[str, LayerWeights] = {}
    named: dict[str, list[str]] = {}  # within a layer of a class of one's own, several may have one name
    for key in group:
        inner = _inner(group, key)
        name = inner["vars"].attrs.get("name") if "vars" in inner else None
        if not isinstance(name, str):
            raise ValueError(f"`{inner.name}` has no name")
        named.setdefault(name, []).append(key)
    for name, keys in named.items():
        for key in keys:
            inner = _inner(group, key)
            own = name if len(keys) == 1 else key
            while len(keys) > 1 and own in named:  # the key of one is the name of another
                own += "_"
            path = f"{prefix}/{own}" if prefix else own
            shapes = {at: shape for at, shape in _shapes(inner, "").items() if not at.startswith(_OF_TRAINING)}
            if "layers" in inner and all(at.startswith("layers/") for at in shapes):
                found.update(_layers(_inner(inner, "layers"), path))
            elif shapes:  # a layer; or one that has others in its `layers`, with weights of its own beside them
                found[path] = LayerWeights(inner.name, shapes)
    return found


def _shapes(group: h5py.Group, prefix: str) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for key in group:
        inner = _inner(group, key)
        if isinstance(inner, h5py.Group):
            found.update(_shapes(inner, f"{prefix}{key}/"))
        else:
            found[f"{prefix}{key}"] = tuple(inner.shape)
    return found


def _inner(group: h5py.Group, key: str) -> Any:
    """What is in a group, if it is in the file: a link would have another file read."""
    if not isinstance(group.get(key, getlink=True), h5py.HardLink):
        raise ValueError(f"`{group.name}/{key}` is a link to elsewhere")
    found = group[key]
    if isinstance(found, h5py.Dataset) and (found.external or found.is_virtual):
        raise ValueError(f"`{found.name}` has its numbers elsewhere")
    return found
