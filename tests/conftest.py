"""Two logical CPUs, so that replicas are real; a fresh state for each test; tasks and data."""

import contextlib
import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

with contextlib.suppress(ModuleNotFoundError):
    import triton  # noqa: F401  PyTorch's, if it is installed: to be loaded before TensorFlow, or it crashes

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import tasks

# More than two in a process of its own: tests/integration/test_replica_options.py starts one.
NUM_REPLICAS = int(os.environ.get("TEST_REPLICAS", "2"))
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * NUM_REPLICAS
)


# Nearly all that the imports made stays: half a second for each full collection, of which tracing provokes many.
gc.collect()
gc.freeze()
gc.set_threshold(20_000, 10, 10)


@pytest.fixture(autouse=True)
def _same_seed():
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True, scope="module")
def _fresh_session():
    yield
    keras.backend.clear_session()  # collects all garbage: too slow for every test
    gc.freeze()  # what is left stays, and each full collection would go through it again: seconds, in the end


# One for all tests: TensorFlow gives the collective operations of a second strategy the keys of the first one's.
@pytest.fixture(scope="session")
def two_replicas():
    return tf.distribute.MirroredStrategy([f"CPU:{index}" for index in range(NUM_REPLICAS)])


@pytest.fixture
def digit_tasks():
    """One task of each kind, over the same digits."""
    return [tasks.Classification("digit", 10), tasks.BinaryClassification("is_even"), tasks.Regression("value")]


@pytest.fixture
def digits():
    """64 random images with labels of all three tasks."""
    rng = np.random.default_rng(0)
    digit = rng.integers(0, 10, 64)
    images = rng.integers(0, 256, (64, 8, 8, 1)).astype("uint8")
    return images, {"digit": digit, "is_even": digit % 2 == 0, "value": digit.astype("float32")}
