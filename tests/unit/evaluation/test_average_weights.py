"""The mean of weights is their mean, and greedy takes no member that hurts."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import MultiTaskModel, backbones, build_model, tasks
from keras_mtl.evaluation import average_weights
from tests.models import two_task_data, two_task_model


def normalized(seed=0, units=8, activation="relu", rate=0.2, norm=True, layer=None):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((6,))
    x = keras.layers.Dense(units, activation=activation)(inputs)
    x = keras.layers.BatchNormalization()(x) if norm else keras.layers.LayerNormalization()(x)
    x = keras.layers.Dropout(rate)(x)
    x = x if layer is None else layer(x)
    outputs = {"a": keras.layers.Dense(4, activation="softmax")(x), "b": keras.layers.Dense(1)(x)}
    return MultiTaskModel(inputs, outputs, [tasks.Classification("a", 4), tasks.Regression("b")])


def random_members(number=3):
    found = []
    for seed in range(number):
        model, rng = normalized(seed, rate=0.1 * seed), np.random.default_rng(seed)
        model.set_weights([rng.uniform(0.5, 1, value.shape) for value in model.get_weights()])
        found.append(model)
    return found


def assert_mean_of(model, members):
    for value, *others in zip(model.get_weights(), *(member.get_weights() for member in members), strict=True):
        np.testing.assert_allclose(value, np.mean(others, axis=0), atol=1e-6)


def test_the_mean_of_all_weights_and_moving_statistics():
    members = random_members()
    before = [model.get_weights() for model in members]
    mean = average_weights(members, name="soup")
    assert type(mean) is MultiTaskModel
    assert mean.name == "soup"
    assert not mean.compiled
    assert len(mean.get_weights()) == 10  # moving statistics among them
    assert_mean_of(mean, members)
    for model, weights in zip(members, before, strict=True):
        for first, second in zip(model.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(first, second)
    x = two_task_data(10)[0]
    assert np.isfinite(mean.predict(x, verbose=0)["b"]).all()


@keras.saving.register_keras_serializable("tests")
class Counter(keras.layers.Layer):
    """Has a weight that is an integer."""

    def build(self, shape):
        self.count = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False, name="count")

    def call(self, inputs):
        return inputs


def test_integers_and_random_states_are_the_first_members():
    members = []
    for steps in (3, 5):
        model = normalized(layer=Counter())
        model.layers[4].count.assign(steps)
        model(np.ones((2, 6), "float32"), training=True)  # moves the stream of dropout
        for _ in members:
            model(np.ones((2, 6), "float32"), training=True)
        members.append(model)
    mean = average_weights(members)

    def states(model):
        graph = keras.Model(model.input, model.output)
        return [np.array(variable).tolist() for variable in graph.variables if "int" in variable.dtype]

    assert len(states(mean)) == 2
    assert states(mean) == states(members[0])
    assert all(first != second for first, second in zip(states(members[0]), states(members[1]), strict=True))


def test_a_balancers_weights_are_no_part_of_it():
    members = random_members(2)
    members[0].compile("adam", balancer="uncertainty")
    members[1].compile("sgd", balancer="pcgrad")
    mean = average_weights(members)
    assert_mean_of(mean, random_members(2))


def test_files(tmp_path):
    members = random_members()
    members[0].compile("adam", balancer="uncertainty")
    members[0].save(tmp_path / "first.keras")
    members[1].compile("adam", balancer=["uncertainty", "pcgrad"])  # as a checkpoint is of a compiled model
    members[1].save_weights(tmp_path / "second.weights.h5")
    mean = average_weights([str(tmp_path / "first.keras"), tmp_path / "second.weights.h5", members[2]])
    assert_mean_of(mean, random_members())


def test_vocabularies_come_along():
    texts = tf.constant(["so good", "not so good", "bad"])
    text = backbones.Text(encoder="convolutional").adapt(texts)
    members = [build_model(text, [tasks.Regression("a"), tasks.Regression("b")]) for _ in range(2)]
    mean = average_weights(members)
    assert_mean_of(mean, members)
    found = [model.predict(texts, verbose=0)["a"] for model in (mean, *members)]
    assert all(np.isfinite(each).all() for each in found)
    assert np.ptp(found[0]) > 0


def perturbed(noises):
    """Members around a trained model: the noise of each."""
    x, y = two_task_data(400)
    base = two_task_model()
    base.compile(keras.optimizers.Adam(0.02))
    base.fit(x, y, epochs=15, verbose=0)
    rng, found = np.random.default_rng(0), []
    for noise in noises:
        model = two_task_model()
        model.set_weights([value + noise * rng.normal(size=value.shape) for value in base.get_weights()])
        found.append(model)
    return found, two_task_data(300, seed=1)


def scores(model, data):
    judge = MultiTaskModel(model.input, model.output, model.tasks)
    judge.compile("sgd")
    logs = judge.evaluate(*data, verbose=0, return_dict=True)
    return {"a": logs["a_accuracy"], "b": logs["b_mae"]}


def test_greedy_leaves_out_what_hurts_and_is_no_worse_than_the_best(caplog):
    members, data = perturbed([0.08, 2.0, 0.08, 0.08])
    with caplog.at_level("INFO", logger="keras_mtl"):
        soup = average_weights(members, "greedy", data)
    every = [scores(member, data) for member in members]
    best = {"a": max(each["a"] for each in every), "b": min(each["b"] for each in every)}

    def score(found):
        return (found["a"] / best["a"] - found["b"] / best["b"]) / 2

    assert score(scores(soup, data)) >= max(map(score, every))
    taken = eval(caplog.records[0].getMessage().split("first: ")[1].split(", of")[0])  # noqa: S307
    assert len(taken) >= 2
    assert 1 not in taken
    assert_mean_of(soup, [members[index] for index in taken])
    dataset = tf.data.Dataset.from_tensor_slices(data).batch(50)
    again = average_weights(members, "greedy", dataset)
    assert_mean_of(again, [members[index] for index in taken])


def test_greedy_does_not_depend_on_the_order():
    members, data = perturbed([0.08, 0.08, 0.5])
    first, second = average_weights(members, "greedy", data), average_weights(members[::-1], "greedy", data)
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"units": 9}, "one architecture.*layers that differ"),
        ({"activation": "tanh"}, "one architecture.*layers that differ"),
        ({"norm": False}, "one architecture.*layers that differ"),
    ],
)
def test_other_architectures(arguments, message):
    with pytest.raises(ValueError, match=message):
        average_weights([normalized(), normalized(1, **arguments)])


def looks_up(words):
    layer = keras.layers.StringLookup(name="words")
    layer.adapt(words)
    inputs = keras.Input((3,), dtype="string")
    features = keras.layers.Flatten()(keras.layers.Embedding(4, 2)(layer(inputs)))
    return build_model(keras.Model(inputs, features), [tasks.Regression("a"), tasks.Regression("b")])


def test_other_vocabularies():
    first, same, other = (looks_up(words) for words in (["x", "y", "z"], ["x", "y", "z"], ["p", "q", "r"]))
    average_weights([first, same])
    with pytest.raises(ValueError, match="the same vocabularies.*'words'"):
        average_weights([first, other])


def test_bad_input(tmp_path):
    first, second = random_members(2)
    data = two_task_data(10)
    other = build_model("mlp", [tasks.Regression("b")], input_shape=(6,))
    deeper = two_task_model()
    weights = tmp_path / "some.weights.h5"
    normalized(units=9).save_weights(weights)
    foreign = tmp_path / "foreign.weights.h5"
    deeper.save_weights(foreign)
    (tmp_path / "model.h5").write_bytes(b"")
    keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)]).save(tmp_path / "plain.keras")
    for arguments, message in [
        (([],), "at least one model or file"),
        (("model.keras",), "at least one model or file"),
        (([first, second], "median"), "`method` should be one of"),
        (([first, second], "greedy"), "needed there. Received: method='greedy' and no data"),
        (([first, second], "uniform", data), "is for method='greedy'"),
        (([first, other],), "tasks of `models"),
        (([first, deeper],), "one architecture.*layers"),
        (([first, first],), "different models"),
        (([first, 3],), "should be a `MultiTaskModel` or the path of a file. Received: a int"),
        (([weights],), "should have a model"),
        (([first, weights],), "should have the weights of the model"),
        (([first, foreign],), "should have the weights of the model"),
        (([first, tmp_path / "absent.keras"],), "a file that is there"),
        (([first, tmp_path / "plain.keras"],), "should be the file of a `MultiTaskModel`.*of a Sequential"),
        (([first, tmp_path / "model.h5"],), "a `.keras` file of a model or a `.weights.h5` file"),
    ]:
        with pytest.raises(ValueError, match=message):
            average_weights(*arguments)


def wired(*, crossed=False, activation="relu", name=None):
    inputs = keras.Input((6,))
    low = keras.layers.Dense(8)(inputs)
    high = keras.layers.Activation(activation, name=name)(keras.layers.Dense(8)(low))
    both = keras.layers.Add()([high if crossed else low, high])
    outputs = {"a": keras.layers.Dense(1)(high), "b": keras.layers.Dense(1)(both)}
    return MultiTaskModel(inputs, outputs, [tasks.Regression("a"), tasks.Regression("b")])


def test_models_that_are_wired_in_another_way():
    average_weights([wired(), wired(name="another")])
    with pytest.raises(ValueError, match="layers that differ, or read others, such as 'add"):
        average_weights([wired(), wired(crossed=True)])
    one = wired()
    exchanged = {"a": one.output["b"], "b": one.output["a"]}
    with pytest.raises(ValueError, match="one architecture.*Received: (outputs of other|layers that differ)"):
        average_weights([one, MultiTaskModel(one.input, exchanged, one.tasks)])


def test_a_name_that_is_an_option_too():
    with pytest.raises(ValueError, match="layers that differ, or read others, such as 'relu' and 'tanh'"):
        average_weights([wired(name="relu"), wired(activation="tanh", name="tanh")])


@pytest.mark.parametrize("method", ["uniform", "greedy"])
def test_a_member_that_diverged_is_named(method, tmp_path):
    first, second = two_task_model(), two_task_model(1)
    second.get_layer("trunk").bias.assign(np.full(16, np.nan))
    data = two_task_data(20) if method == "greedy" else None
    with pytest.raises(ValueError, match=rf"NaN or infinite ones in models\[1\], '{second.name}', whose training has"):
        average_weights([first, second], method, data)
    second.save_weights(tmp_path / "bad.weights.h5")
    with pytest.raises(ValueError, match=r"in models\[1\], `.*bad.weights.h5`"):
        average_weights([first, tmp_path / "bad.weights.h5"], method, data)
