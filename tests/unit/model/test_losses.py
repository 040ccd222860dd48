"""Losses that a `MultiTaskModel` refuses."""

import keras
import numpy as np
import pytest

from keras_mtl import build_model, losses, tasks


@pytest.mark.parametrize(
    "kind",
    [
        lambda loss: tasks.Classification("b", 3, loss=loss, class_weights=[1.0, 2.0, 3.0]),
        lambda loss: tasks.MultiLabelClassification("b", 3, loss=loss),
        lambda loss: tasks.MultiLabelClassification("b", 3, loss=loss, class_weights=[1.0, 2.0]),
    ],
    ids=["class weights", "by label", "both"],
)
def test_a_balanced_loss_that_a_task_adapts_is_refused(kind):
    name = "BinaryFocalCrossentropy" if kind(None).label_shape else "SparseCategoricalCrossentropy"
    by_task, _ = losses.balanced({"a": "mse", "b": name}, "uncertainty")
    with pytest.raises(ValueError, match=r"balanced losses of the tasks \['b'\]. Give it plain ones"):
        build_model("mlp", [kind(by_task["b"])], input_shape=(6,)).compile("adam")
    model = build_model("mlp", [kind(None)], input_shape=(6,))
    with pytest.raises(ValueError, match=r"balanced losses of the tasks \['b'\]. Give it plain ones"):
        model.compile("adam", loss={"b": by_task["b"]})


class CalledByItself(keras.losses.Loss):
    """Hands the call on, so that the `reduction` of its own has no effect."""

    def __call__(self, y_true, y_pred, sample_weight=None):
        return keras.losses.MeanSquaredError()(y_true, y_pred, sample_weight=sample_weight)


@pytest.mark.parametrize(
    "kind",
    [
        lambda loss: tasks.Regression("b", loss=loss),
        lambda loss: tasks.BinaryClassification("b", loss=loss, class_weights=[1.0, 2.0]),
        lambda loss: tasks.MultiLabelClassification("b", 3, loss=loss),
    ],
    ids=["as it is", "class weights", "by label"],
)
def test_a_loss_with_a_call_of_its_own_is_refused(kind):
    """Its value cannot be made a sum over the labels that there are."""
    message = r"should have a method `call` that gives the loss of each label.*Received: a CalledByItself"
    with pytest.raises(ValueError, match=message):
        build_model("mlp", [kind(CalledByItself())], input_shape=(6,)).compile("adam")
    model = build_model("mlp", [kind(None)], input_shape=(6,))
    with pytest.raises(ValueError, match=message):
        model.compile("adam", loss={"b": CalledByItself()})


def test_a_masked_loss_is_refused():
    model = build_model("mlp", [tasks.Regression("b")], input_shape=(6,))
    with pytest.raises(ValueError, match=r"`losses.Masked` is for plain Keras models.*Give it the loss within"):
        model.compile("adam", loss={"b": losses.Masked("MeanSquaredError")})


@pytest.mark.parametrize(
    "loss",
    [
        *(keras.losses.Dice(), keras.losses.Dice(axis=0), keras.losses.Dice(axis=(0, 1)), keras.losses.Tversky()),
        keras.losses.Circle(),
    ],
    ids=["dice", "dice of columns", "dice of axes", "tversky", "circle"],
)
@pytest.mark.parametrize(
    "kind",
    [
        lambda loss: tasks.Regression("b", num_outputs=3, loss=loss),
        lambda loss: tasks.MultiLabelClassification("b", 3, loss=loss, class_weights=[1.0, 2.0]),
    ],
    ids=["as it is", "within others"],
)
def test_a_loss_of_several_examples_is_refused(kind, loss):
    """Missing labels would enter it."""
    message = r"loss of task 'b' should have a value for each example, that depends on no other one.*Received: <"
    with pytest.raises(ValueError, match=message):
        build_model("mlp", [kind(loss)], input_shape=(6,)).compile("adam")
    model = build_model("mlp", [kind(None)], input_shape=(6,))
    with pytest.raises(ValueError, match=message):
        model.compile("adam", loss={"b": loss})


@pytest.mark.parametrize("loss", [keras.losses.Dice(axis=1), keras.losses.Tversky(axis=(1,))])
def test_such_a_loss_of_each_example_is_taken(loss):
    model = build_model("mlp", [tasks.Regression("b", num_outputs=3, loss=loss)], input_shape=(6,))
    model.compile("adam")
    x, y = np.random.default_rng(0).uniform(size=(8, 6)), np.random.default_rng(1).integers(0, 2, (8, 3)) * 1.0
    y[2, 1] = np.nan
    expected = loss(np.delete(y, 2, axis=0), np.delete(model.predict(x, verbose=0)["b"], 2, axis=0))
    assert model.evaluate(x, {"b": y}, verbose=0, return_dict=True)["b_loss"] == pytest.approx(
        float(expected), rel=1e-5
    )
