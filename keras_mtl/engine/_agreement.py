"""Several workers train one model: is it the same on all of them, and in the same way?"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_mtl.engine._workers import has_workers


def check_agreement(model: Any) -> None:
    """Raises a `ValueError` if the workers of a strategy have compiled different models.

    Their weights' shapes are compared, the tasks, and the arguments of `compile`. Without this they would wait for each
    other in operations that do not match.

    Args:
        model: a compiled multi-task model.
    """
    if not has_workers(model):
        return
    facts = {
        "weights": [(tuple(weight.shape), weight.dtype) for weight in model.weights],
        "tasks": [task.get_config() for task in model.tasks],
        "arguments of `compile`": model.get_compile_config(),
    }
    _check(model, facts, "compile the same model")


def check_same_training(model: Any, facts: Mapping[str, Any]) -> None:
    """Raises a `ValueError` if the workers of a strategy were asked for different trainings.

    Args:
        model: a compiled multi-task model, on several workers.
        facts: what is to be the same, by a name for the message.
    """
    _check(model, facts, "train in the same way")


def of_first_worker(model: Any, number: int) -> int:
    """The number that the first worker of a strategy has, for all of them."""
    return int(_of_all(model, [number])[0, 0]) if has_workers(model) else number


def _check(model: Any, facts: Mapping[str, Any], what: str) -> None:
    found = _of_all(model, [_hash(value) for value in facts.values()])
    differing = [name for name, column in zip(facts, found.T, strict=True) if len(set(column)) > 1]
    if differing:
        raise ValueError(
            f"All workers should {what}. Received: they differ in {', '.join(differing)}. Run the same script, with "
            "the same arguments and the same files, on all of them."
        )


def _of_all(model: Any, numbers: list[int]) -> Any:
    """The numbers of each replica of each worker, `[num_replicas, num_numbers]`."""
    own = tf.constant(np.array(numbers, "int64")[np.newaxis])
    return model.distribute_strategy.gather(own, axis=0).numpy()


def _hash(value: Any) -> int:
    text = json.dumps(value, sort_keys=True, default=str)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
