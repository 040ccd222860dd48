"""Multi-gate mixture of experts: shared experts, and a gate over them for each task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keras_mtl._checks import check_integer, check_integers
from keras_mtl._source import Source
from keras_mtl.sharing._base import Sharing, registry
from keras_mtl.sharing._experts import Experts, Mixture, check_expert_units, last_vector, softmax_gate
from keras_mtl.tasks import Task


@registry.register("mmoe")
class MMoE(Sharing):
    """Multi-gate mixture of experts: each task reads its own mixture of the same experts.

    The last level of the backbone is averaged to a vector, which experts and gates read. A task's gate is a softmax
    over the experts, other for each example. Use it where tasks are related in parts: those that want different
    features can lean on different experts. With one expert it is `Hard` with the expert's layers on the backbone.

    Source: J. Ma, Z. Zhao, X. Yi, J. Chen, L. Hong, E. H. Chi, "Modeling Task Relationships in Multi-task Learning with
    Multi-gate Mixture-of-Experts", KDD 2018, equations 6 and 7. As there, a gate is linear without a bias. Differs from
    it in that gates may have hidden layers, and reads a backbone's features where the paper reads the inputs.

    Args:
        num_experts: how many experts there are, at least 1. Defaults to 8, as in the paper.
        expert_units: units of each layer of an expert, at least one layer. Defaults to `(64,)`.
        gate_units: units of each hidden layer of a gate. Defaults to none, as in the paper.

    Raises:
        ValueError: if an argument is out of range.

    Example:

    >>> import keras
    >>> from keras_mtl import sharing, tasks
    >>> found = [tasks.Regression("age"), tasks.BinaryClassification("smiles")]
    >>> features = sharing.MMoE(num_experts=4, expert_units=16)({"features": keras.Input((4, 4, 8))}, found)
    >>> features["age"].shape
    (None, 16)
    """

    source = Source(
        "Ma et al.",
        "Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts",
        "KDD",
        2018,
    )

    def __init__(
        self,
        num_experts: int = 8,
        expert_units: int | Sequence[int] = (64,),
        gate_units: int | Sequence[int] = (),
    ) -> None:
        self.num_experts = check_integer(num_experts, "num_experts")
        self.expert_units = check_expert_units(expert_units, "expert_units")
        self.gate_units = check_integers(gate_units, "gate_units")

    def __call__(self, features: Mapping[str, Any], tasks: Sequence[Task]) -> dict[str, Any]:
        """A mixture of the experts for each task."""
        vector = last_vector(features)
        experts = Experts(self.num_experts, self.expert_units, name="shared_experts")(vector)
        mixtures = {}
        for task in tasks:
            weights = softmax_gate(vector, self.num_experts, task.name, units=self.gate_units, name=f"{task.name}_gate")
            mixtures[task.name] = Mixture(name=f"{task.name}_mixture")([weights, experts])
        return mixtures

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {
            **super().get_config(),
            "num_experts": self.num_experts,
            "expert_units": list(self.expert_units),
            "gate_units": list(self.gate_units),
        }
