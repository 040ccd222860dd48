"""A penalty for the distance between the tasks' networks."""

import keras
import numpy as np
import pytest

import keras_mtl as mtl
from keras_mtl.sharing._soft import SoftPenalty, _trace_norm
from tests.models import largest_difference


def build(rule, names=("a", "b")):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,), name="x")
    x = keras.layers.Dense(5, activation="tanh", name="low")(inputs)
    x = keras.layers.BatchNormalization(name="normalization")(x)
    x = keras.layers.Dense(3, activation="tanh", name="high")(x)
    return mtl.build_model(keras.Model(inputs, x), [mtl.tasks.Regression(name) for name in names], sharing=rule)


def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(32, 4)).astype("float32"), {name: rng.normal(size=32) for name in "ab"}


def stacked(model, names=("a", "b")):
    """Each trainable weight of the copies, as a matrix of a row for each task."""
    layers = [[model.get_layer(f"{layer}_{name}") for name in names] for layer in ("low", "normalization", "high")]
    variables = [pair for alike in layers for pair in zip(*(layer.trainable_variables for layer in alike), strict=True)]
    return [np.stack([variable.numpy().ravel() for variable in alike]) for alike in variables]


def penalty(model):
    return float(sum(model.losses))


class TestPenalty:
    @pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c")])
    def test_l2_is_the_squared_distance_to_the_mean(self, names):
        model = build(mtl.sharing.Soft(0.3, weights="own"), names)
        found = stacked(model, names)
        assert len(found) == 6
        expected = 0.3 * sum(np.sum((rows - rows.mean(axis=0)) ** 2) for rows in found)
        assert penalty(model) == pytest.approx(expected, rel=1e-5)

    def test_l2_of_two_is_half_the_squared_distance_between_them(self):
        model = build(mtl.sharing.Soft(1.0, weights="own"))
        assert penalty(model) == pytest.approx(sum(0.5 * np.sum((a - b) ** 2) for a, b in stacked(model)), rel=1e-5)

    @pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c")])
    def test_trace_is_the_sum_of_the_singular_values(self, names):
        model = build(mtl.sharing.Soft(0.3, norm="trace", weights="own"), names)
        found = stacked(model, names)
        expected = 0.3 * sum(np.linalg.svd(rows, compute_uv=False).sum() for rows in found)
        assert penalty(model) == pytest.approx(expected, rel=1e-4)

    def test_is_zero_where_copies_are_alike(self):
        assert penalty(build(mtl.sharing.Soft(1.0))) == pytest.approx(0.0, abs=1e-9)

    def test_frozen_weights_of_all_tasks_do_not_count_and_those_of_one_do(self):
        model = build(mtl.sharing.Soft(1.0, weights="own"))
        everything = penalty(model)
        model.get_layer("low_a").trainable = False
        assert penalty(model) == pytest.approx(everything)
        model.get_layer("low_b").trainable = False
        assert penalty(model) == pytest.approx(
            sum(0.5 * np.sum((a - b) ** 2) for a, b in stacked(model)[-2:]), rel=1e-5
        )


class TestTraceNorm:
    def gradient(self, rows):
        variable = keras.Variable(rows)
        optimizer = keras.optimizers.SGD(1.0)
        model = OneVariable(variable, _trace_norm)
        model.compile(optimizer)
        model.train_on_batch(np.zeros((1, 1)), np.zeros((1, 1)))
        return rows - variable.numpy()

    def test_its_gradient_is_that_of_the_singular_values(self):
        rows = np.random.default_rng(0).normal(size=(3, 7)).astype("float32")
        left, _, right = np.linalg.svd(rows, full_matrices=False)
        np.testing.assert_allclose(self.gradient(rows), left @ right, atol=1e-4)

    @pytest.mark.parametrize("values", [np.ones((3, 4)), np.zeros((3, 4)), np.eye(3, 4), np.full((3, 4), 1e-12)])
    def test_its_gradient_is_finite_where_singular_values_are_equal_or_zero(self, values):
        gradient = self.gradient(values.astype("float32"))
        assert np.isfinite(gradient).all()
        assert np.linalg.norm(gradient, 2) <= 1.001
        if not values.any():
            assert not gradient.any()


class OneVariable(keras.Model):
    """A model whose loss is a function of one variable."""

    def __init__(self, variable, measure):
        super().__init__()
        self.variable, self.measure = variable, measure

    def call(self, inputs):
        return inputs

    def compute_loss(self, *args, **kwargs):
        return self.measure(self.variable.value)


