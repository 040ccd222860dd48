"""The model: a Functional Keras model whose outputs are tasks, and its builder."""

from keras_mtl.model._build import build_model
from keras_mtl.model._model import MultiTaskModel

__all__ = ["MultiTaskModel", "build_model"]
