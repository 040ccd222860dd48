"""The head of tasks that predict something for each token."""

import keras
import numpy as np

from keras_mtl import heads


def test_looks_at_each_token_by_itself():
    features = keras.Input((None, 6))
    prediction = heads.token_head(features, "tag", units=3, activation="softmax", hidden_units=(5,), dropout=0.5)
    model = keras.Model(features, prediction)
    assert model.output_shape == (None, None, 3)
    assert [layer.name for layer in model.layers[1:]] == ["tag_hidden_0", "tag_dropout", "tag_logits", "tag"]
    x = np.random.default_rng(0).normal(size=(2, 4, 6)).astype("float32")
    whole = np.asarray(model(x))
    np.testing.assert_allclose(whole.sum(axis=-1), 1, rtol=1e-5)
    for token in range(4):
        np.testing.assert_allclose(model(x[:, token : token + 1]), whole[:, token : token + 1], atol=1e-6)
