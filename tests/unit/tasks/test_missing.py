"""Labels that are missing, for each kind of task and each of its losses: what counts is the labels that there are.

The references are numpy, over the labelled elements alone.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import MultiTaskModel, build_model, export, tasks
from tests.models import policies

HEIGHT, WIDTH, CLASSES, SIZE = 4, 6, 3, 10


def kinds(**arguments):
    """A task of each kind, by name."""
    given = {name: arguments.get(name, {}) for name in NAMES}
    return [
        tasks.Classification("kind", CLASSES, **given["kind"]),
        tasks.BinaryClassification("flag", **given["flag"]),
        tasks.MultiLabelClassification("tags", 4, **given["tags"]),
        tasks.OrdinalRegression("grade", CLASSES, **given["grade"]),
        tasks.Regression("box", 4, **given["box"]),
        tasks.Segmentation("mask", CLASSES, **given["mask"]),
        tasks.DenseRegression("depth", **given["depth"]),
        tasks.DenseRegression("normal", 3, **given["normal"]),
    ]


NAMES = ("kind", "flag", "tags", "grade", "box", "mask", "depth", "normal")
PLACES = {"tags": (4,), "mask": (HEIGHT, WIDTH), "depth": (HEIGHT, WIDTH), "normal": (HEIGHT, WIDTH)}


def backbone():
    image = keras.Input((HEIGHT, WIDTH, 2))
    return keras.Model(image, keras.layers.Conv2D(5, 3, 2, padding="same", activation="tanh", name="trunk")(image))


def make(optimizer="sgd", balancer="equal", jit_compile=False, **arguments):
    keras.utils.set_random_seed(0)
    model = build_model(backbone(), kinds(**arguments))
    model.compile(optimizer, balancer=balancer, jit_compile=jit_compile)
    return model


def data(seed=0):
    """Half of the labels of each task missing at random, and which are there."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(SIZE, HEIGHT, WIDTH, 2)).astype("float32")
    y = {
        "kind": rng.integers(0, CLASSES, SIZE),
        "flag": rng.integers(0, 2, SIZE),
        "tags": rng.integers(0, 2, (SIZE, 4)).astype("float32"),
        "grade": rng.integers(0, CLASSES, SIZE),
        "box": rng.normal(size=(SIZE, 4)).astype("float32"),
        "mask": rng.integers(0, CLASSES, (SIZE, HEIGHT, WIDTH)),
        "depth": rng.normal(size=(SIZE, HEIGHT, WIDTH)).astype("float32"),
        "normal": rng.normal(size=(SIZE, HEIGHT, WIDTH, 3)).astype("float32"),
    }
    present = {name: rng.random((SIZE, *PLACES.get(name, ()))) < 0.5 for name in NAMES}
    present["mask"][:3] = False  # whole images without a label
    for name in NAMES:
        present[name][3] = True
    for name in ("kind", "flag", "grade", "mask"):
        y[name][~present[name]] = -1
    y["tags"][~present["tags"]] = np.where(rng.random((~present["tags"]).sum()) < 0.5, -1, np.nan)
    for name in ("box", "normal"):
        y[name][..., 1][~present[name]] = np.nan  # one of several numbers will do
    y["depth"][~present["depth"]] = np.nan
    return x, y, present


def crossentropy(labels, predictions, smoothing=0.0, weights=None):
    one_hot = np.eye(CLASSES)[labels] * (1 - smoothing) + smoothing / CLASSES
    values = -(one_hot * np.log(predictions)).sum(axis=-1)
    return values if weights is None else values * np.array(weights)[labels]


def binary(labels, predictions, smoothing=0.0, pairs=(1.0, 1.0)):
    soft = labels * (1 - smoothing) + smoothing / 2
    values = -(soft * np.log(predictions) + (1 - soft) * np.log(1 - predictions))
    pairs = np.array(pairs)
    return values * np.where(labels == 1, pairs[..., 1], pairs[..., 0])


def reference(name, labels, prediction, present, **arguments):
    """The mean of the losses of the labels that there are, in float64."""
    prediction = prediction.astype("float64")
    if name in ("kind", "grade", "mask"):
        return crossentropy(labels[present], prediction[present], **arguments).mean()
    if name == "flag":
        return binary(labels[present], prediction[present][:, 0], **arguments).mean()
    if name == "tags":
        return binary(np.where(present, labels, 0), prediction, **arguments)[present].mean()
    prediction = prediction[..., 0] if name == "depth" else prediction
    return np.square(labels[present] - prediction[present]).mean()


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_loss_is_the_mean_over_the_labels_that_there_are(jit_compile):
    model = make(jit_compile=jit_compile)
    x, y, present = data()
    predictions = model.predict(x, verbose=0)
    logs = model.evaluate(x, y, batch_size=SIZE, verbose=0, return_dict=True)
    for name in NAMES:
        expected = reference(name, y[name], predictions[name], present[name])
        assert logs[f"{name}_loss"] == pytest.approx(expected, rel=1e-6, abs=1e-6), name
    parts = model.evaluate(x, y, batch_size=3, verbose=0, return_dict=True)
    for name in NAMES:
        assert parts[f"{name}_loss"] == pytest.approx(logs[f"{name}_loss"], rel=1e-5), name


