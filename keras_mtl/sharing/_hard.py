"""Hard parameter sharing: one trunk, one head a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keras_mtl import heads
from keras_mtl._source import Source
from keras_mtl.sharing._base import Sharing, registry
from keras_mtl.sharing._hand_over import handed_over
from keras_mtl.sharing._trunk import Trunk
from keras_mtl.tasks import Task


@registry.register("hard")
class Hard(Sharing):
    """Hard parameter sharing: every task reads the same features.

    The last level of the backbone is averaged to a vector once, and each head stands on that vector; those of tasks
    that predict something for each pixel or token stand on the last level itself, or, where the backbone ends in
    vectors, on the last map before them. Tasks that decode a pyramid of maps get the maps of all levels.

    Source: R. Caruana, "Multitask Learning", Machine Learning, 1997.

    Example:

    >>> import keras
    >>> from keras_mtl import sharing, tasks
    >>> features = sharing.Hard()({"features": keras.Input((4, 4, 8))}, [tasks.Regression("age")])
    >>> features["age"].shape
    (None, 8)
    """

    source = Source("Caruana", "Multitask Learning", "Machine Learning", 1997)

    def __call__(self, features: Mapping[str, Any], tasks: Sequence[Task]) -> dict[str, Any]:
        """The same vector, or the same map, for every task."""
        *_, last = features.values()
        vector = last if all(task.reads_maps for task in tasks) else heads.pool(last, "shared_pool")
        return {task.name: _maps(features, task) if task.reads_maps else vector for task in tasks}


def _maps(features: Mapping[str, Any], task: Task) -> Any:
    """What a task whose head reads maps is given."""
    rank = 2 + task.num_place_axes
    maps = [tensor for tensor in features.values() if len(tensor.shape) == rank]
    if not maps and isinstance(features, Trunk):
        maps = features.maps(rank)[-1:]
    return handed_over(task, maps or list(features.values()))
