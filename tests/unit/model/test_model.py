"""`MultiTaskModel`: construction, compile, logs, configuration."""

import warnings

import keras
import numpy as np
import pytest

from keras_mtl import MultiTaskModel, balancers, build_model, engine, losses, tasks
from tests.models import three_task_model, two_task_data, two_task_graph, two_task_model


def kinds():
    return [tasks.Classification("a", 4), tasks.Regression("b")]


def test_it_is_a_functional_keras_model_with_dict_outputs():
    model = two_task_model()
    assert isinstance(model, keras.Model)
    assert list(model.output) == ["a", "b"]
    predictions = model.predict(two_task_data(8)[0], verbose=0)
    assert {name: value.shape for name, value in predictions.items()} == {"a": (8, 4), "b": (8, 1)}
    assert model.get_layer("trunk").units == 16


@pytest.mark.parametrize(
    ("outputs", "given", "message"),
    [
        (lambda o: o, [tasks.Regression("b")], r"keys of `outputs` should be \['b'\]. Received: \['a', 'b'\]"),
        (lambda o: {"a": o["a"]}, kinds(), r"absent: \['b'\]"),
        (lambda o: list(o.values()), kinds(), "`outputs` should be a dict of tensors by task name. Received: list"),
        (
            lambda o: o,
            [tasks.Classification("a", 5), tasks.Regression("b")],
            r"output of task 'a' should have shape \(batch, 5\). Received: \(None, 4\)",
        ),
    ],
)
def test_outputs_that_do_not_fit_the_tasks(outputs, given, message):
    inputs, graph = two_task_graph()
    with pytest.raises(ValueError, match=message):
        MultiTaskModel(inputs, outputs(graph), given)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"balancer": "pcgard"},
            "Unknown balancer: 'pcgard'. Did you mean 'pcgrad'.* The known ones are: aligned_mtl, .*, upgrad",
        ),
        ({"balancer": ["pcgrad", "uncertainty"]}, "a list of a loss balancer followed by a gradient balancer"),
        ({"balancer": ["equal", "uncertainty"]}, "a list of a loss balancer followed by a gradient balancer"),
        ({"balancer": []}, "a list of a loss balancer followed by a gradient balancer"),
        ({"balancer": 3}, "A balancer should be a name"),
        ({"balancer": lambda: balancers.Fixed({"a": -1.0, "b": 1.0})}, r"weights\['a'\].* at least 0"),
        ({"balancer": lambda: balancers.Fixed({"a": 1.0})}, r"tasks of the balancer `Fixed` .*absent: \['b'\]"),
        ({"loss": {"c": "MeanSquaredError"}}, r"`loss` should be a dict by task, of \['a', 'b'\]. Received: \['c'\]"),
        ({"loss": "MeanSquaredError"}, "`loss` should be a dict by task"),
        ({"loss": {"b": "mse"}}, r"loss of task 'b' .*\('MeanSquaredError', not 'mse'\)"),
        ({"metrics": ["mae"]}, "`metrics` should be a dict by task"),
        ({"loss_weights": {"a": 2.0}}, "Give the tasks a `weight`, or pass balancer=balancers.Fixed"),
    ],
)
def test_compile_refuses(arguments, message):
    model = two_task_model()
    with pytest.raises(ValueError, match=message):
        model.compile("adam", **{key: value() if callable(value) else value for key, value in arguments.items()})


@pytest.mark.parametrize("name", ["uncertainty", "pcgrad", "sum", "mean"])
def test_a_balancer_for_one_task_is_warned_about(name):
    model = build_model("mlp", [tasks.Regression("only")], input_shape=(3,))
    with pytest.warns(UserWarning, match="this model has one, 'only': it costs time and brings nothing"):
        model.compile("sgd", balancer=name)


