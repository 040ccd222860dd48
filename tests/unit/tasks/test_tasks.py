"""What every kind of task keeps to. A new kind needs a row in `EXAMPLES`."""

import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import losses, metrics, tasks

# By kind: the arguments beside the name; labels of four examples, a good prediction of them, and a bad one.
EXAMPLES = {
    "binary_classification": ({}, [0, 1, 1, 0], [[0.1], [0.9], [0.8], [0.2]], [[0.9], [0.2], [0.1], [0.6]]),
    "classification": (
        {"num_classes": 3},
        [0, 1, 2, 1],
        [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.1, 0.8, 0.1]],
        [[0.1, 0.1, 0.8], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.8, 0.1]],
    ),
    "dense_regression": (
        {"num_outputs": 2, "label_size": [1, 2]},
        [
            [[[0.0, 1.0], [2.0, 3.0]]],
            [[[4.0, 5.0], [6.0, 7.0]]],
            [[[0.0, 1.0], [2.0, 3.0]]],
            [[[4.0, 5.0], [6.0, 7.0]]],
        ],
        [
            [[[0.1, 1.0], [2.0, 3.1]]],
            [[[4.0, 5.0], [6.0, 7.0]]],
            [[[0.0, 1.0], [2.0, 3.0]]],
            [[[4.0, 5.0], [6.0, 7.0]]],
        ],
        [
            [[[3.0, 1.0], [2.0, 0.0]]],
            [[[1.0, 5.0], [6.0, 7.0]]],
            [[[0.0, 1.0], [2.0, 3.0]]],
            [[[4.0, 5.0], [6.0, 7.0]]],
        ],
    ),
    "multi_label_classification": (
        {"num_labels": 2},
        [[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]],
        [[0.1, 0.9], [0.8, 0.7], [0.9, 0.2], [0.2, 0.1]],
        [[0.9, 0.1], [0.2, 0.7], [0.1, 0.8], [0.6, 0.9]],
    ),
    "ordinal_regression": (
        {"num_classes": 3},
        [0, 1, 2, 1],
        [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.1, 0.8, 0.1]],
        [[0.1, 0.1, 0.8], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.8, 0.1]],
    ),
    "segmentation": (
        {"num_classes": 2, "label_size": [1, 2]},
        [[[0, 1]], [[1, 1]], [[0, 0]], [[1, 0]]],
        [[[[0.9, 0.1], [0.2, 0.8]]], [[[0.1, 0.9], [0.2, 0.8]]], [[[0.9, 0.1]] * 2], [[[0.1, 0.9], [0.8, 0.2]]]],
        [[[[0.1, 0.9], [0.8, 0.2]]], [[[0.1, 0.9], [0.8, 0.2]]], [[[0.1, 0.9]] * 2], [[[0.1, 0.9], [0.8, 0.2]]]],
    ),
    "sequence_tagging": (
        {"num_classes": 2},
        [[0, 1], [1, 1], [0, 0], [1, 0]],
        [[[0.9, 0.1], [0.2, 0.8]], [[0.1, 0.9], [0.2, 0.8]], [[0.9, 0.1]] * 2, [[0.1, 0.9], [0.8, 0.2]]],
        [[[0.1, 0.9], [0.8, 0.2]], [[0.1, 0.9], [0.8, 0.2]], [[0.1, 0.9]] * 2, [[0.1, 0.9], [0.8, 0.2]]],
    ),
    "regression": (
        {"num_outputs": 2},
        [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]],
        [[0.1, 1.0], [2.0, 3.1], [4.0, 5.0], [6.0, 7.0]],
        [[3.0, 1.0], [2.0, 0.0], [1.0, 5.0], [6.0, 7.0]],
    ),
}


# What the heads of tasks that predict something for each place read.
MAPS = {"dense_regression": (1, 2, 6), "segmentation": (1, 2, 6), "sequence_tagging": (2, 6)}


def own(loss):
    """The loss within those that make it one of labels by themselves."""
    return loss.loss if isinstance(loss, losses.LabelwiseLoss) else loss


@pytest.fixture
def shape(kind):
    """The shape of features that every head of the kind reads."""
    return MAPS.get(kind, (6,))


