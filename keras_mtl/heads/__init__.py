"""Heads: the layers of one task, from features to its prediction.

>>> import keras
>>> from keras_mtl import heads
>>> features = keras.Input((6, 8, 32))
>>> heads.dense_head(features, "breed", units=37, activation="softmax").shape
(None, 37)
"""

from keras_mtl.heads._dense import dense_head, pool
from keras_mtl.heads._map import map_head
from keras_mtl.heads._ordinal import OrdinalLogits, ordinal_head
from keras_mtl.heads._resize_like import ResizeLike
from keras_mtl.heads._token import token_head

__all__ = ["OrdinalLogits", "ResizeLike", "dense_head", "map_head", "ordinal_head", "pool", "token_head"]
