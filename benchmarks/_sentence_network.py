"""The network of the sentence data sets: three views of a sentence, and a head on each for each task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from _sentence_sets import Encoder, Examples

import keras_mtl as mtl

VIEWS = ("wordview", "pieceview", "twinview")
RATE = 3e-3
WIDTHS = (2, 3, 4)  # of the convolutions, in words


class OwnView(mtl.sharing.Sharing):
    """Hard sharing of each view of a sentence: a task reads the one that its name ends with."""

    def __call__(self, features: Mapping[str, Any], tasks: Sequence[Any]) -> dict[str, Any]:
        """The level of the backbone that bears the view's name."""
        return {task.name: features[task.name.rpartition("_")[2]] for task in tasks}


def backbone(num_words: int, num_pieces: int) -> keras.Model:
    """Convolutions over a sentence's words (Kim 2014), and two sums of its pieces' vectors that begin differently.

    On validation sentences the pieces alone are better than the words alone, so that they have two votes of three.
    """
    words = keras.Input((None,), dtype="int32", name="words")
    x = keras.layers.Embedding(num_words, 64, embeddings_initializer=uniform(0.25), name="word_vectors")(words)
    maps = [keras.layers.Conv1D(64, width, activation="relu", name=f"convolution_{width}")(x) for width in WIDTHS]
    x = keras.layers.Concatenate(name="most")([keras.layers.GlobalMaxPooling1D()(one) for one in maps])
    x = keras.layers.Dropout(0.5, name=VIEWS[0])(x)

    pieces = keras.Input((None,), dtype="int32", name="pieces")
    sums = [_sum_of_pieces(pieces, num_pieces, view) for view in VIEWS[1:]]
    return keras.Model({"words": words, "pieces": pieces}, [x, *sums], name="sentences")


def _sum_of_pieces(pieces: keras.KerasTensor, num_pieces: int, view: str) -> keras.KerasTensor:
    x = keras.layers.Embedding(num_pieces, 32, embeddings_initializer=uniform(0.05), name=f"{view}_vectors")(pieces)
    x = keras.layers.Dropout(0.3, noise_shape=(None, None, 1), name=f"{view}_dropout")(x)  # of whole pieces
    there = keras.ops.cast(keras.ops.not_equal(pieces, 0), "float32")
    number = keras.ops.sum(there, axis=1, keepdims=True)  # at least 1: the piece that all have
    x = keras.ops.sum(x * keras.ops.expand_dims(there, -1), axis=1) / keras.ops.sqrt(number)
    return keras.layers.Dropout(0.5, name=view)(x)


def uniform(most: float) -> keras.Initializer:
    """An initializer between `-most` and `most`."""
    return keras.initializers.RandomUniform(-most, most)


def make(encoder: Encoder, encoded: Mapping[str, Mapping[str, Examples]], steps: int) -> mtl.MultiTaskModel:
    """A compiled model of one data set or several, whose rate falls to nothing over the steps.

    Each view has a head of its own for each label, so that they learn side by side, and their mean predicts.
    """
    tasks = [
        mtl.tasks.Classification(f"{task}_{view}", num_classes=int(splits["train"][1].max()) + 1, label=task)
        for task, splits in encoded.items()
        for view in VIEWS
    ]
    model = mtl.build_model(backbone(encoder.num_words, encoder.num_pieces), tasks, OwnView(), features=VIEWS)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.PolynomialDecay(RATE, steps, 0.0)))
    return model
