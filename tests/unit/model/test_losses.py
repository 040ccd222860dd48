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
