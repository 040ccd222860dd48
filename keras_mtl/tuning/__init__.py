"""Tuning with keras-tuner: heads, task weights and the learning rate, judged by the improvement over a baseline.

>>> import keras_tuner
>>> from keras_mtl import tasks, tuning
>>> kinds = [tasks.Classification("breed", 37), tasks.Regression("age")]
>>> hypermodel = tuning.MultiTaskHyperModel("mlp", kinds, input_shape=(20,))
>>> sorted(hypermodel.build(hp := keras_tuner.HyperParameters()).output), sorted(hp.values)
(['age', 'breed'], ['age_hidden_units', 'age_weight', 'breed_hidden_units', 'learning_rate'])
>>> tuning.DeltaM(kinds, {"breed": 0.5, "age": 4.0}).get_value({"val_breed_accuracy": 0.75, "val_age_mae": 4.0})
25.0
"""

from keras_mtl._optional import require

require("keras_tuner", extra="tuner", needed_by="keras_mtl.tuning")

from keras_mtl.tuning._delta_m_objective import DeltaM  # noqa: E402
from keras_mtl.tuning._hypermodel import MultiTaskHyperModel  # noqa: E402

__all__ = ["DeltaM", "MultiTaskHyperModel"]