def test_class_weights_and_smoothing_too():
    weights, pairs = [0.5, 2.0, 3.0], [[1.0, 2.0], [0.5, 1.0], [0.0, 1.0], [1.0, 4.0]]
    of_classes = {"class_weights": weights, "label_smoothing": 0.1}
    model = make(
        kind=of_classes,
        grade=of_classes,
        mask=of_classes,
        flag={"class_weights": (0.5, 2.0), "label_smoothing": 0.2},
        tags={"class_weights": pairs, "label_smoothing": 0.2},
    )
    x, y, present = data()
    predictions = model.predict(x, verbose=0)
    logs = model.evaluate(x, y, batch_size=SIZE, verbose=0, return_dict=True)
    expected = {name: {"smoothing": 0.1, "weights": weights} for name in ("kind", "grade", "mask")}
    expected["flag"] = {"smoothing": 0.2, "pairs": (0.5, 2.0)}
    expected["tags"] = {"smoothing": 0.2, "pairs": pairs}
    for name, arguments in expected.items():
        value = reference(name, y[name], predictions[name], present[name], **arguments)
        assert logs[f"{name}_loss"] == pytest.approx(value, rel=1e-6, abs=1e-6), name


@pytest.mark.parametrize("given", ["task", "compile"])
def test_losses_that_are_given_too(given):
    """Of several labels each is by itself, though Keras' loss would average over them."""
    found = {"tags": keras.losses.BinaryFocalCrossentropy(), "box": "Huber", "normal": "MeanAbsoluteError"}
    model = make(**{name: {"loss": loss} for name, loss in found.items()} if given == "task" else {})
    if given == "compile":
        model.compile("sgd", loss=found)
    x, y, present = data()
    predictions = model.predict(x, verbose=0)
    logs = model.evaluate(x, y, batch_size=SIZE, verbose=0, return_dict=True)
    p, t = predictions["tags"].astype("float64"), np.where(present["tags"], y["tags"], 0)
    right = np.where(t == 1, p, 1 - p)
    focal = -np.square(1 - right) * np.log(right)
    assert logs["tags_loss"] == pytest.approx(focal[present["tags"]].mean(), rel=1e-6)
    difference = np.abs(y["box"] - predictions["box"])[present["box"]].astype("float64")
    huber = np.where(difference <= 1, difference**2 / 2, difference - 0.5)
    assert logs["box_loss"] == pytest.approx(huber.mean(), rel=1e-6)
    error = np.abs(y["normal"] - predictions["normal"])[present["normal"]].astype("float64")
    assert logs["normal_loss"] == pytest.approx(error.mean(), rel=1e-6)


def test_the_gradient_is_that_of_the_labels_alone():
    model = make(keras.optimizers.SGD(0.1))
    x, y, present = data()
    with tf.GradientTape() as tape:
        predictions = model(x, training=True)
        total = 0.0
        for name in NAMES:
            prediction = tf.boolean_mask(predictions[name], present[name])
            labels = y[name][present[name]]
            if name in ("kind", "grade", "mask"):
                values = -tf.math.log(tf.gather(prediction, labels, axis=1, batch_dims=1))
            elif name in ("flag", "tags"):
                prediction = tf.reshape(prediction, [-1])
                values = -tf.math.log(tf.where(labels == 1, prediction, 1 - prediction))
            else:
                values = tf.square(prediction - labels.reshape(prediction.shape))
            total += tf.reduce_mean(values)
    gradients = tape.gradient(total, model.trainable_variables)
    expected = [v.numpy() - 0.1 * g.numpy() for v, g in zip(model.trainable_variables, gradients, strict=True)]
    model.fit(x, y, batch_size=SIZE, verbose=0)
    for variable, value in zip(model.trainable_variables, expected, strict=True):
        assert np.isfinite(variable.numpy()).all()
        np.testing.assert_allclose(variable, value, rtol=1e-5, atol=1e-6, err_msg=variable.path)


