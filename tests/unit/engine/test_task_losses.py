"""The losses of the tasks, beside those of a plain `keras.Model`."""

import keras
import numpy as np
import pytest

from keras_mtl import MultiTaskModel, losses, tasks

C = keras.losses.SparseCategoricalCrossentropy


def make(task, shape=(4,), places=(), jit_compile=False):
    """A model of that task and another one, and the plain model of the same graph."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((*places, *shape))
    flat = keras.layers.Flatten()(inputs) if places else inputs
    outputs = {
        "a": keras.layers.Dense(task.num_outputs, activation=task.activation)(inputs),
        "b": keras.layers.Dense(1)(flat),
    }
    model = MultiTaskModel(inputs, outputs, [task, tasks.Regression("b")])
    model.compile(keras.optimizers.SGD(0.1), jit_compile=jit_compile)
    return model


def plain(model, loss):
    found = keras.Model(model.input, model.output)
    found.compile(keras.optimizers.SGD(0.1), loss={"a": loss, "b": keras.losses.MeanSquaredError()})
    return found


def data(size, labels, places=()):
    rng = np.random.default_rng(0)
    return rng.normal(size=(size, *places, 4)).astype("float32"), {"a": labels, "b": np.zeros((size, 1), "float32")}


def classes(*shape):
    return np.random.default_rng(1).integers(0, 3, shape)


KINDS = {
    "classes": (lambda loss: tasks.Classification("a", 3, loss=loss), ()),
    "weights of classes": (lambda loss: tasks.Classification("a", 3, loss=loss, class_weights=[1.0, 1.0, 1.0]), ()),
    "places": (lambda loss: tasks.SequenceTagging("a", 3, loss=loss), (5,)),
    "a column": (lambda loss: tasks.Classification("a", 3, loss=loss), ()),
}


@pytest.mark.parametrize("ignored", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_class_that_the_loss_ignores_does_not_count(kind, ignored, jit_compile):
    make_task, places = KINDS[kind]
    model = make(make_task(C(ignore_class=ignored)), places=places, jit_compile=jit_compile)
    x, y = data(12, classes(12, *places), places)
    y["a"] = y["a"][..., None] if kind == "a column" else y["a"]
    expected = plain(model, C(ignore_class=ignored))
    predictions, labels = model.predict(x, verbose=0)["a"], y["a"].reshape(12, *places)
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    for name, value in expected.evaluate(x, y, verbose=0, return_dict=True).items():
        assert logs[name] == pytest.approx(value, rel=1e-5), name
    right = (predictions.argmax(-1) == labels)[labels != ignored]
    assert logs["a_accuracy"] == pytest.approx(right.mean())
    assert model.fit(x, y, batch_size=12, verbose=0).history["a_loss"] == pytest.approx([logs["a_loss"]], rel=1e-5)
    before = [weights.copy() for weights in model.get_weights()]
    model.fit(x, {**y, "a": np.full_like(y["a"], ignored)}, batch_size=12, verbose=0)
    own = [index for index, weight in enumerate(model.weights) if weight.shape[-1:] == (3,)]
    assert own
    for index in own:  # without a label its weights stay
        np.testing.assert_array_equal(model.get_weights()[index], before[index])


@pytest.mark.parametrize("ignored", [0, 2])
def test_a_class_that_is_ignored_and_one_that_is_missing(ignored):
    model = make(KINDS["classes"][0](C(ignore_class=ignored)))
    x, y = data(12, classes(12))
    expected = plain(model, C(ignore_class=ignored)).evaluate(
        x[4:], {name: values[4:] for name, values in y.items()}, verbose=0, return_dict=True
    )
    y["a"][:4] = -1
    assert model.evaluate(x, y, verbose=0, return_dict=True)["a_loss"] == pytest.approx(expected["a_loss"], rel=1e-5)


@pytest.mark.parametrize("size", [3, 6])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight"])
def test_several_values_of_a_label(size, reduction):
    loss = losses.LabelwiseLoss(keras.losses.MeanSquaredError(reduction=reduction))
    model = make(tasks.Regression("a", num_outputs=3, loss=loss))
    x, y = data(size, np.random.default_rng(2).normal(size=(size, 3)).astype("float32"))
    expected = plain(model, loss).evaluate(x, y, verbose=0, return_dict=True)
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    assert logs["a_loss"] == pytest.approx(expected["a_loss"], rel=1e-5)
    squares = (model.predict(x, verbose=0)["a"] - y["a"])[1:] ** 2
    y["a"][0, 0] = np.nan
    found = model.evaluate(x, y, verbose=0, return_dict=True)["a_loss"]
    assert found == pytest.approx(squares.sum() if reduction == "sum" else squares.mean(), rel=1e-5)


class OfAll(keras.losses.Loss):
    """The mean over some axes."""

    def __init__(self, axis):
        super().__init__()
        self.axis_of_mean = axis

    def call(self, y_true, y_pred):
        values = keras.losses.sparse_categorical_crossentropy(y_true, y_pred)
        return keras.ops.mean(values, axis=self.axis_of_mean)


@pytest.mark.parametrize("axis, shape", [(1, r"\((None|5),\)"), (None, r"\(\)")])
@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_values_of_fewer_axes_than_the_labels_are_refused(axis, shape, method):
    """With as many examples as places they would broadcast."""
    model = make(tasks.SequenceTagging("a", 3, loss=OfAll(axis)), places=(5,))
    x, y = data(5, classes(5, 5), (5,))
    message = rf"loss of task 'a' should have a value for each label.*values of shape {shape}, by the loss 'of_all"
    with pytest.raises(ValueError, match=message):
        getattr(model, method)(x, y, verbose=0)


class OverThePlaces(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return keras.ops.mean(keras.ops.square(keras.ops.one_hot(y_true, 3) - y_pred), axis=1)


def test_values_of_other_places_than_the_labels_are_refused():
    model = make(tasks.SequenceTagging("a", 3, loss=OverThePlaces()), places=(5,))
    x, y = data(6, classes(6, 5), (5,))
    with pytest.raises(ValueError, match=r"of shape \(None, 5\).*Received: values of shape \(None, 3\)"):
        model.fit(x, y, verbose=0)


class Mean(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_true - y_pred))


def test_a_mean_over_the_batch_is_refused():
    x = keras.Input((3,))
    model = MultiTaskModel(x, {"a": keras.layers.Dense(1)(x)}, [tasks.Regression("a", loss=Mean())])
    model.compile("sgd")
    with pytest.raises(ValueError, match=r"task 'a'.*values of shape \(\).*Return the values, without a mean"):
        model.fit(np.ones((8, 3)), {"a": np.ones(8)}, verbose=0)
