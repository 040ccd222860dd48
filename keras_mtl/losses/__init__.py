"""Losses: balanced ones for any `keras.Model`, where there is no `MultiTaskModel`, and those that tasks add to Keras'.

>>> from keras_mtl import losses
>>> by_task, callback = losses.balanced({"kind": "SparseCategoricalCrossentropy", "size": "mse"}, "uncertainty")
>>> sorted(by_task)
['kind', 'size']
"""

from keras_mtl.losses._balanced import balanced
from keras_mtl.losses._balanced_loss import BalancedLoss
from keras_mtl.losses._balancing import Balancing
from keras_mtl.losses._class_weighted import ClassWeighted
from keras_mtl.losses._labelwise import LabelwiseCrossentropy, LabelwiseLoss
from keras_mtl.losses._masked import Masked
from keras_mtl.losses._smoothed_crossentropy import SmoothedCrossentropy

__all__ = [
    "BalancedLoss",
    "Balancing",
    "ClassWeighted",
    "LabelwiseCrossentropy",
    "LabelwiseLoss",
    "Masked",
    "SmoothedCrossentropy",
    "balanced",
]
