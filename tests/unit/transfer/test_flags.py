"""What is frozen within layers: batch normalizations in them follow the rule, and a refusal leaves all as it was."""

import keras
import numpy as np
import pytest

from keras_mtl import MultiTaskModel, tasks, transfer
from keras_mtl._layers import inner_layers
from keras_mtl.transfer import FineTuning, Stage
from tests.models import others_slow, two_task_data

X, Y = two_task_data(20)
LABELS = {"a": Y["b"], "b": Y["b"]}
MOMENTS = ["moving_mean", "moving_variance"]
TRAINED = ["beta", "bias", "gamma", "kernel", "own"]


@keras.saving.register_keras_serializable("tests")
class Block(keras.layers.Layer):
    """A layer with a weight of its own, a dense layer and, a layer further in, a batch normalization."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(4)
        self.rest = keras.Sequential([keras.layers.BatchNormalization()])

    def build(self, shape):
        self.own = self.add_weight(shape=(4,), name="own")
        self.dense.build(shape)
        self.rest.build((*shape[:-1], 4))

    def call(self, inputs, training=False):
        return self.rest(self.dense(inputs), training=training) + self.own

    def compute_output_shape(self, shape):
        return (*shape[:-1], 4)


def build(*, compiled=True, **arguments):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    x = Block(name="block", **arguments)(inputs)
    outputs = {name: keras.layers.Dense(1, name=name)(x) for name in "ab"}
    model = MultiTaskModel(inputs, outputs, [tasks.Regression("a"), tasks.Regression("b")])
    if compiled:
        model.compile(keras.optimizers.AdamW(0.01))
    return model


def moved(model, **arguments):
    """The names of the block's weights that a training moves."""
    weights = model.get_layer("block").weights
    before = [np.array(each) for each in weights]
    model.fit(X, LABELS, verbose=0, **arguments)
    return sorted(each.name for each, old in zip(weights, before, strict=True) if np.any(np.array(each) != old))


RULES = [
    ("follow", False, []),
    ("follow", True, sorted(TRAINED + MOMENTS)),
    ("frozen", False, []),
    ("frozen", True, ["bias", "kernel", "own"]),
    ("adapt", False, MOMENTS),
    ("adapt", True, sorted(TRAINED + MOMENTS)),
]


@pytest.mark.parametrize(("rule", "released", "expected"), RULES)
def test_the_rule_holds_within_layers(rule, released, expected):
    stage = Stage(1, "*" if released else None, batch_normalization=rule)
    assert moved(build(), callbacks=[FineTuning([stage])]) == expected
    model = build()
    (transfer.unfreeze if released else transfer.freeze)(model, batch_normalization=rule)
    assert moved(model) == expected


def test_a_rule_is_no_matter_of_what_was_before():
    """Keras leaves out the assignment of a flag that is set already, and with it what is further in."""
    model = build()
    for rule, released, expected in [RULES[4], RULES[5], RULES[0], RULES[4], RULES[0], RULES[3], RULES[1]]:
        (transfer.unfreeze if released else transfer.freeze)(model, batch_normalization=rule)
        assert moved(model) == expected, (rule, released)
    stages = [Stage(1, batch_normalization="adapt"), Stage(1), Stage(1, "*")]
    model, seen = build(), []
    weights = model.get_layer("block").weights
    note = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: seen.append([np.array(each) for each in weights])
    )
    model.fit(X, LABELS, epochs=3, verbose=0, callbacks=[FineTuning(stages), note])
    seen.append([np.array(each) for each in weights])
    expectations = (MOMENTS, [], sorted(TRAINED + MOMENTS))
    for before, after, expected in zip(seen[:-1], seen[1:], expectations, strict=True):
        pairs = zip(weights, before, after, strict=True)
        assert sorted(each.name for each, old, new in pairs if np.any(old != new)) == expected


def test_a_layer_that_was_made_frozen():
    model = build(trainable=False)
    transfer.freeze(model)
    assert moved(model) == []


def test_the_layers_within_a_layer():
    block = build().get_layer("block")
    found = {type(each).__name__ for each in inner_layers(block)}
    assert found == {"Dense", "Sequential", "InputLayer", "BatchNormalization"}


@pytest.mark.parametrize("rule", others_slow(["follow", "adapt"], by_default=("adapt",)))
def test_a_saved_model_has_the_same_frozen(rule, tmp_path):
    model = build()
    transfer.freeze(model, batch_normalization=rule)
    model.fit(X, LABELS, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert [each.path for each in loaded.trainable_variables] == [each.path for each in model.trainable_variables]
    assert moved(loaded) == moved(model) == (MOMENTS if rule == "adapt" else [])
    again = MultiTaskModel.from_config(model.get_config())
    assert [each.trainable for each in again.get_layer("block").weights] == [False] * 7
    transfer.unfreeze(loaded)
    assert moved(loaded) == sorted(TRAINED + MOMENTS)


def test_weights_that_are_frozen_by_themselves_in_plain_layers_are_saved(tmp_path):
    inputs = keras.Input((6,))
    inside = keras.Sequential([keras.Input((6,)), keras.layers.BatchNormalization(name="inner")], name="inside")
    x = keras.layers.BatchNormalization(name="outer")(inside(inputs))
    outputs = {name: keras.layers.Dense(1, name=name)(x) for name in "ab"}
    model = MultiTaskModel(inputs, outputs, [tasks.Regression("a"), tasks.Regression("b")])
    assert "frozen" not in model.get_config()
    model.compile("adam")
    transfer.freeze(model, batch_normalization="adapt")
    model.fit(X, LABELS, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert len(loaded.trainable_variables) == len(model.trainable_variables) == 4
    inner, outer = loaded.get_layer("inside").get_layer("inner"), loaded.get_layer("outer")
    before = [each.get_weights() for each in (inner, outer)]
    loaded.fit(X, LABELS, verbose=0)
    for layer, old in zip((inner, outer), before, strict=True):
        assert [bool(np.any(a != b)) for a, b in zip(layer.get_weights(), old, strict=True)] == [False] * 2 + [True] * 2


def test_stages_that_are_refused_leave_what_is_frozen():
    model = build(compiled=False)
    transfer.freeze(model, batch_normalization="adapt")
    model.compile("adam")
    flags = [each.trainable for each in (model, *inner_layers(model), *model.variables)]
    with pytest.raises(ValueError, match="Stage 2 should train weights"):
        model.fit(X, LABELS, verbose=0, callbacks=[FineTuning([Stage(1), Stage(1, "*")])])
    assert [each.trainable for each in (model, *inner_layers(model), *model.variables)] == flags
    assert moved(model) == MOMENTS
