"""Source and target in turn: the shared weights go back and forth, and it ends when neither gains."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from keras_mtl import tasks, transfer
from keras_mtl.transfer._alternate import _gained
from tests.models import two_task_data

X, Y = two_task_data(60)
SOURCE, TARGET = (X, {"price": Y["b"]}), (X, {"size": (X[:, 0] + X[:, 1]).astype("float32")})
VALIDATION = {"source_validation": SOURCE, "target_validation": TARGET}
SHARED = ["dense_0", "dense_1"]


def models(rate=0.01, eagerly=True):
    keras.utils.set_random_seed(0)
    backbone = mtl.backbones.MLP((6,), units=(8, 8))
    found = [mtl.build_model(backbone, [tasks.Regression(name)]) for name in ("price", "size")]
    for model in found:
        model.compile(keras.optimizers.Adam(rate), run_eagerly=eagerly)
    return found


def equal(first, second, layer):
    pairs = zip(first.get_layer(layer).get_weights(), second.get_layer(layer).get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_the_rounds_are_those_that_it_says():
    source, target = models()
    found = transfer.alternate(source, target, SOURCE, TARGET, **VALIDATION, rounds=2, epochs=(2, 1), patience=2)
    by_hand = models()
    for _ in range(2):
        for index, (data, epochs) in enumerate([(SOURCE, 2), (TARGET, 1)]):
            by_hand[index].fit(*data, epochs=epochs, verbose=0)
            for name in SHARED:
                by_hand[1 - index].get_layer(name).set_weights(by_hand[index].get_layer(name).get_weights())
    for model, other in zip((source, target), by_hand, strict=True):
        assert all(equal(model, other, layer.name) for layer in model.layers)
    assert all(equal(source, target, name) for name in SHARED)
    assert int(source.optimizer.iterations) == 8
    assert int(target.optimizer.iterations) == 4
    assert len(found.source) == len(found.target) == 2
    assert found.history["source_price_mae"][-1] == pytest.approx(
        source.evaluate(*SOURCE, verbose=0, return_dict=True)["price_mae"]
    )
    assert found.history["target_size_loss"] == [metrics["size_loss"] for metrics in found.target]
    assert found.history["target_size_mae"][1] < found.history["target_size_mae"][0]
    assert not found.stopped_early


def test_it_ends_when_neither_gains():
    source, target = models(rate=1e-30)
    # The first round has the backbone of the source; none is better than it.
    found = transfer.alternate(source, target, SOURCE, TARGET, **VALIDATION, rounds=9, patience=2)
    assert found.stopped_early
    assert len(found.source) == 3


def test_data_sets_and_layers_that_are_chosen():
    source, target = models()
    sets = [tf.data.Dataset.from_tensor_slices(data).batch(20) for data in (SOURCE, TARGET)]
    before = target.get_layer("dense_1").get_weights()[0]
    target.get_layer("dense_1").trainable = False
    target.compile("sgd")
    validation = {"source_validation": sets[0], "target_validation": sets[1]}
    transfer.alternate(source, target, *sets, **validation, rounds=1, shared=["dense_0"])
    assert equal(source, target, "dense_0")
    np.testing.assert_array_equal(target.get_layer("dense_1").get_weights()[0], before)


def test_a_bare_path_is_one_layer():
    source, target = models()
    transfer.alternate(source, target, SOURCE, TARGET, **VALIDATION, rounds=1, shared="dense_0")
    assert equal(source, target, "dense_0")
    assert not equal(source, target, "dense_1")


def test_bad_input():
    source, target = models()

    def run(*pair, **arguments):
        return transfer.alternate(*pair, SOURCE, TARGET, **{**VALIDATION, **arguments})

    before = source.get_weights()
    with pytest.raises(ValueError, match="should be two models"):
        run(source, source)
    with pytest.raises(ValueError, match="`target` should be a `MultiTaskModel` that is compiled"):
        run(source, mtl.build_model("mlp", [tasks.Regression("size")], input_shape=(6,)))
    with pytest.raises(ValueError, match="`epochs` should be one number, or two"):
        run(source, target, epochs=(1, 2, 3))
    with pytest.raises(ValueError, match="`rounds` should be an integer of at least 1"):
        run(source, target, rounds=0)
    with pytest.raises(ValueError, match="`patience` should be"):
        run(source, target, patience=0)
    with pytest.raises(ValueError, match="another architecture"):
        run(source, target, shared={"dense_0": "price_logits"})
    with pytest.raises(ValueError, match="Received: 'dense_9'.*nearest names are 'dense_"):
        run(source, target, shared=["dense_9"])
    wide = mtl.build_model(mtl.backbones.MLP((6,), units=(8, 8, 8)), [tasks.Regression("size")])
    wide.compile("adam")
    with pytest.raises(ValueError, match="lead each layer of the target to another one of the source"):
        run(source, wide, shared={"dense_1": "dense_1", "dense_2": "dense_1"})
    narrow = mtl.build_model(mtl.backbones.MLP((6,), units=(8, 4)), [tasks.Regression("size")])
    narrow.compile("adam")
    with pytest.raises(ValueError, match=r"the same shapes in both.*\['dense_1'\] of the target have no such"):
        run(source, narrow, shared=SHARED)
    target.compile("adam", metrics={"size": ["mse"]})
    with pytest.raises(ValueError, match=r"`target` should be compiled with the primary.*without \['size_mae'\]"):
        run(source, target)
    for value, now in zip(before, source.get_weights(), strict=True):
        np.testing.assert_array_equal(value, now)


def test_sample_weights_count():
    def run(source_data):
        source, target = models()
        transfer.alternate(source, target, source_data, TARGET, **VALIDATION, rounds=1)
        return source

    halves = np.arange(60) % 2
    weighted, plain = run((*SOURCE, halves.astype("float32"))), run(SOURCE)
    other_labels = {"price": np.where(halves, SOURCE[1]["price"], 1e6).astype("float32")}
    assert equal(weighted, run((X, other_labels, halves.astype("float32"))), "dense_0")
    assert not equal(weighted, plain, "dense_0")


def test_all_data_are_checked_before_any_training():
    source, target = models()
    before = source.get_weights()
    wrong = (X, {"wrong": Y["b"]})
    for name in ("source_data", "target_data", "source_validation", "target_validation"):
        given = {"source_data": SOURCE, "target_data": TARGET, **VALIDATION, name: wrong}
        with pytest.raises(ValueError, match=f"Parameter `{name}` should fit the tasks of the model"):
            transfer.alternate(source, target, **given)
    for data in (list(SOURCE), (X,), (*SOURCE, None, None)):
        with pytest.raises(ValueError, match="`target_data` should be a data set, or a tuple of inputs, labels"):
            transfer.alternate(source, target, SOURCE, data, **VALIDATION)
    for value, now in zip(before, source.get_weights(), strict=True):
        np.testing.assert_array_equal(value, now)


@pytest.mark.parametrize(
    ("errors", "gained"),
    [
        ([np.nan], True),
        ([np.nan, 0.5], True),
        ([np.nan, 0.5, 0.4], True),
        ([np.nan, 0.5, 0.6], False),
        ([np.nan, np.nan], False),
        ([0.5, np.nan], False),
    ],
)
def test_a_round_of_nan_is_beaten(errors, gained):
    source, _ = models()
    assert _gained(source, [{"price_mae": value} for value in errors]) == gained


def test_other_words_are_said_once_and_before_any_training():
    def reading(words, name):
        text = keras.Input((1,), dtype="string")
        lookup = keras.layers.StringLookup(vocabulary=words, output_mode="multi_hot")
        model = mtl.build_model(
            keras.Model(text, keras.layers.Dense(2, name="dense")(lookup(text))), [tasks.Regression(name)]
        )
        model.compile("adam", run_eagerly=True)
        return model

    price, size = ((tf.constant([["x"], ["p"]]), {name: np.ones(2, "float32")}) for name in ("price", "size"))
    source, target = reading(["x", "y"], "price"), reading(["p", "q"], "size")
    held = {"source_validation": price, "target_validation": size}
    with pytest.warns(UserWarning, match=r"different vocabularies.*\['dense'\]") as said:
        transfer.alternate(source, target, price, size, **held, rounds=2, patience=2)
    assert [warning.filename for warning in said if "vocabularies" in str(warning.message)] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        before = int(source.optimizer.iterations)
        with pytest.raises(UserWarning, match="different vocabularies"):
            transfer.alternate(source, target, price, size, **held)
    assert int(source.optimizer.iterations) == before
