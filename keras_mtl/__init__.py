"""keras_mtl: multi-task learning with Keras 3 on TensorFlow.

>>> import keras_mtl as mtl
>>> tasks = [mtl.tasks.Classification("breed", num_classes=37), mtl.tasks.BinaryClassification("is_cat")]
>>> model = mtl.build_model("MobileNetV2", tasks, input_shape=(32, 32, 3))
>>> model.compile("adam", balancer="uncertainty")
"""

from keras_mtl import backbones, balancers, heads, sharing, tasks
from keras_mtl._version import __version__
from keras_mtl.model import MultiTaskModel, build_model

__all__ = ["MultiTaskModel", "__version__", "backbones", "balancers", "build_model", "heads", "sharing", "tasks"]
