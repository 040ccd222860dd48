"""Losses that a `MultiTaskModel` refuses."""

import keras
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