@pytest.mark.parametrize("name", ["equal", "fixed"])
def test_plain_weights_for_one_task_are_fine(name):
    model = build_model("mlp", [tasks.Regression("only")], input_shape=(3,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.compile("sgd", balancer=name)


def test_an_only_task_bears_its_name_in_the_logs():
    model = build_model("mlp", [tasks.BinaryClassification("only")], input_shape=(3,))
    model.compile("sgd")
    x, y = np.ones((8, 3)), {"only": np.arange(8) % 2}
    logs = model.fit(x, y, validation_data=(x, y), verbose=0).history
    own = {"loss", "only_loss", "only_auc", "only_accuracy"}
    assert logs.keys() == own | {f"val_{key}" for key in own}
    assert model.evaluate(x, y, return_dict=True, verbose=0).keys() == own
    assert len(model.evaluate(x, y, verbose=0)) == 4
    assert model.train_on_batch(x, y, return_dict=True).keys() == own


def test_compiling_again_replaces_the_balancer_and_its_variables():
    model = two_task_model()
    plain = len(model.trainable_variables)
    model.compile("adam", balancer=["uncertainty", "pcgrad"])
    assert len(model.trainable_variables) == plain + 1
    assert isinstance(model.gradient_balancer, balancers.PCGrad)
    x, y = two_task_data(16)
    model.compile("adam", balancer="pcgrad")
    assert len(model.trainable_variables) == plain
    model.fit(x, y, verbose=0)
    model.compile("adam", balancer="fixed")
    assert len(model.trainable_variables) == plain
    assert model.gradient_balancer is None
    assert isinstance(model.loss_balancer, balancers.Fixed)
    model.fit(x, y, verbose=0)


def test_a_config_or_an_instance_is_a_balancer_too():
    model = two_task_model()
    config = keras.saving.serialize_keras_object(balancers.PCGrad(seed=5))
    model.compile("adam", balancer=config)
    assert model.gradient_balancer.seed == 5
    balancer = balancers.Uncertainty()
    model.compile("adam", balancer=balancer)
    assert model.loss_balancer is balancer
    assert model.loss_balancer.log_variance.shape == (2,)


def test_losses_and_metrics_of_compile_replace_those_of_the_tasks():
    model = two_task_model()
    model.compile("adam", loss={"b": keras.losses.MeanAbsoluteError()}, metrics={"b": ["mse"], "a": ["accuracy"]})
    x, y = two_task_data(32)
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    assert logs.keys() == {"loss", "a_loss", "b_loss", "a_accuracy", "b_mse"}
    error = np.abs(model.predict(x, verbose=0)["b"][:, 0] - y["b"])
    assert logs["b_loss"] == pytest.approx(error.mean(), rel=1e-5)
    assert isinstance(model.loss["b"], keras.losses.MeanAbsoluteError)


def test_a_balanced_loss_is_refused():
    by_task, _ = losses.balanced({"a": "sparse_categorical_crossentropy", "b": "mse"}, "uncertainty")
    with pytest.raises(ValueError, match=r"balanced losses of the tasks \['b'\]. Give it plain ones"):
        two_task_model().compile("adam", loss={"b": by_task["b"]})
    with pytest.raises(ValueError, match="for plain Keras models"):
        build_model("mlp", [tasks.Regression("b", loss=by_task["b"])], input_shape=(6,)).compile("adam")


class FourthPower(keras.losses.Loss):
    """A user's, which is not registered, and whose config does not have its scale."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def call(self, y_true, y_pred):
        return self.scale * keras.ops.mean((y_true - y_pred) ** 4, axis=-1)


def test_a_loss_of_the_users_own_class():
    model = two_task_model()
    model.compile("adam", loss={"b": FourthPower(3.0)})
    x, y = two_task_data(32)
    error = model.predict(x, verbose=0)["b"][:, 0] - y["b"]
    assert model.evaluate(x, y, verbose=0, return_dict=True)["b_loss"] == pytest.approx(3 * (error**4).mean(), rel=1e-5)
    assert np.isfinite(model.fit(x, y, verbose=0).history["loss"]).all()


def test_fit_takes_what_keras_takes():
    x, y = two_task_data(40)
    model = two_task_model()
    model.compile("adam")
    history = model.fit(x, y, 10, 2, 0, None, 0.25, sample_weight=np.ones(40)).history
    assert len(history["val_loss"]) == 2
    with pytest.raises(TypeError, match="unexpected keyword argument 'bath_size'"):
        model.fit(x, y, bath_size=10)


def test_validation_data_are_checked_once(monkeypatch):
    x, y = two_task_data(40)
    model = two_task_model()
    model.compile("adam")
    checked = []
    monkeypatch.setattr(engine, "checked", lambda tasks, x, y, **options: checked.append(len(x)) or x)
    model.fit(x, y, validation_data=(x[:8], {key: value[:8] for key, value in y.items()}), epochs=3, verbose=0)
    assert checked == [40, 8]


def test_config_round_trip_and_cloning():
    model = two_task_model(a={"weight": 2.0})
    copy = MultiTaskModel.from_config(model.get_config())
    assert copy.name == model.name
    assert [task.get_config() for task in copy.tasks] == [task.get_config() for task in model.tasks]
    clone = keras.models.clone_model(model)
    assert clone.count_params() == model.count_params()


def test_parts_of_the_model_are_read_off_the_graph():
    parts = two_task_model().partition
    assert [variable.path for variable in parts.shared] == [
        "trunk/kernel",
        "trunk/bias",
        "trunk_2/kernel",
        "trunk_2/bias",
    ]
    assert [variable.path for variable in parts.specific["a"]] == ["a/kernel", "a/bias"]
    assert len(parts.specific["b"]) == 4


def test_several_inputs():
    left, right = keras.Input((3,), name="left"), keras.Input((2,), name="right")
    trunk = keras.layers.Dense(4)(keras.layers.Concatenate()([left, right]))
    outputs = {name: keras.layers.Dense(1, name=name)(trunk) for name in ("p", "q")}
    model = MultiTaskModel({"left": left, "right": right}, outputs, [tasks.Regression("p"), tasks.Regression("q")])
    model.compile("sgd", balancer="pcgrad")
    x = {"left": np.ones((8, 3)), "right": np.ones((8, 2))}
    model.fit(x, {"p": np.ones(8), "q": np.zeros(8)}, verbose=0)
    copy = MultiTaskModel.from_config(model.get_config())
    assert sorted(copy.input) == ["left", "right"]


@pytest.mark.parametrize("name", balancers.names())
def test_a_balancer_belongs_to_one_model(name):
    balancer = balancers.get(name)
    model = three_task_model()
    model.compile("sgd", balancer=balancer)
    model.compile("sgd", balancer=balancer)
    other = three_task_model()
    with pytest.raises(ValueError, match="belongs to the model .* already.*Give each model a balancer of its own"):
        other.compile("sgd", balancer=balancer)


def test_an_output_of_more_dimensions_than_its_task():
    x = keras.Input((5, 3))
    with pytest.raises(ValueError, match=r"should have shape \(batch, 1\). Received: \(None, 5, 1\)"):
        MultiTaskModel(x, {"a": keras.layers.Dense(1)(x)}, [tasks.Regression("a")])


def test_a_py_dataset_is_shuffled_as_in_keras():
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 30

        def __getitem__(self, index):
            seen.append(index)
            return np.ones((2, 6)), {"a": np.zeros(2, int), "b": np.ones(2)}

    seen = []
    model = two_task_model()
    model.compile("sgd")
    model.fit(Batches(), verbose=0)
    assert sorted(seen[-30:]) == list(range(30))  # what comes before is looked at and put back
    assert seen[-30:] != list(range(30))


def test_a_fixed_size_of_the_batch():
    inputs = keras.Input(batch_shape=(4, 3, 2))
    trunk = keras.layers.GRU(5, stateful=True)(inputs)
    outputs = {
        "a": keras.layers.Dense(1, activation="sigmoid", name="a")(trunk),
        "b": keras.layers.Dense(3, activation="sigmoid", name="b")(trunk),
    }
    model = MultiTaskModel(inputs, outputs, [tasks.BinaryClassification("a"), tasks.MultiLabelClassification("b", 3)])
    model.compile("sgd", balancer="sum")
    labels = {"a": np.ones(8), "b": np.ones((8, 3))}
    history = model.fit(np.ones((8, 3, 2)), labels, batch_size=4, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_many_classes_in_small_integers():
    model = build_model("mlp", [tasks.Classification("c", 256), tasks.Regression("b")], input_shape=(3,))
    model.compile("sgd")
    labels = {"c": np.arange(40, dtype="uint8"), "b": np.ones(40)}
    model.fit(np.ones((40, 3)), labels, verbose=0)
    import tensorflow as tf

    model.fit(tf.data.Dataset.from_tensor_slices((np.ones((40, 3)), labels)).batch(10), verbose=0)


def test_sample_weights_in_a_tuple():
    import tensorflow as tf

    x, y = two_task_data(40)
    weights = (np.ones(40, "float32"), np.zeros(40, "float32"))
    model = two_task_model()
    model.compile("sgd")
    with pytest.raises(ValueError, match="or a dict of such tensors.*Received: a tuple of 2"):
        model.fit(tf.data.Dataset.from_tensor_slices((x, y, weights)).batch(10), verbose=0)


def test_what_has_no_config_is_compiled_and_trained_with():
    class Halving(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.1 * 0.5 ** keras.ops.cast(step, "float32")

    model = two_task_model()
    model.compile(keras.optimizers.SGD(Halving()))
    x, y = two_task_data(32)
    assert np.isfinite(model.fit(x, y, verbose=0).history["loss"]).all()
