"""Several workers train one model: is it the same on all of them?"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import tensorflow as tf


def check_agreement(model: Any) -> None:
    """Raises a `ValueError` if the workers of a strategy have compiled different models.

    Their weights' shapes are compared, the tasks, and the arguments of `compile`. Without this they would wait for each
    other in operations that do not match.

    Args:
        model: a compiled multi-task model.
    """
    strategy = model.distribute_strategy
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return
    facts = {
        "weights": [(tuple(weight.shape), weight.dtype) for weight in model.weights],
        "tasks": [task.get_config() for task in model.tasks],
        "arguments of `compile`": model.get_compile_config(),
    }
    own = np.array([_hash(value) for value in facts.values()], "int64")
    found = strategy.gather(tf.constant(own[np.newaxis]), axis=0).numpy()  # [num_replicas, num_facts]
    differing = [what for what, column in zip(facts, found.T, strict=True) if len(set(column)) > 1]
    if differing:
        raise ValueError(
            f"All workers should compile the same model. Received: they differ in {', '.join(differing)}. Run the same "
            "script with the same arguments on all of them."
        )


def _hash(value: Any) -> int:
    text = json.dumps(value, sort_keys=True, default=str)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
