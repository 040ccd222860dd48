"""The partition is read off the graph, nested models included."""

import keras
import pytest

from keras_mtl.engine import check_shared, partition


def dense(name, units=3):
    return keras.layers.Dense(units, name=name, use_bias=False)


def layer_names(variables):
    return [variable.path.split("/")[-2] for variable in variables]


def split(inputs, outputs):
    model = keras.Model(inputs, outputs)
    found = partition(model, model.output)
    shared = dict(zip(layer_names(found.shared), found.tasks, strict=True))
    return shared, {task: layer_names(own) for task, own in found.specific.items()}, found


def test_trunk_and_heads():
    x = keras.Input((4,))
    trunk = dense("trunk")(x)
    shared, own, found = split(x, {"a": dense("a")(trunk), "b": dense("b")(trunk)})
    assert shared == {"trunk": {"a", "b"}}
    assert own == {"a": ["a"], "b": ["b"]}


def test_layers_that_only_some_outputs_reach():
    x = keras.Input((4,))
    trunk = dense("trunk")(x)
    of_two = dense("of_two")(trunk)
    outputs = {"a": dense("a")(of_two), "b": dense("b")(of_two), "c": dense("c")(trunk)}
    shared, own, _ = split(x, outputs)
    assert shared == {"trunk": {"a", "b", "c"}, "of_two": {"a", "b"}}
    assert own == {"a": ["a"], "b": ["b"], "c": ["c"]}


def test_a_task_that_feeds_another_shares_its_layers():
    x = keras.Input((4,))
    first = dense("first")(x)
    shared, own, _ = split(x, {"a": first, "b": dense("second")(first)})
    assert shared == {"first": {"a", "b"}}
    assert own == {"a": [], "b": ["second"]}


def test_a_layer_used_twice_is_shared_by_both_uses():
    x, z = keras.Input((4,)), keras.Input((4,))
    twice = dense("twice")
    shared, own, _ = split([x, z], {"a": dense("a")(twice(x)), "b": dense("b")(twice(z))})
    assert shared == {"twice": {"a", "b"}}
    assert own == {"a": ["a"], "b": ["b"]}


def test_several_inputs_that_share_nothing():
    x, z = keras.Input((4,)), keras.Input((4,))
    shared, own, _ = split([x, z], {"a": dense("a")(x), "b": dense("b")(z)})
    assert shared == {}
    assert own == {"a": ["a"], "b": ["b"]}


def test_a_nested_model_of_one_output():
    inner_input = keras.Input((4,))
    inner = keras.Model(inner_input, dense("inner_2")(dense("inner_1")(inner_input)))
    x = keras.Input((4,))
    trunk = inner(x)
    shared, own, _ = split(x, {"a": dense("a")(trunk), "b": dense("b")(trunk)})
    assert shared == {"inner_1": {"a", "b"}, "inner_2": {"a", "b"}}
    assert own == {"a": ["a"], "b": ["b"]}


def test_the_branches_of_a_nested_model_of_several_outputs():
    inner_input = keras.Input((4,))
    trunk = dense("inner_trunk")(inner_input)
    inner = keras.Model(inner_input, [dense("left")(trunk), dense("right")(trunk)])
    x = keras.Input((4,))
    before = dense("before", 4)(x)
    left, right = inner(before)
    shared, own, _ = split(x, {"a": dense("a")(left), "b": dense("b")(right)})
    assert shared == {"before": {"a", "b"}, "inner_trunk": {"a", "b"}}
    assert own == {"a": ["left", "a"], "b": ["right", "b"]}


def test_the_inputs_of_a_nested_model_of_several_inputs_and_outputs():
    p, q = keras.Input((4,)), keras.Input((4,))
    inner = keras.Model([p, q], {"one": dense("one")(p), "two": dense("two")(q)})
    x = keras.Input((4,))
    nested = inner([dense("to_p", 4)(x), dense("to_q", 4)(x)])
    shared, own, _ = split(x, {"a": nested["one"], "b": nested["two"]})
    assert shared == {}
    assert {task: set(names) for task, names in own.items()} == {"a": {"one", "to_p"}, "b": {"two", "to_q"}}


def test_frozen_layers_and_what_leads_to_no_output_are_left_out():
    x = keras.Input((4,))
    frozen = dense("frozen")
    frozen.trainable = False
    trunk = frozen(x)
    model = keras.Model(x, {"a": dense("a")(trunk), "b": dense("b")(trunk)})
    model.beside = dense("beside")
    model.beside.build((None, 4))
    found = partition(model, model.output)
    assert found.shared == []
    assert found.beside == [model.beside.kernel]
    assert found.split is None
    assert {task: layer_names(own) for task, own in found.specific.items()} == {"a": ["a"], "b": ["b"]}


def towers(*between):
    """Two nested models of one output each, over inputs of their own, which hold the same layers."""
    x, z = keras.Input((4,)), keras.Input((4,))
    heads = [
        keras.Sequential([keras.Input((4,)), *between, dense(name)], name=f"tower_{name}")(source)
        for name, source in (("a", x), ("b", z))
    ]
    model = keras.Model([x, z], dict(zip("ab", heads, strict=True)))
    return partition(model, model.output)


def test_layers_that_two_nested_models_hold_are_shared():
    layer, normalization = dense("layer", 4), keras.layers.BatchNormalization(name="normalization")
    found = towers(layer, normalization)
    assert layer_names(found.shared) == ["layer", "normalization", "normalization"]
    assert {id(each) for each in found.shared_layers} == {id(layer), id(normalization)}
    assert found.statistics == {"a": [], "b": []}
    check_shared(found, "PCGrad")
    layer.trainable = False
    check_shared(towers(layer), "PCGrad")
    with pytest.raises(ValueError, match="no weight of the model leads to two outputs"):
        check_shared(towers(), "PCGrad")


def test_a_nested_model_that_is_called_by_keyword():
    x = keras.Input((4,))
    first, second = dense("first")(x), dense("second")(x)
    inner = keras.Model(x, [first, second], name="inner")
    z = keras.Input((4,))
    one, two = inner(inputs=dense("trunk", 4)(z))
    shared, own, _ = split(z, {"a": dense("a")(one), "b": dense("b")(two)})
    assert shared == {"trunk": {"a", "b"}}
    assert own == {"a": ["first", "a"], "b": ["second", "b"]}
