"""Nothing shared: a backbone for each task, side by side in one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keras_mtl._source import Source
from keras_mtl.sharing._base import Sharing, registry
from keras_mtl.sharing._copies import check_weights
from keras_mtl.sharing._hand_over import handed_over
from keras_mtl.sharing._trunk import needs_trunk
from keras_mtl.tasks import Task


@registry.register("independent")
class Independent(Sharing):
    """A copy of the backbone for each task: the tasks share what prepares the inputs, and no weight that is trained.

    It is single-task learning in one model, with one pass over the data: what every other architecture is to be
    compared with, and the upper bound of its size. There is no conflict over shared parameters, so balancers that
    settle one refuse the model.

    Source: R. Caruana, "Multitask Learning", Machine Learning, 1997, which sets the separate networks of single-task
    learning against one that tasks share.

    Args:
        weights: what the copies begin with: `"copied"`, the backbone's weights, or `"own"`, weights drawn anew for each
            task. Defaults to `"copied"`.

    Raises:
        ValueError: if `weights` is neither. From a call: if the features are not a `Trunk`, or the backbone has no
            weights.

    Example:

    >>> import keras_mtl as mtl
    >>> tasks = [mtl.tasks.Regression("a"), mtl.tasks.Regression("b")]
    >>> model = mtl.build_model("mlp", tasks, sharing="independent", input_shape=(4,))
    >>> model.partition.shared
    []
    >>> [layer.name for layer in model.layers if "dense_0" in layer.name]
    ['dense_0_a', 'dense_0_b']
    """

    source = Source("Caruana", "Multitask Learning", "Machine Learning", 1997)

    def __init__(self, weights: str = "copied") -> None:
        self.weights = check_weights(weights)

    def __call__(self, features: Mapping[str, Any], tasks: Sequence[Task]) -> dict[str, Any]:
        """The last level, or the levels, of each task's copy."""
        trunk = needs_trunk(features, "independent")
        copies = {task.name: trunk.copy_for(task.name, self.weights) for task in tasks}
        return {task.name: handed_over(task, list(copies[task.name].values())) for task in tasks}

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "weights": self.weights}