@pytest.mark.parametrize("balancer", ["upgrad", pytest.param("uncertainty", marks=pytest.mark.slow)])
def test_a_batch_without_any_label_leaves_the_heads_alone(balancer):
    model = make(keras.optimizers.Adam(0.1), balancer)
    x, y, _ = data()
    model.fit(x, y, batch_size=5, epochs=2, verbose=0)
    own = [weight for layer in model.layers if layer.name != "trunk" for weight in layer.weights]
    before = [weight.numpy() for weight in own]
    none = {name: np.full_like(value, -1 if value.dtype.kind == "i" else np.nan) for name, value in y.items()}
    logs = model.train_on_batch(x, none, return_dict=True)
    assert all(np.isfinite(value) for value in logs.values())
    assert len(own) == 2 * len(NAMES) + 1  # a kernel and a bias each; for ordered classes a kernel and thresholds
    for one, other in zip(before, own, strict=True):
        np.testing.assert_array_equal(one, other.numpy())
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def mean_iou(label, number):
    classes = [c for c in range(CLASSES) if (label == c).any() or (number == c).any()]
    return np.mean([((label == c) & (number == c)).sum() / ((label == c) | (number == c)).sum() for c in classes])


def test_metrics_leave_missing_labels_out():
    model = make(tags={"metrics": ["MeanSquaredError", "f1", "AUC"]})
    x, y, present = data()
    predictions = model.predict(x, verbose=0)
    logs = model.evaluate(x, y, batch_size=3, verbose=0, return_dict=True)
    for name in ("kind", "grade", "mask"):
        number = predictions[name].argmax(axis=-1)[present[name]]
        assert logs[f"{name}_accuracy"] == pytest.approx((number == y[name][present[name]]).mean(), rel=1e-5), name
    number = predictions["mask"].argmax(axis=-1)[present["mask"]]
    assert logs["mask_mean_iou"] == pytest.approx(mean_iou(y["mask"][present["mask"]], number), rel=1e-5)
    rank = (np.cumsum(predictions["grade"], axis=-1)[:, :-1] < 0.5).sum(axis=-1)
    error = np.abs(rank - y["grade"])[present["grade"]]
    assert logs["grade_rank_error"] == pytest.approx(error.mean(), rel=1e-5)
    rows, prediction = present["tags"], predictions["tags"]
    assert logs["tags_accuracy"] == pytest.approx((y["tags"] == (prediction > 0.5))[rows].mean(), rel=1e-5)
    assert logs["tags_mean_squared_error"] == pytest.approx(np.square(y["tags"] - prediction)[rows].mean(), rel=1e-5)
    auc = keras.metrics.AUC()
    auc.update_state(y["tags"][rows], prediction[rows])
    assert logs["tags_auc"] == pytest.approx(float(auc.result()), rel=1e-5)
    for name in ("depth", "normal"):
        error = np.abs(y[name].reshape(predictions[name].shape) - predictions[name])[present[name]]
        assert logs[f"{name}_mae"] == pytest.approx(error.mean(), rel=1e-5), name


def tagger(balancer="equal", **arguments):
    keras.utils.set_random_seed(0)
    words = keras.Input((None, 4))
    encoded = keras.Model(words, keras.layers.Conv1D(6, 3, padding="same", activation="tanh")(words))
    model = build_model(encoded, [tasks.SequenceTagging("tag", 5, **arguments), tasks.BinaryClassification("flag")])
    model.compile("sgd", balancer=balancer)
    return model


def test_tokens():
    model = tagger(metrics=["f1"])
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 7, 4)).astype("float32"), rng.integers(-1, 5, (8, 7))
    labels, present = {"tag": y, "flag": rng.integers(0, 2, 8)}, y >= 0
    prediction = model.predict(x, verbose=0)["tag"].astype("float64")
    logs = model.evaluate(x, labels, batch_size=8, verbose=0, return_dict=True)
    expected = -np.log(prediction[present][np.arange(present.sum()), y[present]])
    assert logs["tag_loss"] == pytest.approx(expected.mean(), rel=1e-6)
    accuracy = (prediction.argmax(axis=-1) == y)[present].mean()
    assert logs["tag_accuracy"] == pytest.approx(accuracy, rel=1e-6)
    parts = model.evaluate(x, {**labels, "tag": y[..., None]}, batch_size=3, verbose=0, return_dict=True)
    assert parts["tag_loss"] == pytest.approx(logs["tag_loss"], rel=1e-5)
    assert parts["tag_f1"] == pytest.approx(logs["tag_f1"], rel=1e-5)
    model.fit(x, labels, verbose=0)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_the_label_that_is_ignored_may_be_another():
    model = make(mask={"ignore_label": 255})
    x, y, present = data()
    other = {**y, "mask": np.where(present["mask"], y["mask"], 255).astype("uint8")[..., None]}
    assert model.evaluate(x, other, verbose=0, return_dict=True) == pytest.approx(
        make().evaluate(x, y, verbose=0, return_dict=True), rel=1e-5
    )
    with pytest.raises(ValueError, match="Labels 'mask' of task 'mask' .* from 0 to 2. Received: -1 "):
        model.evaluate(x, y, verbose=0)


