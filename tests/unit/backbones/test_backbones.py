"""What every backbone of the registry keeps to. A new one needs a row in `ARGUMENTS`."""

import json

import keras
import numpy as np
import pytest

from keras_mtl import backbones

# By name: the arguments of a small one, and those that differ from the defaults.
ARGUMENTS = {
    "convolutional": ({"input_shape": (8, 12, 1)}, {"filters": (4, 2), "units": 5}),
    "mlp": ({"input_shape": 7}, {"units": (5, 3), "dropout": 0.25}),
}


@pytest.fixture(params=backbones.names())
def name(request):
    return request.param


@pytest.fixture
def backbone(name):
    required, others = ARGUMENTS[name]
    return backbones.get(name, **required, **others)


class TestGet:
    def test_by_name(self, name):
        assert isinstance(backbones.get(name, **ARGUMENTS[name][0]), backbones.Backbone)

    def test_by_instance_and_by_config(self, backbone):
        assert backbones.get(backbone) is backbone
        found = backbones.get(keras.saving.serialize_keras_object(backbone))
        assert found.get_config() == backbone.get_config()

    def test_needs_the_shape_of_the_input(self, name):
        with pytest.raises(ValueError, match=f"backbone '{name}' takes other arguments .*input_shape"):
            backbones.get(name)

    def test_architectures_of_keras_by_name_in_any_case(self):
        found = backbones.get("mobilenetv2", input_shape=(32, 32, 3))
        assert type(found) is backbones.Image
        assert (found.architecture, found.input_shape) == ("MobileNetV2", (32, 32, 3))

    @pytest.mark.parametrize("name, near", [("MPL", "mlp"), ("ResNet51", "ResNet50")])
    def test_an_unknown_name_lists_the_known_ones(self, name, near):
        with pytest.raises(ValueError, match=f"^Unknown backbone: '{name}'. Did you mean .*'{near}'") as caught:
            backbones.get(name, input_shape=3)
        known = str(caught.value).partition(" The known ones are: ")[2].rstrip(".").split(", ")
        assert known == sorted([*backbones.names(), *backbones.architectures()])

    @pytest.mark.parametrize("identifier", [None, 3, backbones.MLP])
    def test_what_is_no_backbone_is_refused(self, identifier):
        with pytest.raises(ValueError, match="A backbone should be a name"):
            backbones.get(identifier)

    def test_names_are_those_of_classes_that_are_public(self):
        assert backbones.names() == ["convolutional", "mlp"]
        assert {"Convolutional", "MLP"} <= set(backbones.__all__)


class TestConfig:
    def test_round_trip(self, name, backbone):
        config = keras.saving.serialize_keras_object(backbone)
        assert config["registered_name"] == f"keras_mtl>{type(backbone).__name__}"
        found = keras.saving.deserialize_keras_object(json.loads(json.dumps(config)))
        assert type(found) is type(backbone)
        assert found.get_config() == backbone.get_config()
        for argument, value in ARGUMENTS[name][1].items():
            assert getattr(found, argument) == value

    def test_makes_the_same_graph(self, backbone):
        found = type(backbone).from_config(backbone.get_config()).build()
        model = backbone.build()
        assert [layer.get_config() for layer in found.layers] == [layer.get_config() for layer in model.layers]


class TestBuild:
    def test_is_an_ordinary_model_that_saves_and_loads(self, backbone, tmp_path):
        model = backbone.build()
        model.save(tmp_path / "backbone.keras")
        loaded = keras.models.load_model(tmp_path / "backbone.keras")
        x = np.random.default_rng(0).uniform(0, 255, (3, *backbone.input_shape)).astype("float32")
        np.testing.assert_array_equal(loaded(x), model(x))

    def test_each_build_has_layers_and_weights_of_its_own(self, backbone):
        first, second = backbone.build(), backbone.build()
        for layers in (first.layers, first.weights):
            assert not {id(item) for item in layers} & {id(item) for item in [*second.layers, *second.weights]}
        assert any(np.any(a != b) for a, b in zip(first.get_weights(), second.get_weights(), strict=True))

    def test_trains(self, backbone):
        model = backbone.build()
        x = np.random.default_rng(0).uniform(0, 255, (8, *backbone.input_shape)).astype("float32")
        before = model.get_weights()
        model.compile("sgd", loss="mse")
        model.fit(x, np.full((8, *model.output_shape[1:]), 0.5), epochs=1, verbose=0)
        assert any(np.any(a != b) for a, b in zip(before, model.get_weights(), strict=True))
