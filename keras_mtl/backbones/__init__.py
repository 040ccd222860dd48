"""Backbones: recipes for the part of a model that all tasks share, from raw input to features.

>>> from keras_mtl import backbones
>>> model = backbones.Convolutional((24, 32, 1)).build()
>>> model.output_shape
(None, 6, 8, 128)
"""

from keras_mtl.backbones._audio import Audio
from keras_mtl.backbones._base import Backbone
from keras_mtl.backbones._convolutional import Convolutional
from keras_mtl.backbones._fusion import Fusion
from keras_mtl.backbones._get import get, names
from keras_mtl.backbones._image import Image, ImagePreprocessing, architectures
from keras_mtl.backbones._keras_hub import KerasHub
from keras_mtl.backbones._mlp import MLP
from keras_mtl.backbones._tabular import Tabular
from keras_mtl.backbones._text import Text

__all__ = [
    "MLP",
    "Audio",
    "Backbone",
    "Convolutional",
    "Fusion",
    "Image",
    "ImagePreprocessing",
    "KerasHub",
    "Tabular",
    "Text",
    "architectures",
    "get",
    "names",
]
