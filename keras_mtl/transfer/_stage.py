"""A stage of fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras

from keras_mtl._checks import check_integer, check_number, check_one_of
from keras_mtl.transfer._freeze import NORMALIZATION
from keras_mtl.transfer._selection import check_choice


@dataclass(frozen=True)
class Stage:
    """A stage of `FineTuning`: for how many epochs which part of the backbone is trained, and how fast.

    What is no part of the backbone, such as the heads, is trained in every stage.

    Args:
        epochs: at least 1.
        layers: what of the backbone is released: how many layers that have weights, from the top, or patterns of
            `fnmatch` by names of layers or paths; `"*"` is all of it. Defaults to nothing: the backbone is frozen.
        blocks: how many blocks from the top, in place of `layers`; see `freeze`.
        learning_rate: a number above 0, or a `LearningRateSchedule`, which counts the steps of the stage, and of which
            the first of each `steps_per_execution` steps counts. Defaults to None: as it is, the optimizer's own.
        batch_normalization: `"follow"`, the default: a batch normalization is frozen where it is no part of what is
            released, and normalizes by its moving statistics, which stay as they are; `"frozen"`: so it is in all of
            the backbone; `"adapt"`: where it is frozen, its statistics go on following the data.

    Raises:
        ValueError: if an argument is out of range.

    Example:

    >>> from keras_mtl import transfer
    >>> gradual = [transfer.Stage(1, blocks=number, learning_rate=1e-3 / 2**number) for number in range(3)]
    >>> gradual[2].blocks, gradual[2].learning_rate
    (2, 0.00025)
    """

    epochs: int
    layers: int | str | Sequence[str] | None = None
    blocks: int | None = None
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule | None = None
    batch_normalization: str = "follow"

    def __post_init__(self) -> None:
        check_integer(self.epochs, "epochs")
        check_choice(self.layers, self.blocks)
        check_one_of(self.batch_normalization, "batch_normalization", NORMALIZATION)
        rate = self.learning_rate
        if rate is None or isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            return
        if check_number(rate, "learning_rate") == 0:
            raise ValueError("Parameter `learning_rate` should be above 0. Received: learning_rate=0")
