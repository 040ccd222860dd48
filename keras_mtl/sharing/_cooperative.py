"""The cooperative framework: every task predicts, looks at the others, and predicts again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_mtl._checks import check_integer, check_one_of
from keras_mtl._graph import call_again
from keras_mtl._source import Source
from keras_mtl.sharing._base import Sharing, registry
from keras_mtl.sharing._hand_over import needs_one_level
from keras_mtl.sharing._reading import features_by, handed_on, joined
from keras_mtl.tasks import Task

SEES = ("predictions", "features")


@registry.register("cooperative")
class Cooperative(Sharing):
    """The cooperative framework: tasks refine their features by what they see of all other tasks, in rounds.

    Each task first has features, by `base`, and a prediction from them. Then, in each round, a task's features are
    refined by its own and the other tasks' latest predictions, or features: a dense layer with ReLU over both, brought
    to the size of the features by another dense layer and added to them. The task's head, which is the same layers
    in every round, predicts again. Use it where tasks help each other both ways; where only one way, `Cascade`.

    Source: D. Xu, W. Ouyang, X. Wang, N. Sebe, "PAD-Net: Multi-Tasks Guided Prediction-and-Distillation Network for
    Simultaneous Depth Estimation and Scene Parsing", CVPR 2018, section 3.3, where predictions of all tasks are turned
    into features and added to those of each. There are differences. The paper trains first predictions by losses of
    their own, and its last predictions have other heads; here a task has one output and one head, so that the loss of
    the last prediction trains all. The paper passes maps on; here what is handed on is a vector: a map is averaged over
    all but its channels, while a task's own map stays a map, and what it sees is added at every place. The paper has
    one round.

    Every task's layers lead to every output, but for those of the last round and, with `sees="features"`, the heads:
    so to gradient balancers nearly all is shared.

    Args:
        rounds: how often the tasks look at each other, at least 1. Defaults to 1.
        sees: `"predictions"` or `"features"`. Features that are a task's own too, as all are in the first round on
            `base="hard"`, are not seen twice. Defaults to `"predictions"`.
        units: units of the hidden layer of a refinement, at least 1. Defaults to 64.
        base: the sharing that gives the features to begin with: a name, an instance or a config. Defaults to `"hard"`.
        detach: whether what is handed on lets no gradient through. Defaults to False.

    Raises:
        ValueError: if an argument is out of range, or `base` forms predictions too.

    Example:

    >>> import keras_mtl as mtl
    >>> tasks = [mtl.tasks.Classification("digit", 10), mtl.tasks.BinaryClassification("is_even")]
    >>> model = mtl.build_model("mlp", tasks, mtl.sharing.Cooperative(rounds=2), input_shape=(8,))
    >>> sorted({variable.path.split("/")[0] for variable in model.partition.specific["is_even"]})
    ['is_even_round_2_change', 'is_even_round_2_own', 'is_even_round_2_seen']
    """

    source = Source(
        "Xu et al.",
        "PAD-Net: Multi-Tasks Guided Prediction-and-Distillation Network for Simultaneous Depth Estimation and Scene "
        "Parsing",
        "CVPR",
        2018,
        "1805.04492",
    )

    def __init__(
        self, rounds: int = 1, sees: str = "predictions", units: int = 64, base: Any = "hard", detach: bool = False
    ) -> None:
        self.rounds = check_integer(rounds, "rounds")
        self.sees = check_one_of(sees, "sees", SEES)
        self.units = check_integer(units, "units")
        self.base = features_by(base, "cooperative")
        self.detach = bool(detach)

    def __call__(self, features: Mapping[str, Any], tasks: Sequence[Task]) -> dict[str, Any]:
        """The features that each task begins with: those of `base`."""
        needs_one_level(tasks, "cooperative")
        return self.base(features, tasks)

    def outputs(self, features: Mapping[str, Any], tasks: Sequence[Task]) -> dict[str, Any]:
        """The prediction of each task after the last round."""
        first = {task.name: features[task.name] for task in tasks}
        refined = dict(first)
        if self.sees == "features":
            for number in range(1, self.rounds + 1):
                refined = self._refine(refined, refined, number)
            return {task.name: task.head(refined[task.name]) for task in tasks}
        predicted = {task.name: task.head(first[task.name]) for task in tasks}
        latest = dict(predicted)
        for number in range(1, self.rounds + 1):
            refined = self._refine(refined, latest, number)
            latest = {
                name: call_again([(first[name], refined[name])], [prediction])[0]
                for name, prediction in predicted.items()
            }
        return latest

    def _refine(self, features: Mapping[str, Any], seen: Mapping[str, Any], number: int) -> dict[str, Any]:
        """The features of each task after a round, from those before it and what each task shows to the others."""
        vectors: dict[str, Any] = {}
        for name, tensor in seen.items():
            alike = next((other for other in vectors if seen[other] is tensor), None)
            vectors[name] = vectors[alike] if alike else handed_on(tensor, f"{name}_shown_{number}", detach=self.detach)
        refined = {}
        for name, own in features.items():
            others = {id(vector): vector for other, vector in vectors.items() if seen[other] is not seen[name]}
            hidden = joined(own, list(others.values()), self.units, f"{name}_round_{number}")
            change = keras.layers.Dense(own.shape[-1], name=f"{name}_round_{number}_change")(hidden)
            refined[name] = keras.layers.Add(name=f"{name}_refined_{number}")([own, change])
        return refined

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {
            **super().get_config(),
            "rounds": self.rounds,
            "sees": self.sees,
            "units": self.units,
            "base": keras.saving.serialize_keras_object(self.base),
            "detach": self.detach,
        }