@pytest.fixture(params=tasks.names())
def kind(request):
    return request.param


@pytest.fixture
def make(kind):
    """Makes a task of the kind with further arguments."""
    return lambda name="age", **arguments: tasks.get(kind, name=name, **EXAMPLES[kind][0], **arguments)


class TestGet:
    def test_by_name(self, kind, make):
        assert isinstance(make(), tasks.Task)
        assert type(make()).__name__ == kind.title().replace("_", "")

    def test_by_instance(self, make):
        task = make()
        assert tasks.get(task) is task

    def test_by_config(self, make):
        found = tasks.get(keras.saving.serialize_keras_object(make(weight=0.5)))
        assert (found.name, found.weight) == ("age", 0.5)

    def test_an_unknown_kind_lists_the_known_ones(self):
        message = f"Unknown task kind: 'Regresion'. Did you mean 'regression'.*ones are: {', '.join(tasks.names())}"
        with pytest.raises(ValueError, match=message):
            tasks.get("Regresion", name="age")

    def test_arguments_that_the_kind_does_not_take_are_named(self, make):
        with pytest.raises(ValueError, match="task kind .* takes other arguments .*'colour'"):
            make(colour="red")

    @pytest.mark.parametrize("identifier", [None, 3, tasks.Regression])
    def test_what_is_no_task_is_refused(self, identifier):
        with pytest.raises(ValueError, match="A task kind should be a name"):
            tasks.get(identifier)

    def test_the_base_class_is_abstract(self):
        with pytest.raises(TypeError, match="abstract"):
            tasks.Task("age")


class TestGetAll:
    def test_instances_and_configs(self):
        age, is_cat = tasks.Regression("age"), tasks.BinaryClassification("is_cat")
        first, second = tasks.get_all([age, keras.saving.serialize_keras_object(is_cat)])
        assert first is age
        assert second.get_config() == is_cat.get_config()

    @pytest.mark.parametrize("identifiers", [[], (), "age", None, tasks.Regression("age")], ids=repr)
    def test_what_is_no_list_of_tasks_is_refused(self, identifiers):
        message = re.escape(f"`tasks` should be a list of at least one task. Received: tasks={identifiers!r}")
        with pytest.raises(ValueError, match=message):
            tasks.get_all(identifiers)

    def test_names_that_are_repeated_are_refused(self):
        found = [tasks.Regression(name) for name in "abcba"]
        message = re.escape("Received: ['a', 'b', 'c', 'b', 'a'], where ['a', 'b'] are repeated")
        with pytest.raises(ValueError, match=message):
            tasks.get_all(found)

    def test_labels_may_be_shared(self):
        tasks.get_all([tasks.Regression("a", label="y"), tasks.Regression("b", label="y")])


class TestConfig:
    def test_round_trip_with_everything_given(self, make):
        task = make(
            hidden_units=[8, 4],
            dropout=0.25,
            weight=2.0,
            label="years",
            loss=keras.losses.BinaryCrossentropy(label_smoothing=0.25),
            metrics=[keras.metrics.RootMeanSquaredError(name="rmse"), "MeanSquaredError"],
        )
        config = keras.saving.serialize_keras_object(task)
        assert config["registered_name"] == f"keras_mtl>{type(task).__name__}"
        found = keras.saving.deserialize_keras_object(json.loads(json.dumps(config)))
        assert type(found) is type(task)
        assert found.get_config() == task.get_config()
        assert (found.name, found.hidden_units, found.dropout) == ("age", (8, 4), 0.25)
        assert (found.weight, found.label) == (2.0, "years")
        assert isinstance(own(found.loss), keras.losses.BinaryCrossentropy)
        assert own(found.loss).get_config()["label_smoothing"] == 0.25
        assert [metric.name for metric in found.metrics] == [metric.name for metric in task.metrics]
        assert [metric.name for metric in found.metrics][-2:] == ["rmse", "mean_squared_error"]

    def test_round_trip_with_nothing_given(self, make):
        task = make()
        found = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(task))
        assert found.get_config() == task.get_config()
        assert type(found.loss) is type(task.default_loss())

    def test_the_arguments_of_the_kind_are_in_it(self, kind, make):
        config = make().get_config()
        assert {name: config[name] for name in EXAMPLES[kind][0]} == EXAMPLES[kind][0]

    def test_from_config_takes_what_get_config_gives(self, make):
        task = make(hidden_units=4)
        assert type(task).from_config(task.get_config()).get_config() == task.get_config()

    def test_repr_names_the_task(self, make):
        assert repr(make("size")) == f"{type(make()).__name__}('size')"


