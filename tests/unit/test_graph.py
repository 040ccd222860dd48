"""The calls of a graph, and the same calls again on other tensors."""

import keras
import numpy as np
import pytest

from keras_mtl._graph import call_again, calls_between, key_of, node_of


def dense(name, units=3):
    return keras.layers.Dense(units, name=name)


@pytest.fixture
def diamond():
    """Two ways from an input to an output, and a second input on one of them."""
    x, z = keras.Input((4,), name="x"), keras.Input((3,), name="z")
    low = dense("low")(x)
    left = dense("left")(low)
    right = keras.layers.Add(name="right")([low, z])
    output = keras.layers.Concatenate(name="output")([left, right])
    return {"x": x, "z": z, "low": low, "left": left, "right": right, "output": output}


def names(calls):
    return [call.operation.name for call in calls]


class TestNode:
    def test_is_the_call_that_made_the_tensor(self, diamond):
        node = node_of(diamond["right"])
        assert node.operation.name == "right"
        assert [key_of(tensor) for tensor in node.input_tensors] == [key_of(diamond["low"]), key_of(diamond["z"])]
        assert [key_of(tensor) for tensor in node.outputs] == [key_of(diamond["right"])]

    def test_an_input_is_made_of_nothing(self, diamond):
        assert node_of(diamond["x"]).input_tensors == []

    def test_tells_the_calls_of_one_layer_apart(self):
        layer, x = dense("twice", 4), keras.Input((4,))
        first = layer(x)
        second = layer(first)
        assert node_of(first).operation is node_of(second).operation
        assert node_of(second).input_tensors[0] is first
        assert key_of(first) != key_of(second)

    def test_tells_the_outputs_of_one_call_apart(self):
        first, second = keras.ops.split(keras.Input((4,)), 2, axis=-1)
        assert node_of(first) is node_of(second)
        assert key_of(first) != key_of(second)


class TestCallsBetween:
    def test_each_comes_once_and_after_those_that_it_needs(self, diamond):
        found = names(calls_between([], [diamond["output"]]))
        assert sorted(found) == ["left", "low", "output", "right", "x", "z"]
        for before, after in (("x", "low"), ("low", "left"), ("low", "right"), ("z", "right"), ("left", "output")):
            assert found.index(before) < found.index(after)
        assert found[-1] == "output"

    def test_ends_at_the_sources(self, diamond):
        found = names(calls_between([diamond["low"], diamond["z"]], [diamond["output"]]))
        assert sorted(found) == ["left", "output", "right"]

    def test_inputs_beside_the_sources_are_found(self, diamond):
        assert names(calls_between([diamond["low"]], [diamond["right"]])) == ["z", "right"]

    def test_an_output_that_is_a_source_needs_no_call(self, diamond):
        assert calls_between([diamond["low"]], [diamond["low"]]) == []

    def test_a_long_chain_is_no_deep_recursion(self):
        x = tensor = keras.Input((1,))
        for _ in range(2000):
            tensor = -tensor
        assert len(calls_between([x], [tensor])) == 2000


class TestCallAgain:
    def test_the_same_layers_on_another_tensor(self, diamond):
        other = keras.Input((4,))
        (output,) = call_again([(diamond["x"], other)], [diamond["output"]])
        model = keras.Model([diamond["x"], other, diamond["z"]], [diamond["output"], output])
        rng = np.random.default_rng(0)
        x, y, z = (rng.normal(size=(2, size)).astype("float32") for size in (4, 4, 3))
        first, again = model([x, y, z])
        np.testing.assert_allclose(again, model([y, x, z])[0], atol=1e-6)
        assert np.abs(first - again).max() > 1e-3

    def test_other_operations_are_asked_for_once_each(self):
        layer, x = dense("twice", 4), keras.Input((4,))
        output, asked = layer(layer(x)), []

        def operation_for(operation):
            asked.append(operation)
            return keras.ops.tanh

        (again,) = call_again([(x, x)], [output], operation_for)
        assert asked == [layer]
        model = keras.Model(x, again)
        np.testing.assert_allclose(model(np.full((1, 4), 0.5)), np.full((1, 4), np.tanh(np.tanh(0.5))), atol=1e-6)

    def test_what_does_not_depend_on_the_replaced_is_not_repeated(self, diamond):
        asked = []
        call_again([(diamond["z"], diamond["z"])], [diamond["output"]], lambda op: (asked.append(op.name), op)[1])
        assert sorted(asked) == ["output", "right"]

    def test_outputs_that_are_replaced_or_not_reached(self, diamond):
        other = keras.Input((4,))
        assert call_again([(diamond["x"], other)], [diamond["x"], diamond["z"]]) == [other, diamond["z"]]

    def test_keywords_and_nested_arguments_are_kept(self):
        x, other = keras.Input((2, 4)), keras.Input((2, 4))
        attention = keras.layers.MultiHeadAttention(1, 2, name="attention")
        output = attention(query=x, value=x, training=False)
        (again,) = call_again([(x, other)], [output])
        keywords = node_of(again).arguments.kwargs
        assert keywords["training"] is False
        assert keywords["query"] is other

    def test_several_outputs_of_one_call(self):
        x, other = keras.Input((4,)), keras.Input((4,))
        first, second = keras.ops.split(x, 2, axis=-1)
        (again,) = call_again([(x, other)], [second])
        np.testing.assert_allclose(keras.Model(other, again)(np.arange(4.0)[None]), [[2.0, 3.0]])
        assert key_of(first) != key_of(again)
