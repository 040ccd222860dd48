"""Balancers that look at the losses alone: they cost no more than a plain step.

>>> from keras_mtl.balancers import loss
>>> loss.Equal()([2.0, 0.5], [True, True]).numpy()
array([1., 1.], dtype=float32)
"""

from keras_mtl.balancers.loss._equal import Equal
from keras_mtl.balancers.loss._fixed import Fixed
from keras_mtl.balancers.loss._uncertainty import Uncertainty

__all__ = ["Equal", "Fixed", "Uncertainty"]
