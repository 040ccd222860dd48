"""Evaluation: honest comparison of multi-task models with single-task models.

>>> from keras_mtl import evaluation
>>> evaluation.delta_m({"age": 4.0}, {"age": 5.0}, {"age": False})
20.0
"""

from keras_mtl.evaluation._compare import compare
from keras_mtl.evaluation._delta_m import delta_m
from keras_mtl.evaluation._report import Report, Result

__all__ = ["Report", "Result", "compare", "delta_m"]
