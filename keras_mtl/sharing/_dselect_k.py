"""DSelect-k: each task learns which k of the experts it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keras_mtl._checks import check_integer
from keras_mtl._source import Source
from keras_mtl.sharing._base import Sharing, registry
from keras_mtl.sharing._experts import Experts, Mixture, check_expert_units, last_vector
from keras_mtl.sharing._selector_gate import ExampleSelectorGate, SelectorGate, check_selection
from keras_mtl.tasks import Task


@registry.register("dselect_k")
class DSelectK(Sharing):
    """DSelect-k: each task learns which `k` of the shared experts it reads, and how much of each.

    A task's gate has `k` selectors, each with a smooth binary code of the number of an expert, whose digits training
    drives to 0 or 1. At first a task reads all experts, in the end `k`. Use it where a sparse answer to "who shares
    what" is wanted, or where `MMoE` has too many experts for its gates to tell apart.

    Source: H. Hazimeh, Z. Zhao, A. Chowdhery, M. Sathiamoorthy, Y. Chen, R. Mazumder, L. Hong, E. H. Chi, "DSelect-k:
    Differentiable Selection in the Mixture of Experts with Applications to Multi-Task Learning", NeurIPS 2021. The
    entropy of the selectors is added to the loss, `entropy` times: in sum over a gate's selectors, and with
    `per_example` in mean over the examples, as the loss is a mean (the official code takes their sum, so that its
    strength grows with the batch). If the number of experts is no power of two, 1 / (what a selector gives to experts,
    and not to codes without one) is added too, here less 1, so that it ends at 0. Both are in the loss of `evaluate`
    as well, where the official code leaves them out.

    Differs from the paper, which selects at most `k`: there several selectors of a gate can settle on one expert, and
    often do, as the same loss draws all of them. Here selectors choose one after another: of what one gives to an
    expert, the part that those before it have taken goes to the next expert, `r2 * (1 - r1) + roll(r2 * r1)` for the
    second. That is smooth, and the paper's gate wherever selectors do not overlap, so always with `k = 1`. A selector
    that has settled on a code without an expert has one of the experts instead. So a gate whose selectors have all
    settled reads exactly `k` experts. With `per_example` that holds on each example for which they have; near the
    border between two selections they have not.

    Args:
        num_experts: how many experts there are, at least 2. Defaults to 8.
        k: how many experts a task reads, from 1 to `num_experts`. Defaults to 2.
        expert_units: units of each layer of an expert, at least one layer. Defaults to `(64,)`.
        gamma: the width of the smooth step, a float above 0: digits settle beyond `gamma / 2` from 0. Defaults to 1.
        entropy: the strength of the entropy term, a float of at least 0, beside losses near 1. The larger, the sooner
            selectors settle; too small a one leaves a gate that gains by it between experts. Defaults to 0.3, with
            which all settled in trials on small models.
        per_example: whether the selection depends on the example. Defaults to False: only on the task.

    Raises:
        ValueError: if an argument is out of range, or `k` is larger than `num_experts`.

    Example:

    >>> import keras
    >>> from keras_mtl import sharing, tasks
    >>> found = [tasks.Regression("age"), tasks.BinaryClassification("smiles")]
    >>> features = sharing.DSelectK(num_experts=6, k=2)({"features": keras.Input((4, 4, 8))}, found)
    >>> features["age"].shape
    (None, 64)
    """

    source = Source(
        "Hazimeh et al.",
        "DSelect-k: Differentiable Selection in the Mixture of Experts with Applications to Multi-Task Learning",
        "NeurIPS",
        2021,
        "2106.03760",
    )

    def __init__(
        self,
        num_experts: int = 8,
        k: int = 2,
        expert_units: int | Sequence[int] = (64,),
        gamma: float = 1.0,
        entropy: float = 0.3,
        per_example: bool = False,
    ) -> None:
        self.k, self.gamma, self.entropy = check_selection(num_experts, k, gamma, entropy)
        self.num_experts = check_integer(num_experts, "num_experts")
        self.expert_units = check_expert_units(expert_units, "expert_units")
        if not isinstance(per_example, bool):
            raise ValueError(f"Parameter `per_example` should be a bool. Received: per_example={per_example!r}")
        self.per_example = per_example

    def __call__(self, features: Mapping[str, Any], tasks: Sequence[Task]) -> dict[str, Any]:
        """A mixture of the selected experts for each task."""
        vector = last_vector(features)
        experts = Experts(self.num_experts, self.expert_units, name="shared_experts")(vector)
        kind = ExampleSelectorGate if self.per_example else SelectorGate
        mixtures = {}
        for task in tasks:
            gate = kind(
                self.num_experts,
                task.name,
                k=self.k,
                gamma=self.gamma,
                entropy=self.entropy,
                dtype="float32",
                name=f"{task.name}_gate",
            )
            mixtures[task.name] = Mixture(name=f"{task.name}_mixture")([gate(vector), experts])
        return mixtures

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {
            **super().get_config(),
            "num_experts": self.num_experts,
            "k": self.k,
            "expert_units": list(self.expert_units),
            "gamma": self.gamma,
            "entropy": self.entropy,
            "per_example": self.per_example,
        }
