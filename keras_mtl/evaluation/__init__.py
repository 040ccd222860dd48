"""Evaluation: honest comparison of multi-task models with single-task models.

>>> from keras_mtl import evaluation
>>> evaluation.delta_m({"age": 4.0}, {"age": 5.0}, {"age": False})
20.0
"""

from keras_mtl.evaluation._affinity import affinity
from keras_mtl.evaluation._average_weights import average_weights
from keras_mtl.evaluation._compare import compare
from keras_mtl.evaluation._delta_m import delta_m
from keras_mtl.evaluation._ensemble import Ensemble
from keras_mtl.evaluation._gain_matrix import GainMatrix
from keras_mtl.evaluation._group_tasks import Grouping, group_tasks
from keras_mtl.evaluation._report import Report, Result
from keras_mtl.evaluation._transfer_matrix import transfer_matrix

__all__ = [
    "Ensemble",
    "GainMatrix",
    "Grouping",
    "Report",
    "Result",
    "affinity",
    "average_weights",
    "compare",
    "delta_m",
    "group_tasks",
    "transfer_matrix",
]
