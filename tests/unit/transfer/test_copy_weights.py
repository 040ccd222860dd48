"""Weights go from model to model by name, by structure and by a dict, from files too, and the report says it all."""

import logging
import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from keras_mtl import tasks, transfer
from tests.models import largest_difference, two_task_data, two_task_model

X, Y = two_task_data(40)
BACKBONE = mtl.backbones.MLP((6,), units=(8, 8))


def single(name="c", units=(8, 8)):
    return mtl.build_model(mtl.backbones.MLP((6,), units=units), [tasks.Regression(name)])


def double(sharing="hard"):
    return mtl.build_model(BACKBONE, [tasks.Regression("a"), tasks.Regression("b")], sharing=sharing)


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first.get_weights(), second.get_weights(), strict=True))


@pytest.fixture(params=["model", "keras", "weights"])
def source(request, tmp_path):
    """A trained model, and what to copy from."""
    model = single()
    model.compile("adam")
    model.fit(X, {"c": Y["b"]}, verbose=0)
    if request.param == "model":
        return model, model
    path = tmp_path / ("model.keras" if request.param == "keras" else "model.weights.h5")
    (model.save if request.param == "keras" else model.save_weights)(path)
    return model, str(path)


def test_by_name(source):
    model, given = source
    target = double()
    heads = {name: target.get_layer(f"{name}_logits").get_weights() for name in "ab"}
    report = transfer.copy_weights(given, target)
    assert report.copied == ["dense_0", "dense_1"]
    assert (report.differing, report.left_in_source) == ([], ["c_logits"])
    assert report.left_in_target == ["a_logits", "b_logits"]
    for name in report.copied:
        assert same(model.get_layer(name), target.get_layer(name))
    for name, before in heads.items():
        np.testing.assert_array_equal(target.get_layer(f"{name}_logits").get_weights()[0], before[0])


def test_by_structure(source):
    model, given = source
    inputs = keras.Input((6,))
    x = keras.layers.Dense(8, name="other")(keras.layers.Dense(8, name="names")(inputs))
    target = keras.Model(inputs, keras.layers.Dense(1, name="entirely")(x))
    report = transfer.copy_weights(given, target, "structure", strict=True)
    assert report.copied == ["names", "other", "entirely"]
    assert report.is_complete
    assert largest_difference(model, target) == 0


def test_by_a_dict_into_the_copies_of_a_sharing(source):
    model, given = source
    target = double("soft")
    by = {f"dense_{index}_{task}": f"dense_{index}" for index in (0, 1) for task in "ab"}
    assert sorted(transfer.copy_weights(given, target, by).copied) == sorted(by)
    for own, other in by.items():
        assert same(model.get_layer(other), target.get_layer(own))


def nested(name, seed):
    keras.utils.set_random_seed(seed)
    inside = keras.Input((6,))
    x = keras.layers.Dense(8, name="dense_0")(inside)
    x = keras.layers.BatchNormalization(name="bn")(x)
    x = keras.layers.Reshape((8, 1))(x)
    x = keras.layers.Bidirectional(keras.layers.LSTM(2), name="both")(x)
    inner = keras.Model(inside, x, name=name)
    inputs = keras.Input((6,))
    return keras.Model(inputs, keras.layers.Dense(1, name="head")(inner(inputs)))


def test_nested_models_by_path():
    source, target = nested("old", 0), nested("new", 1)
    source.get_layer("old").get_layer("bn").moving_mean.assign(np.arange(8.0))
    report = transfer.copy_weights(source, target)
    assert (report.copied, report.left_in_source) == (["head"], ["old/bn", "old/both", "old/dense_0"])
    report = transfer.copy_weights(source, target, {"new": "old"}, strict=False)
    assert sorted(report.copied) == ["new/bn", "new/both", "new/dense_0"]
    assert report.left_in_source == ["head"]
    assert same(source, target)
    flat = single()
    transfer.copy_weights(source, flat, {"dense_0": "old/dense_0"})
    assert same(flat.get_layer("dense_0"), source.get_layer("old").get_layer("dense_0"))
    assert transfer.copy_weights(flat, target, {"new": ""}).copied == ["new/dense_0"]
    assert transfer.copy_weights(target, flat, {"": "new"}).copied == ["dense_0"]


