"""Export: a trained model as something that serves.

>>> import tempfile
>>> import keras_mtl as mtl
>>> model = mtl.build_model("mlp", [mtl.tasks.Regression("a"), mtl.tasks.Regression("b")], input_shape=(3,))
>>> with tempfile.TemporaryDirectory() as folder:
...     mtl.export.saved_model(model, f"{folder}/serving/1")
"""

from keras_mtl.export._saved_model import saved_model
from keras_mtl.export._verify import verify_saved_model

__all__ = ["saved_model", "verify_saved_model"]
