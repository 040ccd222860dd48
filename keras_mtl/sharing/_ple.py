"""Progressive layered extraction: levels of customized gate control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keras_mtl._checks import check_integer
from keras_mtl.sharing._base import registry
from keras_mtl.sharing._cgc import CGC
from keras_mtl.tasks import Task


@registry.register("ple")
class PLE(CGC):
    """Progressive layered extraction: levels of `CGC`, through which tasks part by and by.

    In every level each task has experts of its own beside shared ones, and a gate over both. In all levels but the last
    a shared gate mixes all experts, the tasks' own among them, to what the next level's shared experts read; a
    task's experts of the next level read the task's mixture. A gate reads what the experts of its owner read. Use it
    where `CGC` helps and there is data for more layers. With one level it is `CGC`.

    Source: H. Tang, J. Liu, M. Zhao, X. Gong, "Progressive Layered Extraction (PLE): A Novel Multi-Task Learning (MTL)
    Model for Personalized Recommendations", RecSys 2020, section 4.2. Differs from it as `CGC` does. Experts of all
    levels have the same units.

    Args:
        num_levels: how many levels there are, at least 1. Defaults to 2.
        num_specific: how many experts each task has of its own in a level, at least 1. Defaults to 2.
        num_shared: how many experts of a level are shared, at least 1. Defaults to 2.
        expert_units: units of each layer of an expert, at least one layer. Defaults to `(64,)`.
        gate_units: units of each hidden layer of a gate. Defaults to none, as in the paper.

    Raises:
        ValueError: if an argument is out of range or, at the call, a task is named `"shared"`.

    Example:

    >>> import keras
    >>> from keras_mtl import sharing, tasks
    >>> found = [tasks.Regression("age"), tasks.BinaryClassification("smiles")]
    >>> features = sharing.PLE(num_levels=3, expert_units=32)({"features": keras.Input((4, 4, 8))}, found)
    >>> features["age"].shape
    (None, 32)
    """

    def __init__(
        self,
        num_levels: int = 2,
        num_specific: int = 2,
        num_shared: int = 2,
        expert_units: int | Sequence[int] = (64,),
        gate_units: int | Sequence[int] = (),
    ) -> None:
        super().__init__(num_specific, num_shared, expert_units, gate_units)
        self.num_levels = check_integer(num_levels, "num_levels")

    def __call__(self, features: Mapping[str, Any], tasks: Sequence[Task]) -> dict[str, Any]:
        """A mixture of the last level's experts for each task."""
        return self._extract(features, tasks, self.num_levels)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "num_levels": self.num_levels}
