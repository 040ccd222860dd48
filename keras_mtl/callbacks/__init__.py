"""Callbacks: what can be learnt about tasks while they are trained together.

>>> from keras_mtl import callbacks
>>> callbacks.TaskAffinity(every=10).every
10
"""

from keras_mtl.callbacks._task_affinity import TaskAffinity

__all__ = ["TaskAffinity"]
