"""The sequential framework: each task reads those before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_mtl._checks import check_integer, check_same_names
from keras_mtl._source import Source
from keras_mtl.sharing._base import Sharing, registry
from keras_mtl.sharing._hand_over import needs_one_level
from keras_mtl.sharing._reading import features_by, handed_on, joined
from keras_mtl.tasks import Task


@registry.register("cascade")
class Cascade(Sharing):
    """The sequential framework: in an order, each task reads the features and predictions of those before it.

    A task's features are a dense layer with ReLU over its features by `base`, and the features and predictions of the
    tasks before it. Use it where one task's answer helps with the next, and not the other way round: the species, then
    the breed. A task that others read is trained by their losses too, unless `detach=True`; an error of it can mislead
    them.

    Source: J. Dai, K. He, J. Sun, "Instance-aware Semantic Segmentation via Multi-task Network Cascades", CVPR 2016,
    section 3. Each stage there reads the shared features and what the stage before it has found, and the losses of
    later stages reach the earlier ones; a stage here reads all before it. The paper's stages are differentiated boxes,
    masks and categories, with a warping layer between; here any tasks hand on vectors: a map is averaged over all but
    its channels. A map of a task's own stays a map, and what it reads is added at every place.

    A layer from which another task's output can be reached counts as shared, so that gradient balancers balance what
    it is trained by; with `detach=True` too, where only one of the tasks has a gradient. Of three tasks and more, the
    first ones read no feature in common that later ones do not, so that balancers that compare gradients need
    `gradients="shared"`.

    Args:
        order: the names of all tasks, the first to be predicted first. Defaults to None: the order of the tasks.
        units: units of the dense layer of each task, at least 1. Defaults to 64.
        base: the sharing that gives the features to begin with: a name, an instance or a config. Defaults to `"hard"`.
        detach: whether what is handed on lets no gradient through. Defaults to False.

    Raises:
        ValueError: if an argument is out of range, `order` repeats a name, misses a task or names another, or `base`
            forms predictions too.

    Example:

    >>> import keras_mtl as mtl
    >>> tasks = [mtl.tasks.Classification("breed", 37), mtl.tasks.BinaryClassification("is_cat")]
    >>> cascade = mtl.sharing.Cascade(order=["is_cat", "breed"], units=16)
    >>> model = mtl.build_model("mlp", tasks, cascade, input_shape=(8,))
    >>> sorted(variable.path for variable in model.partition.specific["breed"])[-1]
    'breed_logits/kernel'
    """

    source = Source(
        "Dai et al.",
        "Instance-aware Semantic Segmentation via Multi-task Network Cascades",
        "CVPR",
        2016,
        "1512.04412",
    )

    def __init__(
        self, order: Sequence[str] | None = None, units: int = 64, base: Any = "hard", detach: bool = False
    ) -> None:
        self.order = None if order is None else _checked(order)
        self.units = check_integer(units, "units")
        self.base = features_by(base, "cascade")
        self.detach = bool(detach)

    def __call__(self, features: Mapping[str, Any], tasks: Sequence[Task]) -> dict[str, Any]:
        """The features that each task begins with: those of `base`."""
        needs_one_level(tasks, "cascade")
        return self.base(features, tasks)

    def outputs(self, features: Mapping[str, Any], tasks: Sequence[Task]) -> dict[str, Any]:
        """The prediction of each task, formed in order."""
        by_name = {task.name: task for task in tasks}
        order = list(by_name) if self.order is None else self.order
        check_same_names(order, by_name, what="names in `order` of the cascade", mend="Name every task once.")
        predictions: dict[str, Any] = {}
        seen: list[Any] = []
        for name in order:
            own = joined(features[name], seen, self.units, f"{name}_cascade")
            predictions[name] = by_name[name].head(own)
            if name != order[-1]:
                seen.append(handed_on(own, f"{name}_features", detach=self.detach))
                seen.append(handed_on(predictions[name], f"{name}_prediction", detach=self.detach))
        return {name: predictions[name] for name in by_name}

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {
            **super().get_config(),
            "order": self.order,
            "units": self.units,
            "base": keras.saving.serialize_keras_object(self.base),
            "detach": self.detach,
        }


def _checked(order: Sequence[str]) -> list[str]:
    if isinstance(order, str) or not isinstance(order, Sequence) or not all(isinstance(name, str) for name in order):
        raise ValueError(f"Parameter `order` should be a list of names of tasks. Received: order={order!r}")
    repeated = sorted({name for name in order if order.count(name) > 1})
    if repeated:
        raise ValueError(
            f"Parameter `order` should name every task once. Received: order={list(order)}; repeated: {repeated}"
        )
    return list(order)
