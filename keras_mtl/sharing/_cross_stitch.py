"""Cross-stitch networks: a network for each task, linearly mixed at each level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_mtl._checks import check_fraction
from keras_mtl._registry import serializable
from keras_mtl._source import Source
from keras_mtl.sharing._base import Sharing, registry
from keras_mtl.sharing._copies import check_weights, copied_name
from keras_mtl.sharing._mixing import Mixing, mix_levels, num_channels, own_and_others, weighted_sum
from keras_mtl.sharing._trunk import needs_several, needs_trunk
from keras_mtl.tasks import Task


@registry.register("cross_stitch")
class CrossStitch(Sharing):
    """A copy of the backbone for each task; at each level, each reads a learnt weighted sum of all.

    How much the tasks share at which level is learnt, and can be read off the stitches. Use it for a few tasks of which
    it is not known how much they have in common, where as many backbones as tasks fit in memory. With `own=1.0` and
    stitches that are not trained it is `Independent`.

    Source: I. Misra, A. Shrivastava, A. Gupta, M. Hebert, "Cross-stitch Networks for Multi-task Learning", CVPR 2016,
    section 3. The paper stitches two AlexNets behind each pooling and dense layer, from networks trained on one task
    each; here any number of networks are stitched behind each level of the backbone. The paper's units have one matrix
    for each channel, which is `per_channel=True`; one for all channels is the usual choice since. The paper trains the
    stitches with a learning rate 100 to 1000 times that of the networks; here they have the optimizer's.

    Args:
        own: what a task's network reads of itself at first, from 0 to 1; the others share the rest equally. Defaults
            to 0.9.
        per_channel: whether each channel has weights of its own. Defaults to False.
        weights: what the copies begin with: `"copied"`, the backbone's weights, or `"own"`, weights drawn anew for each
            task. Defaults to `"copied"`.

    Raises:
        ValueError: if an argument is out of range. From a call: if the features are not a `Trunk`, the backbone has no
            weights, there is a way around one of its levels, or there is one task only.

    Example:

    >>> import keras_mtl as mtl
    >>> tasks = [mtl.tasks.Regression("a"), mtl.tasks.Regression("b")]
    >>> model = mtl.build_model("mlp", tasks, sharing="cross_stitch", input_shape=(4,))
    >>> model.get_layer("dense_0_stitch").learnt()["stitches"].round(1)
    array([[0.9, 0.1],
           [0.1, 0.9]], dtype=float32)
    """

    source = Source("Misra et al.", "Cross-stitch Networks for Multi-task Learning", "CVPR", 2016, "1604.03539")

    def __init__(self, own: float = 0.9, per_channel: bool = False, weights: str = "copied") -> None:
        self.own = check_fraction(own, "own")
        self.per_channel = bool(per_channel)
        self.weights = check_weights(weights)

    def __call__(self, features: Mapping[str, Any], tasks: Sequence[Task]) -> dict[str, Any]:
        """The stitched features of the last level."""
        trunk, names = needs_trunk(features, "cross_stitch"), needs_several(tasks, "cross_stitch")

        def stitch(tensors: list[Any], level: str, readers: list[str]) -> list[Any]:
            name = f"{level}_stitch"
            unit = CrossStitchUnit(
                names,
                level,
                readers,
                own=self.own,
                per_channel=self.per_channel,
                name=copied_name(name, readers[0]) if len(readers) == 1 else name,
            )
            made = unit(tensors)
            return made if isinstance(made, list) else [made]

        return mix_levels(trunk, tasks, "cross_stitch", self.weights, stitch)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "own": self.own, "per_channel": self.per_channel, "weights": self.weights}


@serializable
class CrossStitchUnit(Mixing):
    """Weighted sums of the tasks' features.

    Args:
        tasks: as in `Mixing`; the inputs are theirs, in this order.
        level: as in `Mixing`.
        readers: as in `Mixing`: some of `tasks`.
        own: what a reader takes of its own input at first; the others share the rest equally. Defaults to 0.9.
        per_channel: whether each channel has weights of its own. Defaults to False.
        **kwargs: the arguments of `keras.layers.Layer`.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        level: str,
        readers: Sequence[str] | None = None,
        own: float = 0.9,
        per_channel: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(tasks, level, readers, **kwargs)
        self.own = own
        self.per_channel = per_channel

    def build(self, input_shape: Sequence[Any]) -> None:
        """Creates the stitches, `[num_readers, num_tasks]`, or one such matrix for each channel before that."""
        initial = own_and_others(self.tasks, self.readers, self.own)
        channels = (num_channels(input_shape[0], self),) if self.per_channel else ()
        self.stitches = self.add_weight(
            shape=(*channels, *initial.shape),
            initializer=lambda shape, dtype: ops.cast(np.broadcast_to(initial, shape), dtype),
            name="stitches",
        )
        super().build(input_shape)

    def call(self, inputs: Sequence[Any]) -> Any:
        """The weighted sum of the inputs for each reader."""
        stitches = ops.convert_to_tensor(self.stitches)
        weights = [[stitches[..., reader, task] for task in range(len(inputs))] for reader in range(len(self.readers))]
        return self.outputs([weighted_sum(inputs, of_reader) for of_reader in weights])

    def learnt(self) -> dict[str, np.ndarray]:
        """`"stitches"`: how much each reader takes of each task, `[num_readers, num_tasks]`, by channel before that."""
        return {"stitches": self.stitches.numpy()}

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "own": self.own, "per_channel": self.per_channel}
