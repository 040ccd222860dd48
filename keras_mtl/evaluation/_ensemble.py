"""Several models as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_mtl._checks import check_number, check_one_of, check_same_names
from keras_mtl._registry import serializable
from keras_mtl.evaluation._combination import Combination
from keras_mtl.evaluation._members import check_members
from keras_mtl.model import MultiTaskModel
from keras_mtl.tasks import Task

_CLASSES = ("softmax", "sigmoid")


@serializable
class Ensemble(MultiTaskModel):
    """Several models of the same tasks as one, which predicts for each task what they predict together.

    When to use: models were trained from several seeds or on several parts of the data, and a prediction may cost what
    all of them cost together. `average_weights` makes one model of the cost of one, where the members are close.

    It is a Functional model with the members inside, whose weights it shares: it predicts, is compiled and evaluated,
    saved and exported (`export.saved_model`) like any `MultiTaskModel`. The members keep theirs.

    With `"mean"`, a prediction is the mean of the members': of classes, the mean of their probabilities, also where a
    task's loss has `from_logits=True`: then the logits of the mean are given. With `"weighted"`, members count by
    weights. With `"vote"`, tasks of classes have the share of the members for which a class is the most probable, or,
    for yes and no, whose probability is above one half; where two classes have as many votes, `argmax` takes the first.
    There is no vote on numbers: tasks of numbers have the mean.

    Source: T. Dietterich, "Ensemble Methods in Machine Learning", Multiple Classifier Systems 2000.

    Args:
        models: the members: at least one `MultiTaskModel`, all of the same inputs and tasks.
        method: `"mean"`, `"weighted"` or `"vote"`. Defaults to `"mean"`.
        weights: with `"weighted"`, a list or array of a number of at least 0 for each member, not all 0, or a dict of
            such by task.
            They are divided by their sum.
        name: the name of the model.

    Raises:
        ValueError: if the members differ in inputs or tasks, or on whether a task's outputs are logits, or the weights
            do not fit.

    Example:

    >>> import numpy as np
    >>> import keras_mtl as mtl
    >>> tasks = [mtl.tasks.Regression("a"), mtl.tasks.Regression("b")]
    >>> members = [mtl.build_model("mlp", tasks, input_shape=(3,)) for _ in range(2)]
    >>> ensemble = mtl.evaluation.Ensemble(members, "weighted", weights={"a": [3, 1], "b": [1, 1]})
    >>> x = np.ones((1, 3), "float32")
    >>> first, second, both = (model.predict(x, verbose=0)["a"] for model in (*members, ensemble))
    >>> bool(np.allclose(both, 0.75 * first + 0.25 * second))
    True
    """

    def __init__(
        self, models: Sequence[MultiTaskModel], method: str = "mean", weights: Any = None, name: str | None = None
    ) -> None:
        members = check_members(models)
        check_one_of(method, "method", ("mean", "weighted", "vote"))
        tasks = members[0].tasks
        shares = _shares(tasks, len(members), method, weights)
        logits = {task.name: _from_logits(task.name, members) for task in tasks}
        inputs = keras.tree.map_structure(
            lambda tensor: keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name), members[0].input
        )
        # Graphs of names of their own over the layers of the members, which may be namesakes.
        graphs = [keras.Model(model.input, model.output, name=f"member_{i}") for i, model in enumerate(members)]
        predictions = [graph(inputs) for graph in graphs]
        outputs = {
            task.name: Combination(
                task.activation,
                logits=logits[task.name],
                weights=shares[task.name],
                vote=method == "vote",
                name=task.name,
                dtype="float32",
            )([found[task.name] for found in predictions])
            for task in tasks
        }
        super().__init__(inputs, outputs, tasks, name=name)
        self.method = method
        self._member_weights = None if weights is None else shares

    def get_config(self) -> dict[str, Any]:
        """The graphs of the members, the tasks and the arguments of `__init__`."""
        graphs = [layer for layer in self.layers if isinstance(layer, keras.Model)]
        return {
            "graphs": [keras.saving.serialize_keras_object(graph) for graph in graphs],
            "tasks": [keras.saving.serialize_keras_object(task) for task in self.tasks],
            "method": self.method,
            "weights": self._member_weights,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Ensemble:
        """An ensemble from what `get_config` returned."""
        graphs = [keras.saving.deserialize_keras_object(graph, custom_objects) for graph in config["graphs"]]
        tasks = [keras.saving.deserialize_keras_object(task, custom_objects) for task in config["tasks"]]
        members = [MultiTaskModel(graph.input, graph.output, tasks) for graph in graphs]
        return cls(members, config["method"], config["weights"], name=config["name"])


def _shares(tasks: Sequence[Task], number: int, method: str, weights: Any) -> dict[str, list[float]]:
    """For each task, what each member counts, of sum 1."""
    names = [task.name for task in tasks]
    if method != "weighted":
        if weights is not None:
            raise ValueError(
                f"Parameter `weights` goes with method='weighted'. Received: weights and method={method!r}"
            )
        return {name: [1 / number] * number for name in names}
    if isinstance(weights, Mapping):
        check_same_names(weights, names, what="tasks of `weights`", mend="Give weights for each task.")
        given = dict(weights)
    else:
        given = dict.fromkeys(names, weights)
    found = {}
    for name in names:
        values = given[name].tolist() if isinstance(given[name], np.ndarray) else given[name]
        if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != number:
            raise ValueError(
                f"With method='weighted', parameter `weights` should be a list of {number} numbers, one for each "
                f"member, or a dict of such lists by task. Received: weights={weights!r}"
            )
        checked = [check_number(value, f"weights[{index}]") for index, value in enumerate(values)]
        if not sum(checked):
            raise ValueError(f"Parameter `weights` should not be all 0. Received: weights={weights!r}")
        found[name] = [value / sum(checked) for value in checked]
    return found


def _from_logits(name: str, members: Sequence[MultiTaskModel]) -> bool:
    """Whether the outputs of a task are logits, which its loss says."""
    found = []
    for member in members:
        task = next(task for task in member.tasks if task.name == name)
        found.append(task.activation in _CLASSES and any(_flags(task.loss.get_config())))
        if member.compiled and any(_flags(member.loss[name].get_config())) != found[-1]:
            raise ValueError(
                f"The task {name!r} says that its outputs are {'logits' if found[-1] else 'probabilities'}, and the "
                f"loss with which {member.name!r} was compiled says otherwise. Give the task that loss: "
                "tasks.Classification(..., loss=...)."
            )
    if len(set(found)) > 1:
        raise ValueError(
            f"The members should agree on whether the outputs of task {name!r} are logits. "
            f"Received: from_logits={found}"
        )
    return found[0]


def _flags(config: Any) -> Iterator[bool]:
    """The values of `from_logits` in a config and all that is within it."""
    if isinstance(config, Mapping):
        if "from_logits" in config:
            yield bool(config["from_logits"])
        for value in config.values():
            yield from _flags(value)
