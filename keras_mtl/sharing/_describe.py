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
    order = {name: index for index, name in enumerate(model.output)}
    for kind, level, values in _in_rows([layer for layer in model.layers if hasattr(layer, "readers")], order):
        found.setdefault(kind, {})[level] = values
    for layer in model.layers:
        if hasattr(layer, "readers"):
            continue
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
    else:
        of_level[layer.level] = values


def _in_rows(layers: list[Any], order: dict[str, int]) -> list[tuple[str, Any, np.ndarray]]:
    """What layers have learnt that have a row for each of their readers: kind, level and rows.

    At the last level each task has a layer of its own, with one row, and they stand in the model in any order.
    """
    rows: dict[tuple[str, Any], list[tuple[int, np.ndarray]]] = {}
    for layer in layers:
        for kind, values in layer.learnt().items():
            first = order.get(layer.readers[0], 0)
            rows.setdefault((kind, layer.level), []).append((first, np.asarray(values)))
    return [
        (kind, level, np.concatenate([values for _, values in sorted(parts, key=lambda part: part[0])], axis=-2))
        for (kind, level), parts in rows.items()
    ]
