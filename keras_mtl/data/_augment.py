"""Augmentation of batches of images, which moves masks and boxes with the pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf

Augment: TypeAlias = Callable[..., Any] | Sequence[Callable[..., Any]]

BOX_FORMAT = "rel_yxyx"

# Layers of Keras that take images alone, and leave each pixel where it is.
_IN_PLACE = (keras.layers.Rescaling, keras.layers.Normalization, keras.layers.GaussianNoise)


def check_augment(augment: Any, *, boxes: bool, images: bool = True) -> list[Callable[..., Any]]:
    """The steps of an augmentation: none for None.

    Args:
        augment: a layer or function, or a list of these. The layers of a `Sequential` or a `Pipeline` are steps.
        boxes: whether there are boxes to move.
        images: whether it augments images, as `augmentation` does. Defaults to True.

    Raises:
        ValueError: if it is something else, a layer of Keras does not take images with their masks and boxes, or does
            not know the format of boxes.
    """
    if augment is None:
        return []
    steps: list[Callable[..., Any]] = []
    for step in augment if isinstance(augment, (list, tuple)) else [augment]:
        is_chain = isinstance(step, (keras.Sequential, keras.layers.Pipeline))
        steps += step.layers if is_chain and images else [step]
    for step in steps:
        if not callable(step) or isinstance(step, type):
            raise ValueError(
                "Parameter `augment` should be a Keras preprocessing layer or a function, or a list of these. "
                f"Received: {step!r}"
            )
        is_of_keras = isinstance(step, keras.Layer) and type(step).__module__.split(".")[0] == "keras"
        if images and is_of_keras and not isinstance(step, _IN_PLACE) and not hasattr(step, "transform_images"):
            raise ValueError(
                "Parameter `augment` should hold layers that move masks and boxes with the pixels, such as RandomFlip, "
                f"or one of {[layer.__name__ for layer in _IN_PLACE]}. Received: {step!r}. Write a function of "
                '`{"images": ...}` for other steps.'
            )
        own_format = getattr(step, "bounding_box_format", BOX_FORMAT)
        if boxes and own_format != BOX_FORMAT:
            raise ValueError(
                f"Parameter `augment`: to move boxes, the layer {type(step).__name__} should have "
                f"`bounding_box_format={BOX_FORMAT!r}`, the format of the labels. Received: {own_format!r}"
            )
    return steps


def augmentation(
    steps: Sequence[Callable[..., Any]], masks: Sequence[str], boxes: Sequence[str], image: str | None = None
) -> Callable[[Any, dict[str, Any]], tuple[Any, dict[str, Any]]]:
    """A function of a batch's inputs and labels that augments them.

    Args:
        steps: layers and functions of `{"images", "segmentation_masks", "bounding_boxes"}`, as Keras has them.
        masks: the labels that are masks, `(batch, height, width)`, with or without channels.
        boxes: the labels that are boxes, `(batch, 4)`, in the format `BOX_FORMAT`.
        image: the key of the images, where inputs are a dict.
    """

    def augmented(x: Any, y: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        images = x if image is None else x[image]
        parts: dict[str, Any] = {"images": tf.cast(images, "float32")}
        if masks:
            channels = [y[key] if len(y[key].shape) == 4 else y[key][..., tf.newaxis] for key in masks]
            parts["segmentation_masks"] = tf.concat([tf.cast(part, "float32") for part in channels], axis=-1)
        if boxes:
            corners = tf.stack([y[key] for key in boxes], axis=1)  # [batch, num_boxes, 4]
            parts["bounding_boxes"] = {"boxes": corners, "labels": tf.zeros(tf.shape(corners)[:2])}
        for step in steps:
            if isinstance(step, _IN_PLACE):
                parts = {**parts, "images": step(parts["images"], training=True)}
            else:
                parts = step(parts, training=True) if isinstance(step, keras.Layer) else step(parts)
        labels = dict(y)
        if masks:
            numbers = [part.shape[-1] for part in channels]
            for key, moved in zip(masks, tf.split(parts["segmentation_masks"], numbers, axis=-1), strict=True):
                moved = moved if len(y[key].shape) == 4 else moved[..., 0]
                labels[key] = tf.cast(tf.round(moved) if y[key].dtype.is_integer else moved, y[key].dtype)
        for index, key in enumerate(boxes):
            # Keras marks a box that has left the image by the label -1.
            gone = parts["bounding_boxes"]["labels"][:, index] < 0
            gone |= tf.reduce_any(tf.math.is_nan(y[key]), axis=-1)
            moved = tf.cast(parts["bounding_boxes"]["boxes"][:, index], y[key].dtype)
            labels[key] = tf.where(gone[:, tf.newaxis], tf.constant(float("nan"), moved.dtype), moved)
        return (parts["images"] if image is None else {**x, image: parts["images"]}), labels

    return augmented


def augmented(dataset: tf.data.Dataset, function: Callable[..., Any] | None) -> tf.data.Dataset:
    """A data set of batches after an augmentation.

    One batch after the other, for the layers' random states are variables: in parallel, which batch comes to which
    state would be chance. The batches are made ahead of the step all the same.
    """
    return dataset if function is None else dataset.map(function)
