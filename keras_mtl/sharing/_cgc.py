"""Customized gate control: experts of each task beside shared ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keras_mtl._checks import check_integer, check_integers
from keras_mtl._source import Source
from keras_mtl.sharing._base import Sharing, registry
from keras_mtl.sharing._experts import Experts, Mixture, check_expert_units, last_vector, softmax_gate
from keras_mtl.tasks import Task

SHARED = "shared"


@registry.register("cgc")
class CGC(Sharing):
    """Customized gate control: each task mixes experts of its own with shared ones.

    The last level of the backbone is averaged to a vector, which all experts and gates read. A task's gate is a softmax
    over its own experts and the shared ones; of other tasks' experts it sees nothing. Use it where tasks hurt each
    other under `Hard` or `MMoE`: what only one task needs has a place where no other task's gradient goes.

    Source: H. Tang, J. Liu, M. Zhao, X. Gong, "Progressive Layered Extraction (PLE): A Novel Multi-Task Learning (MTL)
    Model for Personalized Recommendations", RecSys 2020, section 4.1. As there, a gate is linear without a bias.
    Differs from it in that gates may have hidden layers, and reads a backbone's features where the paper reads the
    inputs.

    Args:
        num_specific: how many experts each task has of its own, at least 1. Defaults to 2.
        num_shared: how many experts are shared, at least 1. Defaults to 2.
        expert_units: units of each layer of an expert, at least one layer. Defaults to `(64,)`.
        gate_units: units of each hidden layer of a gate. Defaults to none, as in the paper.

    Raises:
        ValueError: if an argument is out of range or, at the call, a task is named `"shared"`.

    Example:

    >>> import keras
    >>> from keras_mtl import sharing, tasks
    >>> found = [tasks.Regression("age"), tasks.BinaryClassification("smiles")]
    >>> features = sharing.CGC(num_specific=1, num_shared=3)({"features": keras.Input((4, 4, 8))}, found)
    >>> features["age"].shape
    (None, 64)
    """

    source = Source(
        "Tang et al.",
        "Progressive Layered Extraction (PLE): A Novel Multi-Task Learning (MTL) Model for Personalized "
        "Recommendations",
        "RecSys",
        2020,
    )

    def __init__(
        self,
        num_specific: int = 2,
        num_shared: int = 2,
        expert_units: int | Sequence[int] = (64,),
        gate_units: int | Sequence[int] = (),
    ) -> None:
        self.num_specific = check_integer(num_specific, "num_specific")
        self.num_shared = check_integer(num_shared, "num_shared")
        self.expert_units = check_expert_units(expert_units, "expert_units")
        self.gate_units = check_integers(gate_units, "gate_units")

    def __call__(self, features: Mapping[str, Any], tasks: Sequence[Task]) -> dict[str, Any]:
        """A mixture of its own experts and the shared ones for each task."""
        return self._extract(features, tasks, num_levels=1)

    def _extract(self, features: Mapping[str, Any], tasks: Sequence[Task], num_levels: int) -> dict[str, Any]:
        """The tasks' mixtures of the last of several levels."""
        names = [task.name for task in tasks]
        if SHARED in names:
            raise ValueError(
                f"No task should be named {SHARED!r} under `{type(self).__name__}`: what all tasks share bears "
                f"that name. Received: tasks {names}. Give the task another `name`, and the present one as its `label`."
            )
        vectors = dict.fromkeys([*names, SHARED], last_vector(features))
        for level in range(num_levels):
            vectors = self._level(vectors, level, is_last=level == num_levels - 1)
        return vectors

    def _level(self, vectors: Mapping[str, Any], level: int, *, is_last: bool) -> dict[str, Any]:
        """From the vectors of the tasks and the shared one to the next; at the last level the tasks' alone."""
        numbers = {owner: self.num_shared if owner == SHARED else self.num_specific for owner in vectors}
        experts = {
            owner: Experts(numbers[owner], self.expert_units, name=f"{owner}_experts_{level}")(vector)
            for owner, vector in vectors.items()
        }
        mixtures = {}
        for owner, vector in vectors.items():
            if owner == SHARED and is_last:
                continue
            read = list(experts) if owner == SHARED else [owner, SHARED]
            weights = softmax_gate(
                vector,
                sum(numbers[source] for source in read),
                owner,
                level=level,
                units=self.gate_units,
                name=f"{owner}_gate_{level}",
            )
            mixture = Mixture(name=f"{owner}_mixture_{level}")
            mixtures[owner] = mixture([weights, *(experts[source] for source in read)])
        return mixtures

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {
            **super().get_config(),
            "num_specific": self.num_specific,
            "num_shared": self.num_shared,
            "expert_units": list(self.expert_units),
            "gate_units": list(self.gate_units),
        }
