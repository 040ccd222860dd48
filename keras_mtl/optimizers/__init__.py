"""Optimizers: around those of Keras, for fine-tuning.

>>> from keras_mtl import optimizers
>>> optimizer = optimizers.LayerwiseLearningRate("adamw", {"stem*": 0.0}, decay=0.8)
"""

from keras_mtl.optimizers._begin_anew import begin_anew
from keras_mtl.optimizers._layerwise_learning_rate import LayerwiseLearningRate, bind_to_model

__all__ = ["LayerwiseLearningRate", "begin_anew", "bind_to_model"]
