"""Where a graph is cut, and that the two parts together are the whole."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl.engine import check_features, partition


def dense(name, units=3, **arguments):
    return keras.layers.Dense(units, name=name, **arguments)


def chain():
    x = keras.Input((4,), name="x")
    low = dense("low")(x)
    high = dense("high")(low)
    return x, {"a": dense("a")(high), "b": dense("b")(high), "c": dense("c")(low)}, {"low", "high"}


def cascade():
    """A task's output is another's feature."""
    x = keras.Input((4,), name="x")
    trunk = dense("trunk")(x)
    a = dense("a")(trunk)
    return x, {"a": a, "b": dense("b")(keras.layers.Concatenate()([trunk, a]))}, {"trunk", "a"}


def own_input():
    """One task reads an input of its own, and another the shared input too."""
    x, z = keras.Input((4,), name="x"), keras.Input((2,), name="z")
    trunk = dense("trunk")(x)
    a = dense("a")(keras.layers.Concatenate()([trunk, z]))
    b = dense("b")(keras.layers.Concatenate()([trunk, x]))
    return {"x": x, "z": z}, {"a": a, "b": b}, {"trunk"}


def nested_with_two_outputs():
    """The trunk is within a model, which has a branch for each task."""
    inner_x = keras.Input((4,))
    inner = dense("inner_trunk")(inner_x)
    nested = keras.Model(inner_x, [dense("inner_a")(inner), dense("inner_b")(inner)], name="nested")
    x = keras.Input((4,), name="x")
    p, q = nested(x)
    return x, {"a": dense("a")(p), "b": dense("b")(q)}, {"nested"}


def used_twice():
    """A layer is called in both heads, and one in the trunk and in a head."""
    x = keras.Input((4,), name="x")
    twice, everywhere = dense("twice"), dense("everywhere", 4)
    trunk = everywhere(x)
    outputs = {"a": dense("a")(twice(dense("to_a", 4)(trunk))), "b": dense("b")(twice(everywhere(trunk)))}
    return x, outputs, {"everywhere"}


GRAPHS = [chain, cascade, own_input, nested_with_two_outputs, used_twice]


def data(inputs):
    rng = np.random.default_rng(0)
    sizes = {"x": 4, "z": 2}
    values = {name: tf.constant(rng.normal(size=(5, size)), "float32") for name, size in sizes.items()}
    return {name: values[name] for name in inputs} if isinstance(inputs, dict) else values["x"]


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.__name__)
def test_the_two_parts_are_the_whole(graph):
    inputs, outputs, trunk = graph()
    model = keras.Model(inputs, outputs)
    found = partition(model, outputs)
    predictions, features, copies = found.split(data(inputs), training=False)
    expected = model(data(inputs))
    assert predictions.keys() == expected.keys()
    for task, value in expected.items():
        np.testing.assert_allclose(predictions[task], value, atol=1e-6)
    assert len(features) == len(copies) == len(found.cut.features)
    assert {tensor._keras_history[0].name for tensor in found.cut.features} == trunk


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.__name__)
def test_gradients_by_way_of_the_copies_are_the_gradients(graph):
    """The gradient at the copies, taken on from the features, with what is beyond them, is the whole gradient."""
    inputs, outputs, _ = graph()
    model = keras.Model(inputs, outputs)
    found = partition(model, outputs)
    with tf.GradientTape(persistent=True) as tape:
        predictions, features, copies = found.split(data(inputs), training=False, tape=tape)
        losses = {task: tf.reduce_sum(tf.square(value)) for task, value in predictions.items()}
        whole = {task: tf.reduce_sum(tf.square(value)) for task, value in model(data(inputs)).items()}
    for task, loss in losses.items():
        at_copies = tape.gradient(loss, copies, unconnected_gradients="zero")
        for variable, beyond, tasks in zip(found.shared, found.beyond, found.tasks, strict=True):
            if task not in tasks:
                continue
            expected = tape.gradient(whole[task], variable)
            found_below = tape.gradient(features, variable, output_gradients=at_copies)
            received = tf.zeros(variable.shape) if found_below is None else found_below
            own = tape.gradient(loss, variable)
            assert own is None or beyond, variable.path  # at the copies the way down ends
            if own is not None:
                received += own
            np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-6, err_msg=f"{task} {variable.path}")


def test_what_lies_beyond_is_known():
    inputs, outputs, _ = used_twice()
    found = partition(keras.Model(inputs, outputs), outputs)
    names = {
        variable.path.split("/")[-2] for variable, beyond in zip(found.shared, found.beyond, strict=True) if beyond
    }
    assert names == {"twice", "everywhere"}


def test_the_length_of_a_gradient():
    inputs, outputs, _ = chain()
    found = partition(keras.Model(inputs, outputs), outputs)
    assert found.num_gradients("shared") == (4 * 3 + 3) + (3 * 3 + 3)
    assert found.num_gradients("features") == 3 + 3
    x = keras.Input((None, None, 2))
    maps = keras.layers.Conv2D(5, 1)(x)
    outputs = {name: keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(1, 1)(maps)) for name in "ab"}
    assert partition(keras.Model(x, outputs), outputs).num_gradients("features") == 5


def test_who_reads_which_features():
    inputs, outputs, _ = chain()
    found = partition(keras.Model(inputs, outputs), outputs).cut
    names = [tensor._keras_history[0].name for tensor in found.features]
    assert dict(zip(names, found.readers, strict=True)) == {"high": {"a", "b"}, "low": {"c"}}


@pytest.mark.parametrize(
    "graph, pair",
    [
        (chain, ("a", "c")),
        (nested_with_two_outputs, ("a", "b")),
        (used_twice, None),
        (own_input, None),
        (cascade, None),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_tasks_that_read_no_feature_in_common_are_refused(graph, pair):
    inputs, outputs, _ = graph()
    found = partition(keras.Model(inputs, outputs), outputs)
    check_features(found, "GradNorm", pairs=False)
    if pair is None:
        check_features(found, "UPGrad", pairs=True)
    else:
        with pytest.raises(ValueError, match=f"`UPGrad` with gradients='features'.*{pair[0]!r} and {pair[1]!r}, which"):
            check_features(found, "UPGrad", pairs=True)


def test_a_tower_that_is_called_in_each_head_has_no_features():
    x = keras.Input((4,))
    tower = dense("tower")
    outputs = {name: dense(name)(tower(keras.layers.Rescaling(scale)(x))) for name, scale in (("a", 1.0), ("b", 2.0))}
    found = partition(keras.Model(x, outputs), outputs)
    assert found.split is None
    assert len(found.shared) == 2
    for pairs in (True, False):
        with pytest.raises(ValueError, match="read no feature in common. Use gradients='shared'"):
            check_features(found, "Some", pairs=pairs)


def test_features_of_an_unknown_size_are_refused_where_they_are_counted():
    x = keras.Input((4, 4))
    maps = keras.layers.Permute((2, 1))(dense("trunk")(x))
    ragged = keras.Input((None, 4))
    trunk = keras.layers.Permute((2, 1))(dense("t")(ragged))
    outputs = {
        n: keras.layers.Dense(1)(keras.layers.GlobalAveragePooling1D(data_format="channels_first")(trunk)) for n in "ab"
    }
    assert maps.shape[-1] == 4
    with pytest.raises(ValueError, match="last axis has a fixed size. Received: shapes"):
        partition(keras.Model(ragged, outputs), outputs).num_gradients("features")


def test_layers_keep_their_one_call():
    """To cut a graph leaves its layers as they were: `layer.output` is that of their one call."""
    inputs, outputs, _ = chain()
    model = keras.Model(inputs, outputs)
    partition(model, outputs)
    partition(model, outputs)
    assert model.get_layer("a").output is outputs["a"]
    assert model.get_layer("low").output.shape == (None, 3)


def test_masks_reach_the_heads():
    words = keras.Input((5,), dtype="int32")
    trunk = keras.layers.Embedding(10, 4, mask_zero=True)(words)
    outputs = {name: keras.layers.Dense(1)(keras.layers.GlobalAveragePooling1D()(trunk)) for name in "ab"}
    model = keras.Model(words, outputs)
    x = tf.constant([[1, 2, 0, 0, 0], [3, 4, 5, 6, 0]])
    predictions, _, _ = partition(model, outputs).split(x, training=False)
    for task, value in model(x).items():
        np.testing.assert_allclose(predictions[task], value, atol=1e-6)


def test_training_reaches_every_layer():
    x = keras.Input((4,), name="x")
    trunk = keras.layers.Dropout(0.5)(dense("trunk", 200)(x))
    outputs = {name: keras.layers.Dropout(0.5, name=name)(dense(f"to_{name}", 200)(trunk)) for name in "ab"}
    model = keras.Model(x, outputs)
    split = partition(model, outputs).split
    for training, dropped in ((True, 0.5), (False, 0.0)):
        predictions, features, _ = split(data(x), training=training)
        for values in (*predictions.values(), features[0]):
            assert np.mean(np.asarray(values) == 0) == pytest.approx(dropped, abs=0.1)


def test_losses_that_layers_add_are_there_once():
    x = keras.Input((4,), name="x")
    trunk = dense("trunk", activity_regularizer="l2")(x)
    outputs = {name: dense(name, activity_regularizer="l2")(trunk) for name in "ab"}
    model = keras.Model(x, outputs)
    model(data(x))
    expected = float(tf.add_n(model.losses))
    split = partition(model, outputs).split
    for _ in range(3):
        split(data(x), training=True)
        assert len(model.losses) == 3
        assert float(tf.add_n(model.losses)) == pytest.approx(expected, rel=1e-5)
