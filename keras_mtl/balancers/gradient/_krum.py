"""The gradients that lie nearest to the others."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_mtl._checks import check_integer
from keras_mtl.balancers._base import Source, registry
from keras_mtl.balancers._gradient import GramianBalancer


@registry.register("krum")
class Krum(GramianBalancer):
    """The mean of the gradients that lie nearest to the others; the rest is left out.

    A task's score is the sum of the squared distances from its gradient to the nearest others, of which there are the
    number of tasks less `num_faulty` less 2; the `num_selected` lowest scores are chosen. It comes from distributed
    training, where some workers send wrong gradients of one and the same loss. Use it where there are many tasks, and
    some have labels that may be worthless; with few tasks it trains the shared parameters for a part of them only.

    Source: P. Blanchard, E. M. El Mhamdi, R. Guerraoui, J. Stainer, "Machine Learning with Adversaries: Byzantine
    Tolerant Gradient Descent", NeurIPS 2017: Krum, and with `num_selected` above 1 Multi-Krum. As there, distances are
    squared, where TorchJD adds them as they are; of equal scores, that of the task named first is chosen. The paper
    counts workers; where fewer than `num_faulty + 3` tasks are active in a batch, there is no score, and the result is
    the mean of those.

    Args:
        num_faulty: how many gradients may be wrong, at least 0. There have to be `2 * num_faulty + 3` tasks. Defaults
            to 0.
        num_selected: how many gradients are chosen, at least 1 and at most the number of tasks. Where fewer are
            active, all of those are. Defaults to 1.
        **kwargs: `gradients` and `update_every`, as in `GramianBalancer`, and the arguments of `keras.layers.Layer`.

    Raises:
        ValueError: if a number is out of its range, or, in `compile`, there are too few tasks.

    Example:

    >>> from keras_mtl import balancers
    >>> balancer = balancers.Krum(num_faulty=1, num_selected=2)
    >>> balancer.direction([[1.0, 1.0], [1.0, 0.0], [75.0, -666.0], [1.0, 2.0], [5.0, 5.0]]).numpy()
    array([1. , 0.5], dtype=float32)
    """

    source = Source(
        "Blanchard et al.",
        "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent",
        "NeurIPS",
        2017,
        "1703.02757",
    )
    min_tasks = 3

    def __init__(self, num_faulty: int = 0, num_selected: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_faulty = check_integer(num_faulty, "num_faulty", minimum=0)
        self.num_selected = check_integer(num_selected, "num_selected")
        # It depends on the arguments here, and `bind` reads it off the instance.
        self.min_tasks = max(2 * self.num_faulty + 3, self.num_selected)  # type: ignore[misc]

    def call(self, gramian: Any, active: Any) -> Any:
        """One over the number of chosen tasks for each of them."""
        num_tasks, dtype = gramian.shape[0], gramian.dtype
        gramian = ops.cast(gramian, "float64")  # the distances of small gradients beside a huge one
        counted = ops.cast(active, gramian.dtype)
        num_active = ops.sum(ops.cast(active, "int32"))
        squared_norms = ops.diagonal(gramian)
        distances = ops.expand_dims(squared_norms, 0) + ops.expand_dims(squared_norms, 1) - 2.0 * gramian
        is_other = ops.logical_and(ops.expand_dims(active, 0), ops.logical_not(ops.eye(num_tasks, dtype="bool")))
        distances = ops.where(is_other, ops.maximum(distances, 0.0), float("inf"))
        places = ops.arange(num_tasks, dtype="int32")
        is_near = ops.expand_dims(places, 0) < num_active - self.num_faulty - 2
        scores = ops.sum(ops.where(is_near, ops.sort(distances, axis=1), 0.0), axis=1)
        ranks = ops.cast(ops.argsort(ops.argsort(ops.where(active, scores, float("inf")))), "int32")
        num_selected = ops.where(num_active < self.num_faulty + 3, num_active, self.num_selected)
        chosen = counted * ops.cast(ranks < num_selected, gramian.dtype)
        return ops.cast(chosen / ops.maximum(ops.sum(chosen), 1.0), dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "num_faulty": self.num_faulty, "num_selected": self.num_selected}
