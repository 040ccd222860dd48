"""Copies weights between models that are not the same."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import keras

from keras_mtl._checks import check_one_of
from keras_mtl._layers import nearest
from keras_mtl.transfer._copy_report import CopyReport
from keras_mtl.transfer._selection import check_model
from keras_mtl.transfer._weights_file import LayerWeights, layers_of, weights_file
from keras_mtl.transfer._words import warn_of_other_words


def copy_weights(
    source: keras.Model | str | os.PathLike[str],
    target: keras.Model,
    by: str | Mapping[str, str] = "name",
    *,
    strict: bool = False,
) -> CopyReport:
    """Copies weights, layer by layer, from a model or a file to another model, and says what it did.

    Use it to begin with what another model has learnt: a backbone that was trained on other tasks, a single-task model,
    a model with other heads. A layer is copied whole, moving statistics included, or not at all. Optimizers,
    balancers and random numbers are left as they are: where an optimizer keeps weights of its own since `compile`, such
    as `ScheduleFreeAdamW` or one with `use_ema=True`, copy first and compile then, or it goes on from the old ones.

    The path of a layer leads through the models that contain it: `"encoder/conv_1"` is the layer `conv_1` of the nested
    model `encoder`. Of layers of one name within a layer, the second is called as `dense_1` in Keras' files.

    Vocabularies are no weights, and stay those of the target: give both models one vocabulary. Where a layer that was
    copied reads other words in a source that is a model, a warning says so; files of weights do not tell.

    Args:
        source: a Functional or Sequential model, or the path of a `.keras` or `.weights.h5` file of one. Of a file
            nothing but the weights is read.
        target: a Functional or Sequential model.
        by: how layers correspond. `"name"`, the default: by their paths. `"structure"`: by class and number among the
            layers of that class, whatever they are called. Or a dict by path in the target of paths in the source,
            where a nested model stands for all of its layers and `""` for the whole model; only what is in the
            dict is copied. Several layers of the target may have the same source.
        strict: whether to copy nothing and raise if a layer of either is left over or differs in shape. Defaults to
            False.

    Returns:
        A `CopyReport`.

    Raises:
        ValueError: if nothing corresponds, as with a file of another architecture, a path of the dict is unknown, or,
            with `strict`, not everything corresponds. The target is left as it was.
        FileNotFoundError: if there is no file.

    Example:

    >>> import keras_mtl as mtl
    >>> backbone = mtl.backbones.MLP((3,), units=(8, 8))
    >>> source = mtl.build_model(backbone, [mtl.tasks.Regression("price")])
    >>> target = mtl.build_model(backbone, [mtl.tasks.Regression("size"), mtl.tasks.Regression("age")], sharing="soft")
    >>> copies = {f"dense_{index}_{task}": f"dense_{index}" for index in (0, 1) for task in ("size", "age")}
    >>> print(mtl.transfer.copy_weights(source, target, copies))
    Copied: 4 layers (dense_0_size, dense_0_age, dense_1_size, dense_1_age).
    Of other shapes: 0 layers.
    Left in the source: 1 layer (price_logits).
    Left in the target: 2 layers (age_logits, size_logits).
    """
    report, copied = _copy(source, target, by, strict=strict, write=True)
    warn_of_other_words(source, target, copied, stacklevel=2)
    return report


def carry(source: keras.Model, target: keras.Model, by: Mapping[str, str]) -> None:
    """What `copy_weights` does, for those who have warned already."""
    _copy(source, target, by, strict=False, write=True)


def correspondence(source: Any, target: keras.Model, by: str | Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """What `copy_weights` would copy, and what it would leave though it is asked for. It raises as that does.

    Returns:
        Paths in the source by paths in the target; and paths in the target that `by` means, of other shapes or without
        a counterpart.
    """
    report, copied = _copy(source, target, by, strict=False, write=False)
    asked = by if isinstance(by, Mapping) else [""]
    left = [*(path for path, *_ in report.differing), *report.left_in_target]
    return copied, [path for path in left if any(_within(path, own) for own in asked)]


def _copy(source: Any, target: Any, by: Any, *, strict: bool, write: bool) -> tuple[CopyReport, dict[str, str]]:
    if not isinstance(by, Mapping):
        check_one_of(by, "by", ("name", "structure"))
    if not isinstance(target, keras.Model):
        raise ValueError(f"Parameter `target` should be a Keras model. Received: target={target!r}")
    check_model(target)
    with weights_file(source) as source_path, weights_file(target) as target_path:
        given, wanted = layers_of(source_path, source), layers_of(target_path, target)
        pairs = _pairs(given, wanted, by)
        copied = {own: other for own, other in pairs.items() if given[other].shapes == wanted[own].shapes}
        report = CopyReport(
            copied=list(copied),
            differing=[
                (own, _shown(given[other]), _shown(wanted[own])) for own, other in pairs.items() if own not in copied
            ],
            left_in_source=[path for path in given if path not in pairs.values()],
            left_in_target=[path for path in wanted if path not in pairs],
        )
        if not copied:
            hint = nearest(next(iter(given)), wanted) if given and wanted else ""
            raise ValueError(
                "The source should have layers that correspond to some of the target, and has none: it is of another "
                f"architecture. Received: layers {list(given)[:3]} in the source, {list(wanted)[:3]} in the target, "
                f"by={by!r}.{hint}\n{report}"
            )
        if strict and not report.is_complete:
            raise ValueError(f"With strict=True, all layers should correspond. Received:\n{report}")
        if write:
            _write(source_path, target_path, [(given[other], wanted[own]) for own, other in copied.items()])
            progress = getattr(target, "progress", None)  # of a `MultiTaskModel`
            loaded = progress is not None and progress.loaded
            target.load_weights(target_path)
            if progress is not None:
                progress.loaded = loaded  # that of a training which goes on from a file, and this is none
    return report, copied


def _pairs(given: Mapping[str, LayerWeights], wanted: Mapping[str, LayerWeights], by: Any) -> dict[str, str]:
    """From paths in the target to paths in the source."""
    if by == "name":
        return {path: path for path in wanted if path in given}
    if by == "structure":
        places = {layer.place: path for path, layer in given.items()}
        return {path: places[layer.place] for path, layer in wanted.items() if layer.place in places}
    pairs: dict[str, str] = {}
    for own, other in by.items():
        inner = {path: other + path[len(own) :] if own else f"{other}/{path}" for path in wanted if _within(path, own)}
        inner = {path: source.strip("/") for path, source in inner.items()}
        if not inner:
            raise ValueError(
                f"Parameter `by` should have paths of layers of the target. Received: {own!r}.{nearest(own, wanted)}"
            )
        if not any(_within(path, other) for path in given):
            raise ValueError(
                f"Parameter `by` should lead to paths of layers of the source. Received: {other!r}, for {own!r}."
                f"{nearest(other, given)}"
            )
        pairs.update({path: source for path, source in inner.items() if source in given})
    return pairs


def _within(path: str, model: str) -> bool:
    return not model or path == model or path.startswith(f"{model}/")


def _shown(layer: LayerWeights) -> str:
    return ", ".join(map(str, layer.shapes.values()))


def _write(source: Path, target: Path, pairs: list[tuple[LayerWeights, LayerWeights]]) -> None:
    """Puts weights of one file in place of those of another."""
    with h5py.File(source, "r") as read, h5py.File(target, "r+") as written:
        for other, own in pairs:
            for key in own.shapes:
                del written[f"{own.place}/{key}"]
                read.copy(f"{other.place}/{key}", written, name=f"{own.place}/{key}")
