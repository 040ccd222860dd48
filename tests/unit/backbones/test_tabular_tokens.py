"""Categories that are called like Keras' own token for unknown ones."""

import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import backbones


@pytest.mark.parametrize(
    ("known", "unknown"), [([-2, -1, 0], 7), (["[UNK]", "[[UNK]]", "a"], "z")], ids=["integers", "strings"]
)
def test_each_category_has_an_embedding_of_its_own(known, unknown):
    model = backbones.Tabular(categorical=["kind"], units=()).adapt({"kind": known}).build()
    vectors = model.predict({"kind": tf.constant([[value] for value in [*known, unknown]])}, verbose=0)
    assert len(np.unique(vectors, axis=0)) == 4