def test_normalizations_compute_with_what_they_are_given():
    def build(data):
        layer = keras.layers.Normalization(name="normalized")
        layer.adapt(data)
        inputs = keras.Input((6,))
        return keras.Model(inputs, keras.layers.Dense(1, name="dense")(layer(inputs)))

    source, target = build(X), build(5 * X + 1)
    transfer.copy_weights(source, target, strict=True)
    np.testing.assert_array_equal(source.predict(X, verbose=0), target.predict(X, verbose=0))


def test_optimizer_and_balancer_stay_as_they_are():
    target = two_task_model()
    target.compile("adam", balancer="uncertainty")
    target.fit(X, Y, verbose=0)
    state = [variable.numpy() for variable in [*target.optimizer.variables, *target.loss_balancer.variables]]
    source = two_task_model(seed=1)
    transfer.copy_weights(source, target, strict=True)
    after = [variable.numpy() for variable in [*target.optimizer.variables, *target.loss_balancer.variables]]
    for before, now in zip(state, after, strict=True):
        np.testing.assert_array_equal(before, now)
    assert same(source.get_layer("trunk"), target.get_layer("trunk"))


def test_it_is_no_training_that_goes_on(caplog):
    """`initial_epoch` after it is a number of an epoch, and no place in the data."""
    target = two_task_model()
    target.compile("adam")
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(20)
    target.fit(data, epochs=2, verbose=0)
    transfer.copy_weights(two_task_model(seed=1), target, strict=True)
    assert not target.progress.loaded
    caplog.set_level(logging.INFO)
    target.fit(data, epochs=3, initial_epoch=2, verbose=0)
    assert "goes on" not in caplog.text


def test_to_replicas(two_replicas):
    source = single()
    with two_replicas.scope():
        target = double()
    transfer.copy_weights(source, target)
    for value in two_replicas.experimental_local_results(target.get_layer("dense_0").kernel.value):
        np.testing.assert_array_equal(value, source.get_layer("dense_0").get_weights()[0])


def test_other_shapes_and_the_report_in_words():
    report = transfer.copy_weights(single(units=(8, 5)), double())
    assert report.differing == [("dense_1", "(8, 5), (5,)", "(8, 8), (8,)")]
    assert str(report) == (
        "Copied: 1 layer (dense_0).\n"
        "Of other shapes: 1 layer (dense_1: (8, 5), (5,) in the source, (8, 8), (8,) in the target).\n"
        "Left in the source: 1 layer (c_logits).\n"
        "Left in the target: 2 layers (a_logits, b_logits)."
    )
    many = transfer.CopyReport([f"layer_{index}" for index in range(12)], [], [], [])
    assert str(many).startswith("Copied: 12 layers (layer_0, layer_1, ")
    assert "layer_7, and 4 more)" in str(many)
    target = double()
    before = target.get_weights()
    with pytest.raises(ValueError, match=r"With strict=True, all layers should correspond. Received:\nCopied: 1 layer"):
        transfer.copy_weights(single(units=(8, 5)), target, strict=True)
    for value, now in zip(before, target.get_weights(), strict=True):
        np.testing.assert_array_equal(value, now)


def test_another_architecture(tmp_path):
    other = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(2, 3, name="conv_0"), keras.layers.Flatten()])
    path = tmp_path / "other.keras"
    other.save(path)
    with pytest.raises(ValueError, match=r"it is of another architecture. Received: layers \['conv_0'\] in the source"):
        transfer.copy_weights(path, double())


