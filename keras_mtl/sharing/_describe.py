"""What an architecture has learnt, as arrays."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


def describe(model: keras.Model, x: Any = None) -> dict[str, dict[Any, Any]]:
    """What the sharing architecture of a model has learnt about its tasks.

    Args:
        model: a multi-task model.
        x: inputs, or a data set of batches, as for `model.predict`: gates that depend on the input are averaged over
            them. Defaults to None, for architectures without such gates.

    Returns:
        By kind, and there by level, those of which the model has some:

        - `"gates"`: by task, the mean weight of each expert, `[num_experts]`; `"shared"` is the gate of the shared
          experts of a further level. Where experts are specific, those of the task come first.
        - `"stitches"`: how much of each task's features goes into those of each task, `[num_tasks, num_tasks]`, the
          reader in the rows, or `[channels, num_tasks, num_tasks]`.
        - `"parents"`: the probability with which each node chooses each node of the stage before,
          `[num_nodes, num_parents]`.

    Raises:
        ValueError: if gates depend on the input and no `x` is given.

    Example:

    >>> import numpy as np
    >>> import keras_mtl as mtl
    >>> tasks = [mtl.tasks.Regression("a"), mtl.tasks.Regression("b")]
    >>> model = mtl.build_model("mlp", tasks, sharing=mtl.sharing.MMoE(4), input_shape=(3,))
    >>> found = mtl.sharing.describe(model, np.ones((8, 3)))
    >>> {task: weights.shape for task, weights in found["gates"][0].items()}
    {'a': (4,), 'b': (4,)}
    """
    found: dict[str, dict[Any, Any]] = {}
    gates = []
    for layer in model.layers:
        if hasattr(layer, "learnt"):
            for kind, values in layer.learnt().items():
                _place(found, kind, layer, np.asarray(values))
        elif getattr(layer, "shows", None) == "gates":
            gates.append(layer)
    if gates and x is None:
        raise ValueError(
            f"The gates of the model {model.name!r} depend on its input. Received: x=None. Give inputs, such as the "
            "validation data, over which their weights are averaged."
        )
    if gates:
        shown = keras.Model(model.input, [layer.output for layer in gates]).predict(x, verbose=0)
        for layer, weights in zip(gates, shown, strict=True):
            _place(found, "gates", layer, np.mean(weights, axis=0))
    return found


def _place(found: dict[str, dict[Any, Any]], kind: str, layer: Any, values: np.ndarray) -> None:
    of_level = found.setdefault(kind, {})
    if hasattr(layer, "task"):
        of_level.setdefault(layer.level, {})[layer.task] = values
    elif layer.level in of_level:  # a row for each task, in a layer of its own
        of_level[layer.level] = np.concatenate([of_level[layer.level], values], axis=-2)
    else:
        of_level[layer.level] = values
