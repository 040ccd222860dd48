"""Freezes layers of a model, and releases them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import keras

from keras_mtl._checks import check_one_of
from keras_mtl._layers import has_graph, inner_layers
from keras_mtl.transfer._selection import backbone_of, check_model, chosen

NORMALIZATION = ("follow", "frozen", "adapt")


def freeze(
    model: keras.Model,
    layers: int | str | Sequence[str] | None = None,
    *,
    blocks: int | None = None,
    backbone: str | Sequence[str] | None = None,
    batch_normalization: str = "follow",
) -> list[str]:
    """Freezes the backbone of a model, or some of its layers: they are not trained.

    Use it to train heads on features as they are. `FineTuning` freezes and releases by itself, while it trains.

    A compiled model needs no second `compile` for it: the optimizer keeps what it has for the frozen weights. It does
    need one where the optimizer has `use_ema=True`, or the balancer a number for each shared weight (`moco`, `db_mtl`,
    `excess_mtl`): `fit` raises a `ValueError` otherwise, however the weights were frozen.

    Args:
        model: a Functional or Sequential model.
        layers: patterns of `fnmatch`, by names of layers or paths through nested models (`"encoder/conv_*"`), or how
            many layers that have weights, from the top of the backbone. Defaults to all of the backbone.
        blocks: how many blocks from the top, in place of `layers`: layers whose names begin alike up to a `block` with
            its number, as in `keras.applications`, or a layer with the normalizations that follow it.
        backbone: patterns of the layers to choose from. Defaults to those that lead to two or more tasks, or, in a
            model that is no `MultiTaskModel`, to all.
        batch_normalization: what frozen batch normalizations do: `"follow"`, the default, or `"frozen"`: their moving
            statistics are frozen too, and are what they normalize by; `"adapt"`: the statistics go on following the
            data, while scale and offset are frozen.

    Returns:
        The paths of the layers that were frozen.

    Raises:
        ValueError: if a pattern matches no layer (the nearest names are listed), there are fewer layers or blocks,
            the backbone cannot be told, or a layer is a `SpectralNormalization`, which changes frozen weights too.

    Example:

    >>> import keras_mtl as mtl
    >>> tasks = [mtl.tasks.Classification("breed", 37), mtl.tasks.BinaryClassification("is_cat")]
    >>> model = mtl.build_model("VGG16", tasks, input_shape=(32, 32, 3))
    >>> len(mtl.transfer.freeze(model))
    13
    >>> mtl.transfer.unfreeze(model, blocks=1)
    ['block5_conv1', 'block5_conv2', 'block5_conv3']
    """
    return _set(
        model, False, "*" if layers is None and blocks is None else layers, blocks, backbone, batch_normalization
    )


def unfreeze(
    model: keras.Model,
    layers: int | str | Sequence[str] | None = None,
    *,
    blocks: int | None = None,
    backbone: str | Sequence[str] | None = None,
    batch_normalization: str = "follow",
) -> list[str]:
    """Releases the backbone of a model, or some of its layers: they are trained.

    A model that was compiled with these layers frozen wants another `compile`, as its optimizer knows nothing of them.

    Args:
        model: a Functional or Sequential model.
        layers: as in `freeze`.
        blocks: as in `freeze`.
        backbone: as in `freeze`.
        batch_normalization: `"follow"`, the default, or `"adapt"`: batch normalizations are released like others;
            `"frozen"`: they are frozen, with their statistics.

    Returns:
        The paths of the layers that are meant.

    Raises:
        ValueError: as in `freeze`.

    Example:

    >>> import keras
    >>> from keras_mtl import transfer
    >>> first, last = keras.layers.Dense(3, name="first"), keras.layers.Dense(1, name="last")
    >>> model = keras.Sequential([keras.Input((2,)), first, last])
    >>> transfer.freeze(model), transfer.unfreeze(model, 1)
    (['first', 'last'], ['last'])
    """
    return _set(
        model, True, "*" if layers is None and blocks is None else layers, blocks, backbone, batch_normalization
    )


def _set(
    model: keras.Model,
    value: bool,
    layers: int | str | Sequence[str] | None,
    blocks: int | None,
    backbone: str | Sequence[str] | None,
    batch_normalization: str,
) -> list[str]:
    check_model(model)
    check_one_of(batch_normalization, "batch_normalization", NORMALIZATION)
    part = backbone_of(model, backbone)
    paths = chosen(model, part, layers, blocks)
    with unchanged_if_refused(model):
        open_models(model)
        for path in paths:
            set_trainable(part[path], value, batch_normalization)
    if model.compiled:
        model.make_train_function(force=True)
    return paths


def set_trainable(layer: keras.layers.Layer, value: bool, batch_normalization: str) -> None:
    """Freezes or releases a layer, and what is in it.

    Args:
        layer: a layer without a graph of its own.
        value: whether it is to be trained.
        batch_normalization: the rule for batch normalizations, those within the layer too.

    Raises:
        ValueError: if what is to be frozen would change all the same.
    """
    inner = inner_layers(layer)
    if not value and any(isinstance(each, keras.layers.SpectralNormalization) for each in (layer, *inner)):
        raise ValueError(
            "What is frozen should not change, and `SpectralNormalization` sets its weights in every step of a "
            f"training, frozen or not. Received: the layer {layer.name!r}. Leave it out by patterns."
        )
    normalizations = [each for each in (layer, *inner) if isinstance(each, keras.layers.BatchNormalization)]
    adapts = not value and batch_normalization == "adapt" and bool(normalizations)
    # A flag goes on to the layers within: first that of the outer one, and those of the normalizations last.
    _put(layer, value or adapts)
    for each in inner:
        _put(each, value)
    for each in normalizations:
        _put(each, batch_normalization == "adapt" or (value and batch_normalization != "frozen"))
    if adapts:
        for variable in layer.trainable_variables:
            variable.trainable = False


def _put(layer: keras.layers.Layer, value: bool) -> None:
    # An assignment of what a flag is already does nothing on TensorFlow: variables that were frozen by themselves, and
    # layers within, would stay as they are.
    layer.trainable = not value
    layer.trainable = value


@contextlib.contextmanager
def unchanged_if_refused(model: keras.Model) -> Iterator[None]:
    """What is frozen in a model is so again if something is raised within."""
    flags = [(each, each.trainable) for each in (model, *inner_layers(model))]
    variables = [(variable, variable.trainable) for variable in model.variables]
    try:
        yield
    except BaseException:
        for each, value in (*flags, *variables):
            each.trainable = value
        raise


def open_models(model: keras.Model) -> None:
    """Has models decide for each layer within them whether it is trained: one that is frozen itself hides them all."""
    before = [(layer, layer.trainable) for layer in model.layers]
    if not model.trainable:
        model.trainable = True
        for layer, value in before:
            layer.trainable = value
    for layer, value in before:
        if has_graph(layer):
            open_models(layer)
            if not value:
                for inner in layer.layers:
                    inner.trainable = False
