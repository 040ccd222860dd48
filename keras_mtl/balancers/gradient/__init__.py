"""Balancers that look at the tasks' gradients: they cost one backward pass a task.

>>> from keras_mtl.balancers import gradient
>>> gradient.Sum().direction([[1.0, 0.0], [1.0, 2.0]]).numpy()
array([2., 2.], dtype=float32)
"""

from keras_mtl.balancers.gradient._mean import Mean
from keras_mtl.balancers.gradient._pcgrad import PCGrad
from keras_mtl.balancers.gradient._sum import Sum

__all__ = ["Mean", "PCGrad", "Sum"]
