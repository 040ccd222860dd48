"""Learning to branch: nodes at each stage choose which node of the stage before they read, until a tree is left."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mtl._checks import check_integer, check_integers, check_number
from keras_mtl._registry import serializable
from keras_mtl._source import Source
from keras_mtl.sharing._base import Sharing, registry
from keras_mtl.sharing._copies import check_weights, copied_name
from keras_mtl.sharing._mixing import Mixing, weighted_sum
from keras_mtl.sharing._trunk import needs_several, needs_trunk
from keras_mtl.tasks import Task

# Keeps a random number between 0 and 1 off both.
_SMALLEST = 1e-7


@registry.register("learning_to_branch")
class LearningToBranch(Sharing):
    """Learns which tasks share which stages of the backbone, as a tree.

    At each stage there are several copies of it, the nodes. Each node, and at the end each task, learns which node of
    the stage before to read: in training it reads a mixture, with weights drawn from a Gumbel-softmax distribution,
    whose temperature falls until nearly one node is drawn; at inference it reads the likeliest one. Give `fit` as many
    steps as the temperature falls over, and then take `sharing.prune(model)`, which has the nodes of the tree only: as
    fast as a network whose branches were chosen by hand. Use it where there are too many tasks to try out their groups.
    Training costs as many backbones as there are nodes at a stage.

    Source: P. Guo, C.-Y. Lee, D. Ulbricht, "Learning to Branch for Multi-Task Learning", ICML 2020, section 3. The
    paper lets the temperature fall with the epochs, here it falls geometrically with the steps; the paper trains the
    tree that was found once more from the beginning, which is left to the user. All choices begin equally likely;
    before training, all tasks read the first node of each stage.

    Args:
        num_nodes: the nodes at each stage, at least 1: a number, or one for each level. Defaults to the number of
            tasks.
        initial_temperature: of the Gumbel-softmax at first, above 0: where it is high, the mixture is an average.
            Defaults to 5.
        final_temperature: the same in the end, above 0: where it is low, nearly one node is drawn. Defaults to 0.1.
        annealing_steps: how many steps of training the temperature falls over, at least 1. Defaults to 10000.
        seed: of the draws, an integer. Defaults to None, which is random.
        weights: what the nodes begin with: `"copied"`, the backbone's weights, where the draws alone make them differ,
            or `"own"`, weights drawn anew for each. Defaults to `"copied"`.

    Raises:
        ValueError: if an argument is out of range. From a call: if the features are not a `Trunk`, the backbone has no
            weights, there is a way around one of its levels, `num_nodes` does not fit the levels, or there is one task
            only.

    Example:

    >>> import keras_mtl as mtl
    >>> tasks = [mtl.tasks.Regression(name) for name in ("a", "b", "c")]
    >>> sharing = mtl.sharing.LearningToBranch(num_nodes=2, annealing_steps=1000)
    >>> model = mtl.build_model("mlp", tasks, sharing=sharing, input_shape=(4,))
    >>> model.get_layer("dense_0_branching").learnt()["parents"]
    array([[0.5, 0.5],
           [0.5, 0.5]], dtype=float32)
    """

    source = Source("Guo et al.", "Learning to Branch for Multi-Task Learning", "ICML", 2020, "2006.01895")

    def __init__(
        self,
        num_nodes: int | Sequence[int] | None = None,
        initial_temperature: float = 5.0,
        final_temperature: float = 0.1,
        annealing_steps: int = 10_000,
        seed: int | None = None,
        weights: str = "copied",
    ) -> None:
        self.num_nodes = None if num_nodes is None else check_integers(num_nodes, "num_nodes")
        self.initial_temperature = check_number(initial_temperature, "initial_temperature", minimum=1e-3)
        self.final_temperature = check_number(final_temperature, "final_temperature", minimum=1e-3)
        self.annealing_steps = check_integer(annealing_steps, "annealing_steps")
        self.seed = None if seed is None else check_integer(seed, "seed", minimum=0)
        self.weights = check_weights(weights)

    def __call__(self, features: Mapping[str, Any], tasks: Sequence[Task]) -> dict[str, Any]:
        """What each task reads of the nodes of the last stage."""
        trunk, names = needs_trunk(features, "learning_to_branch"), needs_several(tasks, "learning_to_branch")
        first, *others = trunk.stages("learning_to_branch")
        number, *numbers = self._nodes(list(trunk), len(names))
        # Each layer has a seed of its own: the same numbers would make the same choices everywhere.
        seeds = itertools.repeat(None) if self.seed is None else itertools.count(self.seed)
        nodes = [first.copy_for(node, None, self.weights) for node in _node_names(number)]
        level = first.name
        for stage, number in zip(others, numbers, strict=True):
            readers = _node_names(number)
            read = self._branch(nodes, names, level, readers, f"{level}_branching", next(seeds))
            nodes = [stage.copy_for(node, [x], self.weights) for node, x in zip(readers, read, strict=True)]
            level = stage.name
        found = {}
        for name in names:
            layer = copied_name(f"{level}_branching", name)
            (found[name],) = self._branch(nodes, names, level, [name], layer, next(seeds))
        return found

    def _nodes(self, levels: Sequence[str], num_tasks: int) -> Sequence[int]:
        """How many nodes there are at each level."""
        numbers = (num_tasks,) if self.num_nodes is None else self.num_nodes
        if len(numbers) not in (1, len(levels)):
            raise ValueError(
                f"Parameter `num_nodes` should be one number, or {len(levels)}, one for each of the levels {levels}. "
                f"Received: num_nodes={numbers}"
            )
        return [*numbers] * (len(levels) if len(numbers) == 1 else 1)

    def _branch(
        self, nodes: list[Any], tasks: list[str], level: str, readers: list[str], name: str, seed: int | None
    ) -> list[Any]:
        unit = Branching(
            tasks,
            level,
            readers,
            initial_temperature=self.initial_temperature,
            final_temperature=self.final_temperature,
            annealing_steps=self.annealing_steps,
            seed=seed,
            name=name,
        )
        made = unit(nodes)
        return made if isinstance(made, list) else [made]

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {
            **super().get_config(),
            "num_nodes": None if self.num_nodes is None else list(self.num_nodes),
            "initial_temperature": self.initial_temperature,
            "final_temperature": self.final_temperature,
            "annealing_steps": self.annealing_steps,
            "seed": self.seed,
            "weights": self.weights,
        }


def _node_names(number: int) -> list[str]:
    return [f"node_{node}" for node in range(number)]


@serializable
class Branching(Mixing):
    """Chooses, for each of its readers, which of its inputs it reads.

    Args:
        tasks: as in `Mixing`.
        level: as in `Mixing`: of the nodes that are chosen from.
        readers: as in `Mixing`: nodes of the next stage, or a task.
        initial_temperature: as in `LearningToBranch`.
        final_temperature: as in `LearningToBranch`.
        annealing_steps: as in `LearningToBranch`.
        seed: as in `LearningToBranch`.
        **kwargs: the arguments of `keras.layers.Layer`.
    """

    #: The temperature falls by steps of training, be there a label of the reader or not.
    counts_steps = True

    def __init__(
        self,
        tasks: Sequence[str],
        level: str,
        readers: Sequence[str] | None = None,
        initial_temperature: float = 5.0,
        final_temperature: float = 0.1,
        annealing_steps: int = 10_000,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(tasks, level, readers, **kwargs)
        self.initial_temperature = initial_temperature
        self.final_temperature = final_temperature
        self.annealing_steps = annealing_steps
        self.seed = seed
        self._generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape: Sequence[Any]) -> None:
        """Creates the logits of the choices, zeros `[num_readers, num_nodes]`, and the count of steps."""
        self.logits = self.add_weight(
            shape=(len(self.readers), len(input_shape)), initializer="zeros", autocast=False, name="logits"
        )
        # Replicas count alike; a float, since some accelerators keep integers elsewhere.
        self.steps = self.add_weight(
            initializer="zeros", trainable=False, autocast=False, aggregation="only_first_replica", name="steps"
        )
        super().build(input_shape)

    def call(self, inputs: Sequence[Any], training: bool | None = False) -> Any:
        """A drawn mixture of the inputs for each reader in training, or else the likeliest one."""
        if training:
            weights = ops.cast(self._drawn(), self.compute_dtype)
            self.steps.assign(ops.minimum(self.steps + 1.0, float(self.annealing_steps)))
            readers = [[weights[reader, node] for node in range(len(inputs))] for reader in range(len(self.readers))]
            return self.outputs([weighted_sum(inputs, of_reader) for of_reader in readers])
        # Not a sum with the weights 0 and 1: a node that nothing reads may have left the range of the numbers.
        chosen, nodes = ops.argmax(self.logits, axis=-1), ops.stack(inputs)
        return self.outputs([ops.take(nodes, chosen[reader], axis=0) for reader in range(len(self.readers))])

    def temperature(self) -> Any:
        """What it is now, a scalar."""
        ratio = self.final_temperature / self.initial_temperature
        return self.initial_temperature * ratio ** (self.steps / float(self.annealing_steps))

    def _drawn(self) -> Any:
        """Weights from a Gumbel-softmax distribution, `[num_readers, num_nodes]`."""
        uniform = keras.random.uniform(self.logits.shape, dtype=self.variable_dtype, seed=self._generator)
        gumbel = -ops.log(-ops.log(ops.clip(uniform, _SMALLEST, 1.0 - _SMALLEST)))
        return ops.softmax((self.logits + gumbel) / self.temperature(), axis=-1)

    def chosen(self) -> list[int]:
        """For each reader, the place of the likeliest input."""
        return [int(place) for place in np.argmax(self.logits.numpy(), axis=-1)]

    def learnt(self) -> dict[str, np.ndarray]:
        """`"parents"`: how likely each reader is to read each node of the level, `[num_readers, num_nodes]`."""
        return {"parents": ops.convert_to_numpy(ops.softmax(self.logits, axis=-1))}

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {
            **super().get_config(),
            "initial_temperature": self.initial_temperature,
            "final_temperature": self.final_temperature,
            "annealing_steps": self.annealing_steps,
            "seed": self.seed,
        }
