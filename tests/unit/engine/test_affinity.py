"""The look-ahead is the difference that a step on one task's loss makes."""

import keras
import numpy as np
import pytest

from tests.models import policies, three_task_model, two_task_data, two_task_model


def batch(size=20):
    x, y = two_task_data(size)
    return x, y


def test_a_small_step_is_a_product_of_gradients():
    """To first order, the affinity is the learning rate times the product of the two gradients over the loss."""
    x, y = batch()
    y["c"] = y["b"] - 1
    model = three_task_model()
    model.compile("adam")
    (one, _), (tenth, _) = (model.make_look_ahead(rate)((x, y)) for rate in (1e-2, 1e-3))
    np.testing.assert_allclose(one, 10 * tenth, rtol=0.1, atol=2e-4)
    losses = model.evaluate(x, y, verbose=0, return_dict=True)
    losses = np.array([losses[f"{name}_loss"] for name in "abc"])
    products = tenth * losses  # symmetrical, as the product of gradients is
    np.testing.assert_allclose(products, products.T, rtol=0.05, atol=1e-5)
    assert (np.diag(tenth) > 0).all()


@pytest.mark.parametrize("learning_rate", [None, 0.01])
def test_mixed_precision(learning_rate):
    x, y = batch()
    y["c"] = y["b"]
    found = []
    for policy in ("float32", "mixed_float16"):
        model = three_task_model(policy=policy)
        with policies(policy):
            optimizer = keras.optimizers.SGD(0.01)
            model.compile(optimizer if policy == "float32" else keras.optimizers.LossScaleOptimizer(optimizer))
        found.append(model.make_look_ahead(learning_rate)((x, y))[0])
    np.testing.assert_allclose(found[0], found[1], rtol=0.1, atol=2e-3)


def test_what_was_frozen_since_is_said():
    model = two_task_model()
    model.compile("sgd")
    model.get_layer("trunk").trainable = False
    with pytest.raises(ValueError, match="has changed since it was compiled"):
        model.make_look_ahead()
