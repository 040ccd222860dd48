"""Strategies of `tf.distribute`, chosen by what there is: several GPUs, several workers, or one device.

>>> from keras_mtl import distribution
>>> with distribution.scope("default"):
...     pass
"""

from keras_mtl.distribution._strategy import scope, strategy

__all__ = ["scope", "strategy"]
