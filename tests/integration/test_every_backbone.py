"""Every backbone under an architecture that shares it and one that copies it: trained, saved, exported."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import backbones, build_model, data, export, tasks
from tests.models import largest_difference, others_slow

TEXTS = ["so good", "not so good at all", "bad", "", "very bad, really bad", "good"] * 2
TABLE = {
    "age": np.arange(12, dtype="float32"),
    "hours": np.arange(12, dtype="float32") % 5,
    "job": np.array(["nurse", "baker"] * 6),
    "code": np.arange(12) % 4,
}
TEXT = {
    "convolutional": {"filters": 4, "dropout": 0.1, "word_dropout": 0.1},
    "recurrent": {"units": 3},
    "transformer": {"units": 4, "num_heads": 2, "num_layers": 1},
}
IMAGES = np.random.default_rng(0).uniform(0, 255, (12, 8, 8, 1)).astype("float32")


def text(encoder):
    return backbones.Text(encoder=encoder, embedding_dim=6, **TEXT[encoder]).adapt(TEXTS)


def case(name):
    """A backbone and its inputs."""
    if name in TEXT:
        return text(name), np.array(TEXTS)
    if name == "tabular":
        return backbones.Tabular(["age", "hours"], ["job", "code"], units=(6, 4)).adapt(TABLE), TABLE
    if name == "audio":
        waves = np.random.default_rng(0).uniform(-1, 1, (12, 1024)).astype("float32")
        return backbones.Audio(1024, fft_length=256, hop_length=128, num_mel_bins=16), waves
    members = {
        "image": backbones.Convolutional((8, 8, 1), (4, 6)),
        "text": text("convolutional"),
        "row": backbones.Tabular(["age"], ["job"], units=(4,)).adapt(TABLE),
    }
    inputs = {"image": IMAGES, "text": np.array(TEXTS), "age": TABLE["age"], "job": TABLE["job"]}
    return backbones.Fusion(members, "gated", units=5), inputs


def labels():
    return {"a": np.arange(12) % 2, "b": np.arange(12) % 3}


def served(signature, inputs):
    """What a signature gives for inputs, each brought to the shape and dtype that it asks for."""
    specs = signature.structured_input_signature[1]
    given = inputs if isinstance(inputs, dict) else {next(iter(specs)): inputs}
    columns = {name: len(spec.shape) == 2 and np.ndim(given[name]) == 1 for name, spec in specs.items()}
    tensors = {name: tf.constant(given[name][:, None] if columns[name] else given[name]) for name in specs}
    return signature(
        **{
            name: tensor if tensor.dtype == specs[name].dtype else tf.cast(tensor, specs[name].dtype)
            for name, tensor in tensors.items()
        }
    )


@pytest.mark.parametrize("architecture", ["hard", pytest.param("cross_stitch", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "name", others_slow([*sorted(TEXT), "tabular", "audio", "fusion"], by_default=("convolutional", "tabular", "audio"))
)
def test_trains_saves_and_exports(name, architecture, tmp_path):
    backbone, inputs = case(name)
    kinds = [tasks.BinaryClassification("a"), tasks.Classification("b", 3)]
    model = build_model(backbone, kinds, architecture)
    model.compile("adam")
    first = model.fit(inputs, labels(), batch_size=5, verbose=0).history
    stream = tf.data.Dataset.from_tensor_slices((inputs, labels())).batch(5)
    second = model.fit(stream, validation_data=stream, verbose=0).history
    assert np.isfinite([first["loss"], second["loss"], second["val_loss"]]).all()

    expected = model.predict(inputs, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert largest_difference(model, loaded) == 0
    export.saved_model(model, tmp_path / "serving")
    signatures = tf.saved_model.load(tmp_path / "serving").signatures
    together = served(signatures["serving_default"], inputs)
    for task, values in loaded.predict(inputs, verbose=0).items():
        np.testing.assert_allclose(values, expected[task], atol=1e-6)
        np.testing.assert_allclose(together[task], values, atol=1e-4)
        np.testing.assert_allclose(served(signatures[task], inputs)[task], values, atol=1e-4)


@pytest.mark.parametrize("architecture", others_slow(["independent", "soft", "mmoe"], by_default=("soft",)))
def test_copies_of_a_text_backbone_read_the_same_indices(architecture):
    kinds = [tasks.BinaryClassification("a"), tasks.Classification("b", 3)]
    model = build_model(text("convolutional"), kinds, architecture)
    assert len([layer for layer in model.layers if isinstance(layer, keras.layers.TextVectorization)]) == 1
    model.compile("adam")
    model.fit(np.array(TEXTS), labels(), verbose=0)


def test_two_streams_of_dict_inputs():
    backbone, inputs = case("fusion")
    model = build_model(backbone, [tasks.BinaryClassification("a"), tasks.Classification("b", 3)])
    model.compile("adam", balancer="pcgrad")
    streams = {task: tf.data.Dataset.from_tensor_slices((inputs, {task: labels()[task]})) for task in ("a", "b")}
    mixed = data.mix(streams, model.tasks, batch_size=6, at_end="stop", seed=0)
    assert np.isfinite(model.fit(mixed, verbose=0).history["loss"]).all()
