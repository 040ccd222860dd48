"""Soft parameter sharing: a network for each task, drawn together by a penalty on their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_mtl._checks import check_number, check_one_of
from keras_mtl._registry import serializable
from keras_mtl._source import Source
from keras_mtl.sharing._base import Sharing, registry
from keras_mtl.sharing._copies import check_weights, copied_name
from keras_mtl.sharing._hand_over import handed_over
from keras_mtl.sharing._trunk import needs_several, needs_trunk
from keras_mtl.tasks import Task

_NORMS = ("l2", "trace")
# Singular values below this part of the largest one count as 0: float32 has no digits of their squares.
_NEGLIGIBLE = 1e-3


@registry.register("soft")
class Soft(Sharing):
    """A copy of the backbone for each task, and a penalty for the distance between corresponding weights.

    No weight is shared, so there is no conflict over shared parameters, and balancers that settle one refuse the model.
    Use it where the tasks are alike and each has little data, and as many backbones as tasks fit in memory. With
    `strength=0` it is `Independent`; the stronger, the nearer the tasks' networks come to a single one.

    Source: L. Duong, T. Cohn, S. Bird, P. Cook, "Low Resource Dependency Parsing: Cross-lingual Parameter Sharing in a
    Neural Network Parser", ACL 2015, for `norm="l2"`: the squared distance between the weights of two networks. Here
    it is the sum over all trainable weights and tasks of the squared distance to the mean of the tasks, which for two
    tasks is half the squared distance between them. The paper chooses weights and their strengths by hand.
    For `norm="trace"`: Y. Yang, T. M. Hospedales, "Trace Norm Regularised Deep Multi-Task Learning", ICLR Workshop
    2017, arXiv 1606.04038, with its last-axis flattening: the sum over all trainable weights of the trace norm of the
    matrix `[num_tasks, size]` of that weight, whose rank it keeps low: the tasks' weights become combinations of a few,
    and all are drawn to zero, as by weight decay. Its gradient is that of least norm, which is finite where weights
    are equal.

    Args:
        strength: what the penalty is multiplied by, at least 0. Defaults to 1e-3.
        norm: `"l2"` or `"trace"`. Defaults to `"l2"`.
        weights: what the copies begin with: `"copied"`, the backbone's weights, or `"own"`, weights drawn anew for each
            task. Defaults to `"copied"`.

    Raises:
        ValueError: if an argument is out of range. From a call: if the features are not a `Trunk`, the backbone has no
            weights, or there is one task only.

    Example:

    >>> import keras_mtl as mtl
    >>> tasks = [mtl.tasks.Regression("a"), mtl.tasks.Regression("b")]
    >>> sharing = mtl.sharing.Soft(strength=0.01, weights="own")
    >>> model = mtl.build_model("mlp", tasks, sharing=sharing, input_shape=(4,))
    >>> float(sum(model.losses)) > 0
    True
    """

    source = Source(
        "Duong et al.",
        "Low Resource Dependency Parsing: Cross-lingual Parameter Sharing in a Neural Network Parser",
        "ACL",
        2015,
    )

    def __init__(self, strength: float = 1e-3, norm: str = "l2", weights: str = "copied") -> None:
        self.strength = check_number(strength, "strength")
        self.norm = check_one_of(norm, "norm", _NORMS)
        self.weights = check_weights(weights)

    def __call__(self, features: Mapping[str, Any], tasks: Sequence[Task]) -> dict[str, Any]:
        """The last level of each task's copy."""
        trunk, names = needs_trunk(features, "soft"), needs_several(tasks, "soft")
        layers = {name: [copied_name(layer, name) for layer in trunk.layers] for name in names}
        first, *others = trunk.prepared
        inputs = [SoftPenalty(layers, self.strength, self.norm, name="soft_penalty")(first), *others]
        copies = {name: trunk.copy_for(name, self.weights, inputs) for name in names}
        return {task.name: handed_over(task, list(copies[task.name].values())) for task in tasks}

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "strength": self.strength, "norm": self.norm, "weights": self.weights}


@serializable
class SoftPenalty(keras.layers.Layer):
    """Passes its input on, and has the model that it is in penalized for the distance between layers of the tasks.

    It is a layer so that it is saved with the model. It holds names, and no layers: those would be tracked twice.

    Args:
        layer_names: the names of the layers by task, corresponding ones in the same places.
        strength: what the penalty is multiplied by.
        norm: as in `Soft`.
        **kwargs: the arguments of `keras.layers.Layer`.
    """

    def __init__(self, layer_names: Mapping[str, Sequence[str]], strength: float, norm: str, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "autocast": False})
        self.layer_names = {task: list(names) for task, names in layer_names.items()}
        self.strength = strength
        self.norm = norm
        self.supports_masking = True
        self.built = True

    def call(self, inputs: Any) -> Any:
        """The input."""
        return inputs

    def compute_output_spec(self, inputs: Any) -> Any:
        """The input's shape and dtype."""
        return keras.KerasTensor(inputs.shape, inputs.dtype, sparse=inputs.sparse)

    def loss_of(self, model: keras.Model) -> Any:
        """The penalty of a model, a scalar in float32.

        Args:
            model: a model that has the layers.
        """
        measure = _squared_distances if self.norm == "l2" else _trace_norm
        total = ops.zeros((), "float32")
        present = {layer.name for layer in model.layers}
        for group in zip(*self.layer_names.values(), strict=True):
            names = [name for name in group if name in present]  # a slice of the model has the layers of some tasks
            for corresponding in zip(*(model.get_layer(name).weights for name in names), strict=True):
                if not any(variable.trainable for variable in corresponding):
                    continue
                rows = [ops.reshape(ops.cast(ops.convert_to_tensor(v), "float32"), (-1,)) for v in corresponding]
                total = total + measure(ops.stack(rows))
        return self.strength * total

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        layer_names = {task: list(names) for task, names in self.layer_names.items()}
        return {**super().get_config(), "layer_names": layer_names, "strength": self.strength, "norm": self.norm}


def _squared_distances(rows: Any) -> Any:
    """The sum of the squared distances of rows to their mean."""
    return ops.sum(ops.square(rows - ops.mean(rows, axis=0)))


def _trace_norm(rows: Any) -> Any:
    """The sum of the singular values of a matrix of few rows.

    With the eigenvalues of the Gramian `rows @ rows'`, the squares of the singular values, its gradient is
    `Gramian ** -0.5 @ rows`. The inverse root is taken as a constant, so that none is needed of the eigenvectors, which
    have no finite gradient where eigenvalues are equal; what has no length gets the gradient 0.
    """
    gramian = ops.matmul(rows, ops.transpose(rows))
    values, vectors = ops.eigh(ops.cast(ops.stop_gradient(gramian), "float64"))
    kept = values > _NEGLIGIBLE**2 * ops.max(values)
    inverse_roots = ops.where(kept, ops.rsqrt(ops.where(kept, values, 1.0)), 0.0)
    inverse_root = ops.cast(ops.matmul(vectors * inverse_roots, ops.transpose(vectors)), "float32")
    inverse_root = ops.stop_gradient(inverse_root)
    half = 0.5 * ops.sum(inverse_root * gramian)
    return half + ops.stop_gradient(half)