def test_labels_of_another_size_are_told():
    model, (x, y, _) = make(), data()
    y["mask"] = y["mask"][:, :2]
    message = (
        r"'mask' of task 'mask' \(Segmentation\) should have 4 x 6 places, .* Received: labels of shape \(.*, 2, 6\)"
    )
    with pytest.raises(ValueError, match=message):
        model.fit(x, y, verbose=0)


def test_a_file_brings_all_of_it_back(tmp_path):
    model = make(
        "adam",
        mask={"class_weights": [1.0, 2.0, 3.0], "ignore_label": 255, "metrics": ["f1"]},
        tags={"label_smoothing": 0.1, "metrics": ["average_precision", "BinaryAccuracy"]},
    )
    x, y, present = data()
    y["mask"] = np.where(present["mask"], y["mask"], 255)
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    found = keras.models.load_model(tmp_path / "model.keras")
    for name, value in model.predict(x, verbose=0).items():
        np.testing.assert_array_equal(found.predict(x, verbose=0)[name], value)
    assert found.evaluate(x, y, verbose=0, return_dict=True) == pytest.approx(
        model.evaluate(x, y, verbose=0, return_dict=True), rel=1e-6
    )
    np.testing.assert_allclose(found.train_on_batch(x, y), model.train_on_batch(x, y), rtol=1e-5)


def test_mixed_precision():
    with policies("mixed_float16"):
        model = make("adam")
    x, y, present = data()
    assert {output.dtype for output in model.outputs} == {"float32"}
    predictions = model.predict(x, verbose=0)
    logs = model.evaluate(x, y, batch_size=SIZE, verbose=0, return_dict=True)
    for name in NAMES:
        expected = reference(name, y[name], predictions[name], present[name])
        assert logs[f"{name}_loss"] == pytest.approx(expected, rel=1e-5), name
    before = model.get_weights()
    model.fit(x, y, verbose=0)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    assert any(np.any(one != other) for one, other in zip(before, model.get_weights(), strict=True))


def test_export_keeps_the_shapes(tmp_path):
    model = make()
    export.saved_model(model, tmp_path / "serving")
    served = tf.saved_model.load(tmp_path / "serving").signatures
    x, _, _ = data()
    expected = model.predict(x, verbose=0)
    for name in ("mask", "depth", "normal", "tags", "grade"):
        (found,) = served[name](tf.constant(x)).values()
        assert found.shape == expected[name].shape
        np.testing.assert_allclose(found, expected[name], atol=1e-5)


def test_images_of_any_size():
    image = keras.Input((None, None, 2))
    encoded = keras.Model(image, keras.layers.Conv2D(5, 3, 2, padding="same", name="trunk")(image))
    model = build_model(encoded, [tasks.Segmentation("mask", 3, hidden_units=4), tasks.DenseRegression("depth")])
    model.compile("sgd", balancer="upgrad")
    for size in ((8, 6), (5, 9)):
        x = np.random.default_rng(0).normal(size=(2, *size, 2))
        y = {"mask": np.zeros((2, *size), int), "depth": np.ones((2, *size, 1), "float32")}
        assert model.predict(x, verbose=0)["mask"].shape == (2, *size, 3)
        assert np.isfinite(model.train_on_batch(x, y)).all()


@pytest.mark.parametrize("sharing", ["mmoe", "cgc"])
def test_architectures_that_hand_on_vectors_are_refused(sharing):
    with pytest.raises(ValueError, match=r"The task 'mask' .* reads features \(batch, height, width, channels\)"):
        build_model(backbone(), [tasks.Segmentation("mask", 3), tasks.Regression("size")], sharing)


@pytest.mark.parametrize("sharing", ["independent", "cross_stitch", "mtan"])
def test_architectures_that_hand_on_maps_are_not(sharing):
    model = build_model(backbone(), [tasks.Segmentation("mask", 3), tasks.Regression("size")], sharing)
    assert model.output["mask"].shape == (None, HEIGHT, WIDTH, 3)


def test_a_graph_by_hand_is_checked():
    image = keras.Input((4, 4, 2))
    with pytest.raises(
        ValueError, match=r"'mask' should have shape \(batch, height, width, 3\). Received: \(None, 4, 4, 2\)"
    ):
        MultiTaskModel(image, {"mask": image}, [tasks.Segmentation("mask", 3)])
