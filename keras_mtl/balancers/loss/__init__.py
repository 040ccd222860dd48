"""Balancers that look at the losses alone: they cost no more than a plain step.

>>> import numpy as np
>>> from keras_mtl.balancers import loss
>>> loss.Equal()(np.array([2.0, 0.5]), np.array([True, True])).numpy()
array([1., 1.], dtype=float32)
"""

from keras_mtl.balancers.loss._equal import Equal
from keras_mtl.balancers.loss._fixed import Fixed
from keras_mtl.balancers.loss._uncertainty import Uncertainty

__all__ = ["Equal", "Fixed", "Uncertainty"]