class TestTraining:
    def fit(self, model, steps=1, rate=0.1, **arguments):
        x, y = data()
        model.compile(keras.optimizers.SGD(rate), **arguments)
        model.fit(x, y, batch_size=32, epochs=steps, verbose=0)
        return model

    def test_the_penalty_enters_once(self):
        """One step of descent differs from that without it by the gradient of the penalty."""
        models = [build(mtl.sharing.Soft(strength, weights="own")) for strength in (0.0, 0.7)]
        before = stacked(models[0])
        after = [stacked(self.fit(model)) for model in models]
        for rows, without, with_penalty in zip(before, *after, strict=True):
            expected = -0.1 * 0.7 * 2 * (rows - rows.mean(axis=0))
            np.testing.assert_allclose(with_penalty - without, expected, atol=2e-6)

    def test_it_is_in_the_logs_once(self):
        model = build(mtl.sharing.Soft(0.7, weights="own"))
        x, y = data()
        model.compile("sgd")
        logs = model.evaluate(x, y, verbose=0, return_dict=True)
        assert logs["loss"] - logs["a_loss"] - logs["b_loss"] == pytest.approx(penalty(model), rel=1e-4)
        logs = model.train_on_batch(x, y, return_dict=True)
        again = build(mtl.sharing.Soft(0.7, weights="own"))
        assert logs["loss"] - logs["a_loss"] - logs["b_loss"] == pytest.approx(penalty(again), rel=1e-4)

    def test_without_strength_it_is_independent(self):
        soft, independent = build(mtl.sharing.Soft(0.0)), build("independent")
        for model in (soft, independent):
            self.fit(model, steps=5)
        assert largest_difference(soft, independent) <= 1e-7

    def test_with_a_great_strength_the_copies_meet(self):
        model = build(mtl.sharing.Soft(100.0, weights="own"))
        apart = max(np.abs(rows[0] - rows[1]).max() for rows in stacked(model))
        self.fit(model, steps=30, rate=0.004)
        together = max(np.abs(rows[0] - rows[1]).max() for rows in stacked(model))
        assert apart > 0.5
        assert together < 0.01

    def test_the_trace_norm_lowers_the_rank(self):
        def smallest(model):
            return [np.linalg.svd(rows, compute_uv=False)[-1] for rows in stacked(model)]

        free, drawn = (self.fit(build(mtl.sharing.Soft(s, "trace", "own")), steps=30, rate=0.2) for s in (0.0, 0.3))
        assert sum(smallest(drawn)) < 0.3 * sum(smallest(free))

    def test_with_a_balancer_of_losses(self):
        model = self.fit(build(mtl.sharing.Soft(100.0, weights="own")), steps=30, rate=0.004, balancer="uncertainty")
        assert max(np.abs(rows[0] - rows[1]).max() for rows in stacked(model)) < 0.01


class TestGraph:
    def test_nothing_is_shared(self):
        assert build("soft").partition.shared == []

    def test_the_layer_has_no_weights_and_changes_nothing(self):
        model = build("soft")
        layer = model.get_layer("soft_penalty")
        assert layer.weights == []
        assert layer.layer_names["b"] == ["low_b", "normalization_b", "high_b"]
        x, _ = data()
        for name, value in model(x).items():
            np.testing.assert_array_equal(value, build("independent")(x)[name])

    @pytest.mark.parametrize("dtype", ["int32", "float32", "uint8"])
    def test_inputs_keep_their_dtype(self, dtype):
        layer = SoftPenalty({"a": []}, 1.0, "l2", dtype="mixed_float16")
        assert layer(keras.Input((3,), dtype=dtype)).dtype == dtype
        assert keras.backend.standardize_dtype(layer(np.ones((1, 3), dtype)).dtype) == dtype

    def test_on_token_ids_with_several_inputs(self):
        ids, numbers = keras.Input((5,), dtype="int32", name="ids"), keras.Input((2,), name="numbers")
        vectors = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(9, 3, mask_zero=True)(ids))
        joined = keras.layers.Dense(3)(keras.layers.Concatenate()([vectors, numbers]))
        tasks = [mtl.tasks.Regression(name) for name in "ab"]
        rule = mtl.sharing.Soft(1.0, weights="own")
        model = mtl.build_model(keras.Model([ids, numbers], joined), tasks, sharing=rule)
        assert penalty(model) > 0
        assert model([np.ones((2, 5), "int32"), np.ones((2, 2), "float32")])["a"].shape == (2, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"strength": -1.0}, "`strength` should be a finite number of at least 0. Received: strength=-1.0"),
        ({"strength": float("nan")}, "strength=nan"),
        ({"norm": "l1"}, r"`norm` should be one of \['l2', 'trace'\]. Received: norm='l1'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        mtl.sharing.Soft(**arguments)


def test_a_slice_of_one_task_trains_without_the_layers_of_the_others():
    kinds = [mtl.tasks.Regression("a"), mtl.tasks.Regression("b")]
    model = mtl.build_model(mtl.backbones.MLP(4, units=(3,)), kinds, mtl.sharing.Soft(strength=1.0, weights="own"))
    alone = mtl.MultiTaskModel(model.input, {"a": model.output["a"]}, kinds[:1])
    alone.compile("sgd")
    logs = alone.fit(np.ones((4, 4), "float32"), {"a": np.ones(4, "float32")}, verbose=0).history
    assert logs["loss"] == pytest.approx(logs["a_loss"])