class TestArguments:
    def refuse(self, make, argument, values, message):
        for value in values:
            with pytest.raises(ValueError, match=f"^Parameter `{argument}.*{message}.*{re.escape(repr(value))}"):
                make(**{argument: value})

    def test_name(self, make):
        names = ["", "is cat", "_age", "1st", "a/b", None, 3]
        self.refuse(make, "name", names, "letters, digits and underscores")

    def test_weight(self, make):
        weights = [-0.1, np.nan, np.inf, "1", None, True]
        self.refuse(make, "weight", weights, r"should be a finite number of at least 0\. ")

    def test_weight_may_be_zero_and_is_one_by_default(self, make):
        assert make(weight=0).weight == 0
        assert make().weight == 1

    def test_dropout(self, make):
        shares = [-0.1, 1.0, 1, np.nan, None]
        self.refuse(make, "dropout", shares, r"should be a finite number of at least 0 and below 1\. ")

    def test_hidden_units(self, make):
        self.refuse(make, "hidden_units", [0, 2.5, "64", None, True], "should be an integer")
        with pytest.raises(ValueError, match=r"`hidden_units\[1\]` should be an integer of at least 1"):
            make(hidden_units=[8, 0])

    def test_hidden_units_may_be_one_integer(self, make):
        assert make(hidden_units=8).hidden_units == (8,)

    def test_label_is_the_name_by_default(self, make):
        assert make().label == "age"
        assert make(label="years").label == "years"


class TestLoss:
    @pytest.mark.parametrize(
        "loss", [keras.losses.Huber(), "Huber", keras.saving.serialize_keras_object(keras.losses.Huber())], ids=type
    )
    def test_takes_the_place_of_the_kinds_own(self, make, loss):
        assert not isinstance(make().loss, keras.losses.Huber)
        assert isinstance(own(make(loss=loss).loss), keras.losses.Huber)

    def test_an_instance_is_used_as_it_is(self, make):
        loss = keras.losses.Huber()
        assert own(make(loss=loss).loss) is loss

    @pytest.mark.parametrize("loss", ["mse", keras.losses.mean_squared_error])
    def test_a_bare_function_is_refused(self, make, loss):
        with pytest.raises(ValueError, match=r"`loss` should be a `keras.losses.Loss`.*'MeanSquaredError', not 'mse'"):
            make(loss=loss)

    def test_is_less_for_a_better_prediction(self, kind, make):
        _, labels, good, bad = EXAMPLES[kind]
        loss = make().loss
        assert isinstance(loss, keras.losses.Loss)
        values = [np.asarray(loss(np.array(labels), np.array(prediction))) for prediction in (good, bad)]
        assert values[0].shape == ()
        assert 0 <= values[0] < values[1]


