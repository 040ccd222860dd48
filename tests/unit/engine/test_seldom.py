"""A condition whose second side is hardly ever taken."""

import pytest
import tensorflow as tf

from keras_mtl.engine._seldom import seldom


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("usual", [True, False])
def test_it_is_a_condition(usual, compiled):
    variable = tf.Variable(1.0)

    def step(flag, value):
        def otherwise():
            variable.assign(value + 5)
            return [value * 2, tf.constant(7)]

        return seldom(flag, lambda: [value, tf.constant(3)], otherwise)

    function = tf.function(step) if compiled else step
    found, number = function(tf.constant(usual), tf.constant(4.0))
    assert (float(found), int(number)) == ((4.0, 3) if usual else (8.0, 7))
    assert float(variable) == (1.0 if usual else 9.0)


def test_the_side_that_is_hardly_ever_taken_is_one_operation():
    @tf.function
    def step(flag, value):
        def otherwise():
            for _ in range(50):
                value_now = tf.sin(value)
            return value_now

        return seldom(flag, lambda: value, otherwise)

    graph = step.get_concrete_function(tf.TensorSpec((), tf.bool), tf.TensorSpec(())).graph
    (condition,) = (each for each in graph.get_operations() if each.type in ("If", "StatelessIf"))
    side = graph._get_function(condition.get_attr("else_branch").name).graph
    calls = [each for each in side.get_operations() if each.type not in ("Placeholder", "Identity", "NoOp")]
    assert [each.type for each in calls] == ["PartitionedCall"]
    # What keeps TensorFlow from putting the operations in the place of the call.
    assert side._get_function(calls[0].get_attr("f").name).cached_definition.attr["_noinline"].b
