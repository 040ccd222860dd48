"""Heads: the layers of one task, from features to its prediction.

>>> import keras
>>> from keras_mtl import heads
>>> features = keras.Input((6, 8, 32))
>>> heads.dense_head(features, "breed", units=37, activation="softmax").shape
(None, 37)
"""

from keras_mtl.heads._dense import dense_head, pool

__all__ = ["dense_head", "pool"]
