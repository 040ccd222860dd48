"""Transfer: train heads on a frozen backbone and release it by stages, and carry weights from model to model.

>>> from keras_mtl import transfer
>>> stages = [transfer.Stage(2), transfer.Stage(3, blocks=2, learning_rate=1e-4)]
>>> callback = transfer.FineTuning(stages)
"""

from keras_mtl.transfer._alternate import Alternation, alternate
from keras_mtl.transfer._copy_report import CopyReport
from keras_mtl.transfer._copy_weights import copy_weights
from keras_mtl.transfer._fine_tuning import FineTuning
from keras_mtl.transfer._freeze import freeze, unfreeze
from keras_mtl.transfer._stage import Stage

__all__ = ["Alternation", "CopyReport", "FineTuning", "Stage", "alternate", "copy_weights", "freeze", "unfreeze"]
