"""Hard parameter sharing: the same vector for every task."""

import keras
import numpy as np
import pytest

from keras_mtl import sharing, tasks


@pytest.fixture
def found():
    return [tasks.Classification("digit", 10), tasks.BinaryClassification("is_even"), tasks.Regression("value")]


@pytest.mark.parametrize("shape", [(6,), (4, 6), (4, 3, 6), (4, 3, 2, 6)])
def test_every_task_reads_the_same_vector(found, shape):
    features = keras.Input(shape)
    shared = sharing.Hard()({"features": features}, found)
    assert list(shared) == ["digit", "is_even", "value"]
    assert len({id(tensor) for tensor in shared.values()}) == 1
    assert shared["digit"].shape == (None, 6)


def test_vectors_are_passed_on_as_they_are(found):
    features = keras.Input((6,))
    assert sharing.Hard()({"features": features}, found)["value"] is features


def test_maps_are_averaged_once(found):
    features = keras.Input((4, 3, 6))
    model = keras.Model(features, sharing.Hard()({"features": features}, found))
    assert [layer.name for layer in model.layers[1:]] == ["shared_pool"]
    x = np.random.default_rng(0).normal(size=(2, 4, 3, 6)).astype("float32")
    for vector in model(x).values():
        np.testing.assert_allclose(vector, x.mean(axis=(1, 2)), atol=1e-6)


def test_reads_the_last_of_several_levels(found):
    levels = {"c3": keras.Input((8, 8, 4)), "c4": keras.Input((4, 4, 8)), "c5": keras.Input((16,))}
    assert sharing.Hard()(levels, found)["digit"] is levels["c5"]


def test_adds_no_weights(found):
    features = keras.Input((4, 4, 6))
    assert keras.Model(features, sharing.Hard()({"features": features}, found)).weights == []


class TestGet:
    def test_by_name_instance_and_config(self):
        hard = sharing.get("hard")
        assert type(hard) is sharing.Hard
        assert sharing.get(hard) is hard
        assert type(sharing.get(keras.saving.serialize_keras_object(hard))) is sharing.Hard

    def test_config_round_trip(self):
        config = keras.saving.serialize_keras_object(sharing.Hard())
        assert (config["registered_name"], config["config"]) == ("keras_mtl>Hard", {})
        assert type(sharing.Hard.from_config({})) is sharing.Hard

    def test_an_unknown_name_lists_the_known_ones(self):
        with pytest.raises(ValueError, match=f"Unknown sharing: 'Hard'. .*ones are: .*{', '.join(sharing.names())}"):
            sharing.get("Hard")

    @pytest.mark.parametrize("identifier", [None, 3, sharing.Hard, keras.layers.Dense])
    def test_what_is_no_sharing_is_refused(self, identifier):
        with pytest.raises(ValueError, match="A sharing should be a name"):
            sharing.get(identifier)

    def test_the_base_class_is_abstract(self):
        with pytest.raises(TypeError, match="abstract"):
            sharing.Sharing()
