"""keras_mtl: multi-task learning with Keras 3 on TensorFlow.

>>> import keras_mtl as mtl
>>> tasks = [mtl.tasks.Classification("breed", num_classes=37), mtl.tasks.BinaryClassification("is_cat")]
>>> model = mtl.build_model("MobileNetV2", tasks, input_shape=(32, 32, 3))
>>> model.compile("adam", balancer="uncertainty")
"""

import importlib
from types import ModuleType

from keras_mtl import backbones, balancers, heads, losses, metrics, optimizers, sharing, tasks
from keras_mtl._version import __version__
from keras_mtl.model import MultiTaskModel, build_model

# Imported on first use: some of them need an extra.
_ON_USE = ("callbacks", "data", "distribution", "evaluation", "export", "plots", "transfer", "tuning")

__all__ = [
    "MultiTaskModel",
    "__version__",
    "backbones",
    "balancers",
    "build_model",
    "callbacks",
    "data",
    "distribution",
    "evaluation",
    "export",
    "heads",
    "losses",
    "metrics",
    "optimizers",
    "plots",
    "sharing",
    "tasks",
    "transfer",
    "tuning",
]


def __getattr__(name: str) -> ModuleType:
    if name in _ON_USE:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_USE})
