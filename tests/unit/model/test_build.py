"""`build_model` takes a name, a backbone or any Keras model."""

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl import backbones, build_model, tasks


def make_tasks():
    return [tasks.Classification("a", 3, hidden_units=5), tasks.Regression("b", num_outputs=2)]


def shapes(model):
    return {name: tuple(tensor.shape) for name, tensor in model.output.items()}


@pytest.mark.parametrize(
    ("backbone", "input_shape"), [("convolutional", (12, 12, 1)), ("mlp", (7,)), ("MobileNetV3Small", (32, 32, 3))]
)
def test_a_name(backbone, input_shape):
    model = build_model(backbone, make_tasks(), input_shape=input_shape, name="mine")
    assert shapes(model) == {"a": (None, 3), "b": (None, 2)}
    assert model.input_shape == (None, *input_shape)
    assert model.name == "mine"
    predictions = model.predict(np.ones((2, *input_shape)), verbose=0)
    np.testing.assert_allclose(predictions["a"].sum(axis=1), 1, atol=1e-6)


def test_raw_images_of_any_size():
    model = build_model("mobilenetv3small", make_tasks())
    assert model.input_shape == (None, None, None, 3)
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3)).astype("uint8")
    assert model.predict(images, verbose=0)["b"].shape == (2, 2)


def test_a_backbone_makes_new_weights_for_each_model():
    backbone = backbones.MLP(7, units=(4,))
    first, second = build_model(backbone, make_tasks()), build_model(backbone, make_tasks())
    assert not {id(v) for v in first.variables} & {id(v) for v in second.variables}
    config = keras.saving.serialize_keras_object(backbone)
    assert shapes(build_model(config, make_tasks())) == shapes(first)


def test_a_functional_model_is_taken_in_layer_by_layer():
    inputs = keras.Input((7,))
    inner = keras.layers.Dense(6, name="inner")(inputs)
    backbone = keras.Model(inputs, keras.layers.Dense(4, name="outer")(inner))
    model = build_model(backbone, make_tasks())
    assert model.get_layer("inner").kernel is backbone.get_layer("inner").kernel
    assert model.get_layer("a_hidden_0").kernel.shape == (4, 5)
    from_inner = build_model(backbone, make_tasks(), features="inner")
    assert from_inner.get_layer("a_hidden_0").kernel.shape == (6, 5)
    assert "outer" not in {layer.name for layer in from_inner.layers}


def test_a_sequential_model():
    model = build_model(keras.Sequential([keras.Input((7,)), keras.layers.Dense(4)]), make_tasks())
    assert shapes(model) == {"a": (None, 3), "b": (None, 2)}
    assert model.predict(np.ones((2, 7)), verbose=0)["b"].shape == (2, 2)


class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(4)

    def call(self, x):
        return self.dense(x)


def test_a_subclassed_model_is_one_layer():
    backbone = Subclassed(name="backbone")
    with pytest.raises(ValueError, match="'backbone' is a Subclassed without a graph.* needs `input_shape`"):
        build_model(backbone, make_tasks())
    model = build_model(backbone, make_tasks(), input_shape=(7,))
    assert model.get_layer("backbone") is backbone
    assert len(model.partition.shared) == 2
    with pytest.raises(ValueError, match="Unknown layer of the backbone .*'dense'"):
        build_model(backbone, make_tasks(), input_shape=(7,), features="dense")


def test_tasks_from_configs():
    configs = [keras.saving.serialize_keras_object(task) for task in make_tasks()]
    assert shapes(build_model("mlp", configs, input_shape=(7,))) == {"a": (None, 3), "b": (None, 2)}


def test_the_heads_stand_on_one_pooled_vector():
    model = build_model("convolutional", make_tasks(), input_shape=(8, 8, 1))
    pools = [layer.name for layer in model.layers if isinstance(layer, keras.layers.GlobalAveragePooling2D)]
    assert pools == ["shared_pool"]


def test_summary_and_the_graph_as_a_picture():
    model = build_model("mlp", make_tasks(), input_shape=(7,))
    lines = []
    model.summary(print_fn=lines.append)
    assert "a_logits" in "".join(lines)
    graph = keras.utils.model_to_dot(model, show_shapes=True).to_string()
    for layer in model.layers:
        assert layer.name in graph


def test_plot_model_writes_a_picture(tmp_path):
    import shutil

    if shutil.which("dot") is None:
        pytest.skip("Graphviz is not installed, which keras.utils.plot_model calls")
    model = build_model("mlp", make_tasks(), input_shape=(7,))
    keras.utils.plot_model(model, tmp_path / "model.png")
    assert (tmp_path / "model.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backbone": "ResNet51"}, "Unknown backbone: 'ResNet51'. Did you mean .*'ResNet50'.* VGG16.* mlp"),
        ({"backbone": "perceptron"}, "Unknown backbone: 'perceptron'.* The known ones are: .*convolutional.*mlp"),
        ({"backbone": 3}, r"A backbone should be a name .*Received: 3 \(of type int\)"),
        ({"backbone": "mlp"}, "The backbone 'mlp' takes other arguments .*input_shape.* instance of `MLP`"),
        (
            {"backbone": "mlp", "input_shape": (3,), "weights": "imagenet"},
            "The backbone 'mlp' takes other arguments .*weights",
        ),
        ({"backbone": backbones.MLP(7), "input_shape": (7,)}, "a MLP has its own. Received: {'input_shape': .*Leave"),
        ({"backbone": "InceptionV3", "input_shape": (32, 32, 3)}, r"InceptionV3 .*input_shape=\(32, 32, 3\).* 75x75"),
        ({"backbone": "VGG16", "input_shape": (32, 32, 1)}, r"should be \(height, width, 3\)"),
        ({"sharing": "softer"}, "Unknown sharing: 'softer'. Did you mean 'soft'"),
        ({"tasks": []}, r"`tasks` should be a list of at least one task. Received: tasks=\[\]"),
        ({"tasks": ["classification"]}, "The task kind 'classification' takes other arguments"),
        ({"tasks": ["clasification"]}, "Unknown task kind: 'clasification'. Did you mean .*'classification'"),
        (
            {"tasks": [tasks.Regression("a"), tasks.Regression("a")]},
            r"should differ. Received: .* \['a'\] are repeated",
        ),
        (
            {"tasks": [tasks.Regression("dense_0")]},
            r"the name of a layer of the backbone. Received: tasks \['dense_0'\]",
        ),
        ({"backbone": keras.Sequential([keras.layers.Dense(3)])}, "a Sequential without a graph"),
        ({"features": "nothing"}, "Unknown layer of the backbone 'mlp': 'nothing'.*dense_0, dense_1"),
    ],
)
def test_bad_input(arguments, message):
    given = {"backbone": backbones.MLP(7), "tasks": make_tasks(), **arguments}
    with pytest.raises(ValueError, match=message):
        build_model(given.pop("backbone"), given.pop("tasks"), given.pop("sharing", "hard"), **given)


def test_a_backbone_of_several_outputs_wants_a_name():
    x = keras.Input((4,))
    backbone = keras.Model(x, [keras.layers.Dense(3, name="p")(x), keras.layers.Dense(3, name="q")(x)])
    with pytest.raises(ValueError, match="should have one output. Received: 2 outputs. Name the layer"):
        build_model(backbone, make_tasks())
    assert shapes(build_model(backbone, make_tasks(), features="q")) == {"a": (None, 3), "b": (None, 2)}


def test_version():
    assert mtl.__version__.count(".") == 2
