"""What every backbone of the registry keeps to. A new one needs a row in `ARGUMENTS`."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import backbones

# By name: the arguments of a small one, and those that differ from the defaults.
ARGUMENTS = {
    "audio": ({"num_samples": 2048}, {"num_mel_bins": 16, "fft_length": 128, "hop_length": 64}),
    "convolutional": ({"input_shape": (8, 12, 1)}, {"filters": (4, 2), "units": 5}),
    "fusion": ({"members": {"a": backbones.MLP(3), "b": backbones.MLP(2)}}, {"method": "gated", "units": 4}),
    "mlp": ({"input_shape": 7}, {"units": (5, 3), "dropout": 0.25}),
    "tabular": (
        {"numeric": ("age",), "statistics": {"age": [40.0, 100.0]}},
        {"categorical": ("job",), "vocabularies": {"job": [1, 2, 5]}, "embedding_dim": 3, "units": (6, 4)},
    ),
    "text": ({}, {"vocabulary": ["good", "bad"], "embedding_dim": 4, "filters": 2, "kernel_sizes": (2, 3)}),
}
# It needs a package, and a preset: tests/unit/backbones/test_keras_hub.py.
ELSEWHERE = {"keras_hub"}


def inputs_for(model, size):
    """Random inputs, numbers from 0 to 255 and words."""
    rng = np.random.default_rng(0)

    def one(tensor):
        if tensor.dtype == "string":
            return tf.constant(rng.choice(["good", "bad good", "very bad"], size=size))
        return rng.uniform(0, 255, (size, *tensor.shape[1:])).astype(tensor.dtype)

    return keras.tree.map_structure(one, model.input)


@pytest.fixture(params=sorted(set(backbones.names()) - ELSEWHERE))
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

    def test_names_the_arguments_that_are_absent(self, name):
        if name in ("tabular", "text"):
            pytest.skip("no argument is needed by its name: it says what is absent in its own words")
        (argument,) = ARGUMENTS[name][0]
        with pytest.raises(ValueError, match=f"backbone '{name}' takes other arguments .*{argument}"):
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
        assert backbones.names() == ["audio", "convolutional", "fusion", "keras_hub", "mlp", "tabular", "text"]
        assert {"Audio", "Convolutional", "Fusion", "KerasHub", "MLP", "Tabular", "Text"} <= set(backbones.__all__)


class TestConfig:
    def test_round_trip(self, name, backbone):
        config = keras.saving.serialize_keras_object(backbone)
        assert config["registered_name"] == f"keras_mtl>{type(backbone).__name__}"
        found = keras.saving.deserialize_keras_object(json.loads(json.dumps(config)))
        assert type(found) is type(backbone)
        assert found.get_config() == backbone.get_config()
        for argument, value in ARGUMENTS[name][1].items():
            received = getattr(found, argument)
            assert (type(value)(received) if isinstance(value, (list, tuple)) else received) == value

    def test_makes_the_same_graph(self, backbone):
        found = type(backbone).from_config(backbone.get_config()).build()
        model = backbone.build()
        assert [layer.get_config() for layer in found.layers] == [layer.get_config() for layer in model.layers]


class TestBuild:
    def test_is_an_ordinary_model_that_saves_and_loads(self, backbone, tmp_path):
        model = backbone.build()
        model.save(tmp_path / "backbone.keras")
        loaded = keras.models.load_model(tmp_path / "backbone.keras")
        x = inputs_for(model, 3)
        np.testing.assert_array_equal(loaded(x), model(x))

    def test_each_build_has_layers_and_weights_of_its_own(self, backbone):
        first, second = backbone.build(), backbone.build()
        for layers in (first.layers, first.weights):
            assert not {id(item) for item in layers} & {id(item) for item in [*second.layers, *second.weights]}
        assert any(np.any(a != b) for a, b in zip(first.get_weights(), second.get_weights(), strict=True))

    def test_trains(self, backbone):
        model = backbone.build()
        x = inputs_for(model, 8)
        before = model.get_weights()
        model.compile("sgd", loss="mse")
        model.fit(x, np.full((8, *model.output_shape[1:]), 0.5), epochs=1, verbose=0)
        assert any(np.any(a != b) for a, b in zip(before, model.get_weights(), strict=True))
