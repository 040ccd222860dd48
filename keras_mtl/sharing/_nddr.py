"""NDDR: a network for each task, fused at each level by 1x1 convolutions over the channels of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mtl._checks import check_fraction, check_number
from keras_mtl._registry import serializable
from keras_mtl._source import Source
from keras_mtl.sharing._base import Sharing, registry
from keras_mtl.sharing._copies import check_weights, copied_name
from keras_mtl.sharing._mixing import Mixing, mix_levels, num_channels, own_and_others
from keras_mtl.sharing._trunk import needs_several, needs_trunk
from keras_mtl.tasks import Task


@registry.register("nddr")
class NDDR(Sharing):
    """A copy of the backbone for each task; at each level, each reads a learnt projection of the channels of all.

    Neural discriminative dimensionality reduction: the tasks' features are concatenated, and a 1x1 convolution for each
    task brings them back to the channels of one, followed by batch normalization. Where `CrossStitch` weighs a channel
    against the same channel of the other tasks, this takes any channel for any other; it has a matrix of
    `num_tasks * channels` by `channels` for each task and level, so it wants more data.

    Source: Y. Gao, J. Ma, M. Zhao, W. Liu, A. L. Yuille, "NDDR-CNN: Layerwise Feature Fusing in Multi-Task CNNs by
    Neural Discriminative Dimensionality Reduction", CVPR 2019, section 3, with its diagonal initialization. The paper
    fuses two networks; with more, the others share equally what is not a task's own. Features may be vectors. There is
    no activation behind the normalization, which the code of the authors' later search for such connections (MTL-NAS)
    has: a backbone's levels may have negative values. The paper trains these layers with a learning rate 100 times that
    of the networks; here they have the optimizer's. The paper's shortcuts from all levels to the output are left out.

    The normalization takes the mean off whatever comes in, so that the gradient of a bias before it is zero: give
    balancers that look at the features, such as `GradNorm` and `DBMTL`, `gradients="shared"`.

    Args:
        own: the diagonal of the block that reads the task's own channels at first, from 0 to 1; the diagonals of the
            others share the rest equally. Defaults to 0.9.
        weight_decay: how strongly the matrices are drawn to zero, at least 0: half of it times the sum of their squares
            is added to the loss. Defaults to 2.5e-4, as in the authors' later code.
        weights: what the copies begin with: `"copied"`, the backbone's weights, or `"own"`, weights drawn anew for each
            task. Defaults to `"copied"`.

    Raises:
        ValueError: if an argument is out of range. From a call: if the features are not a `Trunk`, the backbone has no
            weights, there is a way around one of its levels, or there is one task only.

    Example:

    >>> import keras_mtl as mtl
    >>> tasks = [mtl.tasks.Regression("a"), mtl.tasks.Regression("b")]
    >>> model = mtl.build_model("mlp", tasks, sharing="nddr", input_shape=(4,))
    >>> tuple(model.get_layer("dense_0_nddr").kernel.shape)
    (256, 256)
    """

    source = Source(
        "Gao et al.",
        "NDDR-CNN: Layerwise Feature Fusing in Multi-Task CNNs by Neural Discriminative Dimensionality Reduction",
        "CVPR",
        2019,
        "1801.08297",
    )

    def __init__(self, own: float = 0.9, weight_decay: float = 2.5e-4, weights: str = "copied") -> None:
        self.own = check_fraction(own, "own")
        self.weight_decay = check_number(weight_decay, "weight_decay")
        self.weights = check_weights(weights)

    def __call__(self, features: Mapping[str, Any], tasks: Sequence[Task]) -> dict[str, Any]:
        """The fused features of the last level."""
        trunk, names = needs_trunk(features, "nddr"), needs_several(tasks, "nddr")

        def fuse(tensors: list[Any], level: str, readers: list[str]) -> list[Any]:
            name = f"{level}_nddr"
            unit = NDDRUnit(
                names,
                level,
                readers,
                own=self.own,
                weight_decay=self.weight_decay,
                name=copied_name(name, readers[0]) if len(readers) == 1 else name,
            )
            made = unit(tensors)
            made = made if isinstance(made, list) else [made]
            return [_normalization(f"{name}_norm", reader)(x) for reader, x in zip(readers, made, strict=True)]

        return mix_levels(trunk, tasks, "nddr", self.weights, fuse)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "own": self.own, "weight_decay": self.weight_decay, "weights": self.weights}


def _normalization(name: str, reader: str) -> keras.layers.BatchNormalization:
    # The momentum and the epsilon of the authors' later code.
    return keras.layers.BatchNormalization(momentum=0.95, epsilon=1e-3, name=copied_name(name, reader))


@serializable
class NDDRUnit(Mixing):
    """A projection of the channels of all tasks for each reader.

    Args:
        tasks: as in `Mixing`; the inputs are theirs, in this order.
        level: as in `Mixing`.
        readers: as in `Mixing`: some of `tasks`.
        own: the diagonal of a reader's own block at first; the others' share the rest equally. Defaults to 0.9.
        weight_decay: half of it times the sum of the squares of the weights is added to the loss. Defaults to 2.5e-4.
        **kwargs: the arguments of `keras.layers.Layer`.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        level: str,
        readers: Sequence[str] | None = None,
        own: float = 0.9,
        weight_decay: float = 2.5e-4,
        **kwargs: Any,
    ) -> None:
        super().__init__(tasks, level, readers, **kwargs)
        self.own = own
        self.weight_decay = weight_decay

    def build(self, input_shape: Sequence[Any]) -> None:
        """Creates the matrices side by side, `[num_tasks * channels, num_readers * channels]`."""
        channels = num_channels(input_shape[0], self)
        initial = np.kron(own_and_others(self.tasks, self.readers, self.own).T, np.eye(channels))
        self.kernel = self.add_weight(
            shape=initial.shape,
            initializer=lambda shape, dtype: ops.cast(np.broadcast_to(initial, shape), dtype),
            regularizer=keras.regularizers.L2(0.5 * self.weight_decay) if self.weight_decay else None,
            name="kernel",
        )
        super().build(input_shape)

    def call(self, inputs: Sequence[Any]) -> Any:
        """The projected channels for each reader."""
        # By matrices: the gradient of a kernel that maps are multiplied with has no static shape, and balancers of
        # whole gradients need one.
        joined = ops.concatenate(inputs, axis=-1)
        projected = ops.matmul(ops.reshape(joined, (-1, self.kernel.shape[0])), self.kernel)
        projected = ops.reshape(projected, (*ops.shape(joined)[:-1], self.kernel.shape[1]))
        return self.outputs(ops.split(projected, len(self.readers), axis=-1))

    def learnt(self) -> dict[str, np.ndarray]:
        """`"stitches"`: with what mean absolute weight readers take channels of tasks, `[num_readers, num_tasks]`."""
        kernel = np.abs(self.kernel.numpy())
        blocks = kernel.reshape(len(self.tasks), -1, len(self.readers), kernel.shape[1] // len(self.readers))
        return {"stitches": blocks.mean(axis=(1, 3)).T}

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "own": self.own, "weight_decay": self.weight_decay}