class TestMetrics:
    def test_are_fresh(self, make):
        task = make(metrics=[keras.metrics.MeanSquaredError()])
        first, second = task.metrics, task.metrics
        assert [metric.name for metric in first] == [metric.name for metric in second]
        assert not {id(metric) for metric in first} & {id(metric) for metric in second}
        variables = [[id(v) for metric in metrics for v in metric.variables] for metrics in (first, second)]
        assert not set(variables[0]) & set(variables[1])

    def test_begin_with_the_primary_one(self, make):
        task = make(metrics=["MeanSquaredError"])
        assert isinstance(task.metrics[0], task.primary_metric_class)
        assert task.metrics[0].name == task.primary_metric
        assert [metric.name for metric in task.metrics].count(task.primary_metric) == 1

    def test_end_with_those_asked_for(self, make):
        rmse = keras.metrics.RootMeanSquaredError(name="rmse")
        rmse.update_state([1.0], [3.0])
        asked_for = [rmse, "MeanSquaredError", keras.saving.serialize_keras_object(keras.metrics.Mean(name="mean"))]
        metrics = make(metrics=asked_for).metrics
        assert len(metrics) == len(make().metrics) + 3
        assert [metric.name for metric in metrics[-3:]] == ["rmse", "mean_squared_error", "mean"]
        assert metrics[-3] is not rmse
        assert float(metrics[-3].result()) == 0

    def test_a_bare_function_is_refused(self, make):
        with pytest.raises(ValueError, match=r"`metrics` should hold `keras.metrics.Metric`s"):
            make(metrics=[keras.metrics.mean_squared_error])

    def test_the_primary_one_tells_better_from_worse(self, kind, make):
        _, labels, good, bad = EXAMPLES[kind]
        task, values = make(), []
        for prediction in (good, bad):
            metric = task.metrics[0]
            metric.update_state(np.array(labels), np.array(prediction))
            values.append(float(metric.result()))
        assert (values[0] > values[1]) is task.higher_is_better
        assert values[0] != values[1]

    def test_all_take_labels_as_they_come(self, kind, make):
        _, labels, good, _ = EXAMPLES[kind]
        for metric in make().metrics:
            metric.update_state(np.array(labels), np.array(good))
            assert np.isfinite(float(metric.result()))


class TestHead:
    @pytest.mark.parametrize("shape", [(6,), (4, 6), (1, 2, 6), (2, 2, 2, 6)])
    def test_predicts_from_vectors_and_maps(self, kind, make, shape):
        task, features = make(), keras.Input(shape)
        if task.reads_maps and len(shape) != len(MAPS[kind]):
            message = (
                rf"The task 'age' \(\w+\) reads features \(batch, .*channels\). .* {re.escape(str((None, *shape)))}"
            )
            with pytest.raises(ValueError, match=message):
                task.head(features)
            return
        prediction = task.head(features)
        assert prediction.shape == (None, *(shape[:-1] if task.reads_maps else ()), task.num_outputs)
        task.check_output(prediction.shape)
        assert prediction.dtype == "float32"
        assert keras.Model(features, prediction).layers[-1].name == "age"

    def test_has_the_hidden_layers_and_the_dropout_that_were_asked_for(self, make, shape):
        features = keras.Input(shape)
        plain = keras.Model(features, make().head(features)).layers
        model = keras.Model(features, make(hidden_units=[8, 5], dropout=0.25).head(features))
        assert len(model.layers) == len(plain) + 3
        hidden = [model.get_layer(f"age_hidden_{index}") for index in range(2)]
        assert [getattr(layer, "units", None) or layer.filters for layer in hidden] == [8, 5]
        assert model.get_layer("age_dropout").rate == 0.25

    def test_heads_of_two_tasks_stand_side_by_side(self, make, shape):
        features = keras.Input(shape)
        outputs = {name: make(name, hidden_units=4, dropout=0.5).head(features) for name in ("first", "second")}
        model = keras.Model(features, outputs)
        assert {name: value.shape for name, value in model(np.ones((2, *shape))).items()} == {
            name: (2, *(shape[:-1] if make().reads_maps else ()), make().num_outputs) for name in ("first", "second")
        }

    def test_each_call_makes_layers_of_its_own(self, make, shape):
        task, features = make(), keras.Input(shape)
        first, second = (keras.Model(features, task.head(features)) for _ in range(2))
        assert not {id(v) for v in first.variables} & {id(v) for v in second.variables}

    def test_the_prediction_is_trained_by_the_loss(self, kind, make, shape):
        labels, features = np.array(EXAMPLES[kind][1]), keras.Input(shape)
        task = make()
        model = keras.Model(features, task.head(features))
        model.compile(keras.optimizers.SGD(0.05), loss=task.loss)
        x = np.random.default_rng(0).normal(size=(4, *shape))
        values = model.fit(x, labels, epochs=5, verbose=0).history["loss"]
        assert values[-1] < values[0]


