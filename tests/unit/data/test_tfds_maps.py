"""Which features of TensorFlow Datasets are maps."""

import numpy as np
import pytest

from keras_mtl.data._tfds import _is_map

tfds = pytest.importorskip("tensorflow_datasets")


@pytest.mark.parametrize(
    ("shape", "is_map"), [((480, 640), True), ((480, 640, 2), True), ((68, 2), False), ((640,), False)], ids=str
)
def test_tensor_is_a_map_where_it_has_the_size_of_the_image(shape, is_map):
    feature = tfds.features.Tensor(shape=shape, dtype=np.float32)
    assert _is_map(tfds, feature, {(480, 640)}) is is_map