def test_bad_input(tmp_path):
    target = double()
    with pytest.raises(ValueError, match=r"paths of layers of the target. Received: 'dens_0'.*'dense_0'"):
        transfer.copy_weights(single(), target, {"dens_0": "dense_0"})
    with pytest.raises(ValueError, match=r"paths of layers of the source. Received: 'dense_7', for 'dense_0'"):
        transfer.copy_weights(single(), target, {"dense_0": "dense_7"})
    with pytest.raises(ValueError, match="`by` should be one of"):
        transfer.copy_weights(single(), target, "order")
    with pytest.raises(ValueError, match="path of a `.keras` or `.weights.h5` file"):
        transfer.copy_weights("model.h5", target)
    with pytest.raises(FileNotFoundError, match="should be a file that exists"):
        transfer.copy_weights(tmp_path / "nothing.keras", target)
    with pytest.raises(ValueError, match="`target` should be a Keras model"):
        transfer.copy_weights(single(), "model.keras")
    with pytest.raises(ValueError, match="should be a Functional or Sequential model that is built"):
        transfer.copy_weights(keras.Sequential(), target)
    (tmp_path / "broken.keras").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is no `.keras` file"):
        transfer.copy_weights(tmp_path / "broken.keras", target)
    with zipfile.ZipFile(tmp_path / "empty.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(ValueError, match="is no `.keras` file"):
        transfer.copy_weights(tmp_path / "empty.keras", target)
    (tmp_path / "broken.weights.h5").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="as `save` and `save_weights` of Keras 3 write them"):
        transfer.copy_weights(tmp_path / "broken.weights.h5", target)
    with h5py.File(tmp_path / "other.weights.h5", "w") as file:
        file["numbers"] = np.ones(3)
    with pytest.raises(ValueError, match="it has no `layers`"):
        transfer.copy_weights(tmp_path / "other.weights.h5", target)


def test_a_file_cannot_have_others_read(tmp_path):
    path = tmp_path / "linked.weights.h5"
    single().save_weights(path)
    with h5py.File(path, "r+") as file:
        del file["layers/dense/vars/0"]
        file["layers/dense/vars/0"] = h5py.ExternalLink("secret.h5", "/numbers")
    with pytest.raises(ValueError, match="is a link to elsewhere"):
        transfer.copy_weights(path, double())


@keras.saving.register_keras_serializable(package="test")
class Block(keras.layers.Layer):
    """Two layers in an attribute `layers`, one beside them, and a weight of its own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.layers = [keras.layers.Dense(4) for _ in range(2)]
        self.beside = keras.layers.LayerNormalization()

    def build(self, input_shape):
        self.scale = self.add_weight(shape=(1,), name="scale")
        for layer in (*self.layers, self.beside):
            layer.build((None, 4))

    def call(self, x):
        return self.beside(self.layers[1](self.layers[0](x))) * self.scale


def test_a_layer_with_layers_is_copied_whole(tmp_path):
    def blocks(seed):
        keras.utils.set_random_seed(seed)
        inputs = keras.Input((4,))
        model = keras.Model(inputs, Block(name="block")(inputs))
        model.set_weights([value + 0.1 for value in model.get_weights()])
        return model

    first, second = blocks(0), blocks(1)
    assert not same(first, second)
    report = transfer.copy_weights(first, second, strict=True)
    assert report.copied == ["block"]
    assert same(first, second)
    first.save(tmp_path / "first.keras")
    third = blocks(2)
    transfer.copy_weights(tmp_path / "first.keras", third, {"block": "block"})
    assert same(first, third)


def test_a_compiled_model_within_another_is_its_layers():
    def within():
        inner = double()
        inner.compile("adam", balancer=["uncertainty", mtl.balancers.PCGrad()])
        inner.fit(X, {"a": Y["b"], "b": Y["b"]}, verbose=0)
        inputs = keras.Input((6,))
        return keras.Model(inputs, inner(inputs))

    report = transfer.copy_weights(within(), within(), "structure", strict=True)
    assert [path.rpartition("/")[2] for path in report.copied] == ["dense_0", "dense_1", "a_logits", "b_logits"]