class TestLabels:
    def test_good_ones_pass(self, kind, make):
        task, labels = make(), np.array(EXAMPLES[kind][1])
        task.check_shape(labels.shape)
        task.check_dtype(labels.dtype)
        task.check_labels(labels)
        task.check_shape((None, *labels.shape[1:]))

    def test_a_batch_may_be_empty(self, kind, make):
        labels = np.array(EXAMPLES[kind][1])[:0]
        make().check_shape(labels.shape)
        make().check_labels(labels)

    def test_labels_have_the_shape_and_the_dtype_that_the_task_tells(self, kind, make):
        task = make()
        shape = np.shape(EXAMPLES[kind][1])[1:]
        assert task.label_shape == shape[task.num_place_axes :]
        task.check_shape((8, *shape))
        task.check_dtype(np.dtype(task.label_dtype))

    def test_one_number_may_be_a_column(self, kind, make):
        task = make()
        places = np.shape(EXAMPLES[kind][1])[1 : 1 + task.num_place_axes]
        task.check_shape((8, *places, *(task.label_shape or (1,))))
        task.check_shape((8, *places, None))

    def test_validity_is_told_of_arrays_and_of_tensors_in_a_graph(self, kind, make):
        task, labels = make(), np.array(EXAMPLES[kind][1], make().label_dtype)
        for valid in (task.valid(labels), tf.function(task.valid)(tf.constant(labels))):
            assert np.asarray(valid).dtype == bool
            assert np.asarray(valid).shape == labels.shape
            assert np.all(valid)
        refused = labels - 9 if labels.dtype.kind == "i" else np.full_like(labels, np.inf)
        for valid in (task.valid(refused), tf.function(task.valid)(tf.constant(refused))):
            np.testing.assert_array_equal(valid, (refused >= 0) & np.isfinite(refused))

    def test_other_shapes_are_refused(self, make):
        task = make()
        shapes = [(), (8, 7), (8, 0), (8, 1, 1), (8, 7, 3), (7, 8, 8, 1)]
        if task.num_place_axes == 1:  # of any length
            shapes = [(), (8,), (8, 7, 3), (7, 8, 8, 1)]
        for shape in shapes:
            with pytest.raises(ValueError) as caught:
                make("age", label="years").check_shape(shape)
            kind = type(make()).__name__
            assert str(caught.value).startswith(f"Labels 'years' of task 'age' ({kind}) should have shape (batch")
            assert str(caught.value).endswith(f"Received: shape {shape}.")

    def test_what_is_no_number_is_refused(self, make):
        for dtype in ["complex64", "O", "U3", "S3", "M8[s]"]:
            with pytest.raises(
                ValueError, match=r"^Labels 'years' of task 'age' \(\w+\) should be of an? .* Received: dtype"
            ):
                make("age", label="years").check_dtype(np.dtype(dtype))


class TestMetricsByName:
    NAMES = ("precision", "recall", "f1", "average_precision")

    def test_work_with_the_labels_of_kinds_of_classes(self, kind, make):
        if "regression" in kind and kind != "ordinal_regression":
            pytest.skip("its labels are no classes")
        _, labels, good, bad = EXAMPLES[kind]
        task = make(metrics=self.NAMES)
        assert [metric.name for metric in task.metrics[-4:]] == list(self.NAMES)
        for better, worse in zip(task.metrics[-4:], task.metrics[-4:], strict=True):
            assert type(better).__module__.startswith(metrics.__name__)
            better.update_state(np.array(labels), np.array(good))
            worse.update_state(np.array(labels), np.array(bad))
            assert float(better.result()) == pytest.approx(1.0)
            assert 0 <= float(worse.result()) < 0.95

    def test_survive_the_config(self, kind, make):
        if "regression" in kind and kind != "ordinal_regression":
            pytest.skip("its labels are no classes")
        task = make(metrics=self.NAMES)
        found = type(task).from_config(task.get_config())
        assert [metric.get_config() for metric in found.metrics] == [metric.get_config() for metric in task.metrics]


class TestOutput:
    def test_other_shapes_are_refused(self, kind, make):
        task = make()
        task.check_output((None, *np.shape(EXAMPLES[kind][2])[1:]))
        for shape in ((), (None,), (None, 7), (None, 9, 9, 9, 9)):
            with pytest.raises(
                ValueError, match=r"^The output of task 'age' should have shape \(batch, .* Received: \("
            ):
                task.check_output(shape)
