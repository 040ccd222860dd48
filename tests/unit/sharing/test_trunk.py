"""Levels of a backbone, copies of it, and the stages between the levels."""

import keras
import numpy as np
import pytest

from keras_mtl import backbones, sharing
from keras_mtl.sharing._trunk import needs_several, needs_trunk
from keras_mtl.tasks import Regression


def dense(name, units=4, **arguments):
    return keras.layers.Dense(units, name=name, **arguments)


def trunk_of(model, *names):
    return sharing.Trunk({name: model.get_layer(name).output for name in names})


def copy_model(trunk, model, reader="a", weights="copied"):
    return keras.Model(model.input, list(trunk.copy_for(reader, weights).values())[-1])


def some(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


@pytest.fixture
def chain():
    inputs = keras.Input((3,))
    x = dense("low", activation="tanh")(inputs)
    return keras.Model(inputs, dense("high", 2)(x))


class TestLevels:
    def test_of_maps_the_last_of_each_size(self):
        model = backbones.get("convolutional", input_shape=(8, 8, 1)).build()
        shapes = {name: tensor.shape[1:] for name, tensor in sharing.levels(model).items()}
        assert shapes == {"conv_0": (8, 8, 32), "conv_1": (4, 4, 64), "conv_2": (2, 2, 128)}

    def test_of_vectors_those_that_a_dense_layer_reads(self):
        model = backbones.get("mlp", input_shape=(3,)).build()
        assert list(sharing.levels(model)) == ["dense_0", "dense_1"]

    def test_the_output_is_last(self):
        inputs = keras.Input((3,))
        x = keras.layers.Dropout(0.5, name="dropout")(dense("dense")(inputs))
        assert list(sharing.levels(keras.Model(inputs, x))) == ["dropout"]

    def test_what_is_within_a_branch_is_no_level(self):
        inputs = keras.Input((8, 8, 3))
        x = keras.layers.Conv2D(4, 3, padding="same", name="first")(inputs)
        around = keras.layers.Conv2D(4, 3, padding="same", name="within")(x)
        x = keras.layers.Add(name="sum")([x, around])
        x = keras.layers.Conv2D(4, 3, strides=2, name="last")(x)
        assert list(sharing.levels(keras.Model(inputs, x))) == ["sum", "last"]

    @pytest.mark.parametrize("order", [1, -1])
    def test_no_level_stands_before_an_input_that_comes_in_late(self, order):
        x, z = keras.Input((3,), name="x"), keras.Input((4,), name="z")
        low = dense("low")(x)
        joined = keras.layers.Concatenate(name="joined")([dense("high")(low), z][::order])
        assert list(sharing.levels(keras.Model([x, z], dense("top")(joined)))) == ["joined", "top"]

    def test_of_an_architecture_of_keras(self):
        model = backbones.get("ResNet50", input_shape=(64, 64, 3)).build()
        sizes = [tensor.shape[1] for tensor in sharing.levels(model).values()]
        assert sizes == [32, 16, 8, 4, 2]


class TestCopies:
    def test_predict_what_the_backbone_predicts(self, chain):
        copy = copy_model(trunk_of(chain, "high"), chain)
        np.testing.assert_array_equal(copy(some(5, 3)), chain(some(5, 3)))
        assert [layer.name for layer in copy.layers[1:]] == ["low_a", "high_a"]

    def test_have_variables_of_their_own(self, chain):
        trunk = trunk_of(chain, "high")
        first, second = (copy_model(trunk, chain, reader) for reader in ("a", "b"))
        ids = [id(weight) for model in (chain, first, second) for weight in model.weights]
        assert len(ids) == len(set(ids)) == 12

    def test_own_weights_are_drawn_anew(self, chain):
        trunk = trunk_of(chain, "high")
        kernels = [
            copy_model(trunk, chain, reader, "own").get_layer(f"low_{reader}").get_weights()[0] for reader in "ab"
        ]
        kernels.append(chain.get_layer("low").get_weights()[0])
        for first, second in ((0, 1), (0, 2), (1, 2)):
            assert np.abs(kernels[first] - kernels[second]).min() > 1e-6

    def test_all_levels_are_copied_at_once(self, chain):
        found = trunk_of(chain, "low", "high").copy_for("a")
        assert list(found) == ["low", "high"]
        assert len(keras.Model(chain.input, list(found.values())).layers) == 3

    def test_other_weights_are_refused(self, chain):
        with pytest.raises(ValueError, match=r"`weights` should be one of \['copied', 'own'\]. Received: weights='x'"):
            trunk_of(chain, "high").copy_for("a", "x")

    @pytest.mark.parametrize("weights", ["copied", "own"])
    def test_the_preparation_is_shared(self, weights):
        inputs = keras.Input((3,))
        adapted = keras.layers.Normalization(name="adapted")
        adapted.adapt(some(50, 3) * 5 + 2)
        x = keras.layers.Rescaling(2.0, name="rescaling")(adapted(inputs))
        model = keras.Model(inputs, dense("dense")(x))
        trunk = trunk_of(model, "dense")
        copy = copy_model(trunk, model, weights=weights)
        assert copy.get_layer("adapted") is adapted
        assert copy.get_layer("rescaling") is model.get_layer("rescaling")
        assert trunk.layers == ["dense"]
        assert trunk.prepared == [x]

    @pytest.mark.parametrize("weights", ["copied", "own"])
    @pytest.mark.parametrize("nested", [False, True])
    def test_statistics_of_a_normalization_are_kept(self, weights, nested):
        inputs = keras.Input((3,))
        adapted = keras.layers.Normalization(name="adapted")
        adapted.adapt(some(50, 3) * 5 + 2)
        part = keras.Sequential([dense("inner", 3), adapted], name="part") if nested else adapted
        model = keras.Model(inputs, part(dense("dense", 3)(inputs)))
        copy = copy_model(trunk_of(model, part.name), model, weights=weights)
        copied = copy.get_layer(f"{part.name}_a")
        copied = copied.get_layer("adapted") if nested else copied
        assert copied is not adapted
        np.testing.assert_allclose(copied(some(4, 3)), adapted(some(4, 3)), atol=1e-6)
        is_same = np.allclose(copy(some(4, 3)), model(some(4, 3)), atol=1e-6)
        assert is_same == (weights == "copied")

    def test_moving_statistics_are_kept(self):
        inputs = keras.Input((3,))
        normalization = keras.layers.BatchNormalization(name="normalization")
        model = keras.Model(inputs, normalization(dense("dense")(inputs)))
        normalization.set_weights([some(4), some(4), some(4), some(4) ** 2])
        copy = copy_model(trunk_of(model, "normalization"), model)
        np.testing.assert_allclose(copy(some(4, 3)), model(some(4, 3)), atol=1e-6)

    def test_a_layer_that_is_used_twice_is_copied_once(self):
        inputs = keras.Input((4,))
        twice = dense("twice", activation="tanh")
        model = keras.Model(inputs, dense("top")(twice(twice(inputs))))
        copy = copy_model(trunk_of(model, "top"), model)
        assert [layer.name for layer in copy.layers[1:]] == ["twice_a", "top_a"]
        np.testing.assert_allclose(copy(some(2, 4)), model(some(2, 4)), atol=1e-6)

    def test_nested_models(self):
        inner_inputs = keras.Input((4,))
        inner = keras.Model(inner_inputs, dense("inner_2")(dense("inner_1")(inner_inputs)), name="inner")
        inputs = keras.Input((3,))
        model = keras.Model(inputs, keras.Sequential([dense("last")], name="outer")(inner(dense("dense")(inputs))))
        trunk = trunk_of(model, "outer")
        copy = copy_model(trunk, model)
        np.testing.assert_allclose(copy(some(2, 3)), model(some(2, 3)), atol=1e-6)
        assert trunk.layers == ["dense", "inner", "outer"]
        assert [layer.name for layer in copy.layers[1:]] == ["dense_a", "inner_a", "outer_a"]
        other = copy_model(trunk, model, "b", "own")
        assert np.abs(other(some(2, 3)) - model(some(2, 3))).max() > 1e-3

    def test_several_inputs(self):
        x, z = keras.Input((3,), name="x"), keras.Input((2,), name="z")
        joined = keras.layers.Concatenate(name="joined")([dense("left")(x), z])
        model = keras.Model([x, z], dense("top")(joined))
        copy = copy_model(trunk_of(model, "top"), model)
        np.testing.assert_allclose(copy([some(2, 3), some(2, 2)]), model([some(2, 3), some(2, 2)]), atol=1e-6)
        assert [layer.name for layer in copy.layers if layer.weights] == ["left_a", "top_a"]

    def test_operations_without_weights_are_called_again(self):
        inputs = keras.Input((3,))
        model = keras.Model(inputs, keras.ops.tanh(dense("dense")(inputs)) * 2.0)
        copy = keras.Model(inputs, sharing.Trunk({"out": model.output}).copy_for("a")["out"])
        np.testing.assert_allclose(copy(some(2, 3)), model(some(2, 3)), atol=1e-6)

    def test_regularizers_constraints_and_frozen_layers_are_kept(self):
        inputs = keras.Input((3,))
        layer = dense("dense", kernel_regularizer="l2", activity_regularizer="l1", kernel_constraint="non_neg")
        layer.trainable = False
        normalization = keras.layers.BatchNormalization(dtype="mixed_float16", name="normalization")
        model = keras.Model(inputs, normalization(layer(inputs)))
        found = copy_model(trunk_of(model, "normalization"), model).get_layer("dense_a")
        assert isinstance(found.kernel_regularizer, keras.regularizers.L2)
        assert isinstance(found.activity_regularizer, keras.regularizers.L1)
        assert isinstance(found.kernel_constraint, keras.constraints.NonNeg)
        assert not found.trainable
        copy = copy_model(trunk_of(model, "normalization"), model, "b").get_layer("normalization_b")
        assert copy.dtype_policy.name == "mixed_float16"

    def test_inputs_can_be_replaced(self, chain):
        other = keras.Input((3,))
        found = trunk_of(chain, "high").copy_for("a", inputs=[other])
        np.testing.assert_allclose(keras.Model(other, found["high"])(some(2, 3)), chain(some(2, 3)), atol=1e-6)

    def test_a_subclassed_model_with_a_config(self):
        layer = _WithConfig(5)
        inputs = keras.Input((3,))
        model = keras.Model(inputs, layer(inputs))
        copy = copy_model(trunk_of(model, layer.name), model)
        np.testing.assert_allclose(copy(some(2, 3)), model(some(2, 3)), atol=1e-6)

    @pytest.mark.parametrize("arguments", [(), (object(),)])
    def test_a_subclassed_model_that_cannot_be_copied(self, arguments):
        layer = _WithoutConfig(*arguments)
        inputs = keras.Input((3,))
        trunk = sharing.Trunk({"out": layer(inputs)})
        with pytest.raises(ValueError, match="cannot be made from its config. Received: a _WithoutConfig; Keras says"):
            trunk.copy_for("a")


class _WithConfig(keras.Model):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.inner = keras.layers.Dense(units)

    def call(self, inputs):
        return self.inner(inputs)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class _WithoutConfig(keras.Model):
    def __init__(self, thing=None):
        super().__init__()
        self.inner = keras.layers.Dense(2)

    def call(self, inputs):
        return self.inner(inputs)


class TestStages:
    def test_lead_from_level_to_level(self, chain):
        first, second = trunk_of(chain, "low", "high").stages("test")
        assert (first.name, second.name) == ("low", "high")
        low = first.copy_for("a")
        high = second.copy_for("b", [low])
        copy = keras.Model(chain.input, high)
        np.testing.assert_allclose(copy(some(2, 3)), chain(some(2, 3)), atol=1e-6)
        assert [layer.name for layer in copy.layers[1:]] == ["low_a", "high_b"]

    def test_own_weights(self, chain):
        (stage,) = trunk_of(chain, "high").stages("test")
        kernels = [keras.Model(chain.input, stage.copy_for(reader, weights="own")).get_weights()[0] for reader in "ab"]
        assert np.abs(kernels[0] - kernels[1]).min() > 1e-6

    def test_a_layer_that_is_used_in_two_stages_stays_one(self):
        inputs = keras.Input((4,))
        twice = dense("twice", activation="tanh")
        low = twice(inputs)
        model = keras.Model(inputs, dense("top")(twice(keras.layers.Activation("relu", name="middle")(low))))
        first, second = trunk_of(model, "middle", "top").stages("test")
        outputs = {reader: second.copy_for(reader, [first.copy_for(reader)]) for reader in "ab"}
        copy = keras.Model(inputs, outputs)
        assert len([layer for layer in copy.layers if layer.name.startswith("twice")]) == 2
        np.testing.assert_allclose(copy(some(2, 4))["b"], model(some(2, 4)), atol=1e-6)

    def test_begin_behind_the_preparation(self):
        x, z = keras.Input((3,), name="x"), keras.Input((2,), name="z")
        rescaled = keras.layers.Rescaling(2.0, name="rescaling")(x)
        joined = keras.layers.Concatenate(name="joined")([dense("left")(rescaled), dense("right")(z)])
        model = keras.Model([x, z], dense("top")(joined))
        first, second = trunk_of(model, "joined", "top").stages("test")
        assert {source.shape for source in first.sources} == {(None, 3), (None, 2)}
        copy = keras.Model([x, z], second.copy_for("a", [first.copy_for("a")]))
        assert copy.get_layer("rescaling") is model.get_layer("rescaling")
        np.testing.assert_allclose(copy([some(2, 3), some(2, 2)]), model([some(2, 3), some(2, 2)]), atol=1e-6)

    def test_a_way_around_a_level_is_refused_with_the_levels_that_there_are(self):
        inputs = keras.Input((4,), name="x")
        low = dense("low")(inputs)
        model = keras.Model(inputs, keras.layers.Add(name="sum")([low, dense("high")(low)]))
        with pytest.raises(ValueError, match=r"`test` .* level 'high', around which .* `features` of \['low', 'sum'\]"):
            trunk_of(model, "low", "high", "sum").stages("test")

    def test_an_input_around_a_level_is_a_way_around(self):
        x, z = keras.Input((3,), name="x"), keras.Input((4,), name="z")
        model = keras.Model([x, z], keras.layers.Add(name="sum")([dense("low")(x), z]))
        with pytest.raises(ValueError, match="level 'low', around which"):
            trunk_of(model, "low", "sum").stages("test")

    def test_a_level_before_all_weights_is_refused(self):
        inputs = keras.Input((3,))
        model = keras.Model(inputs, dense("dense")(keras.layers.Rescaling(2.0, name="rescaling")(inputs)))
        with pytest.raises(ValueError, match="level 'rescaling', which stands before all of them"):
            trunk_of(model, "rescaling", "dense").stages("test")

    def test_unknown_sizes_are_refused_where_levels_are_found_by_size(self):
        model = backbones.get("MobileNetV3Small").build()
        with pytest.raises(ValueError, match="sizes of its maps are not. .* Give `build_model` an `input_shape`"):
            sharing.Trunk(sharing.levels(model)).stages("test")


class TestNeeds:
    def test_a_trunk(self, chain):
        trunk = trunk_of(chain, "high")
        assert needs_trunk(trunk, "test") is trunk
        with pytest.raises(ValueError, match="`test` copies .* a `sharing.Trunk`. Received: a dict"):
            needs_trunk(dict(trunk), "test")

    def test_weights(self):
        inputs = keras.Input((3,))
        adapted = keras.layers.Normalization(name="adapted")
        adapted.adapt(some(50, 3))
        with pytest.raises(ValueError, match=r"without any, with the levels \['adapted'\]"):
            needs_trunk(sharing.Trunk({"adapted": adapted(inputs)}), "test")

    def test_several_tasks(self):
        assert needs_several([Regression("a"), Regression("b")], "test") == ["a", "b"]
        with pytest.raises(ValueError, match=r"`test` connects .* Received: \['a'\]"):
            needs_several([Regression("a")], "test")


def test_statistics_within_a_wrapper_are_copied():
    inputs = keras.Input((3, 2))
    normalization = keras.layers.Normalization()
    normalization.adapt(np.random.default_rng(0).normal(5, 3, (40, 2)))
    x = keras.layers.Dense(2, name="first")(inputs)
    x = keras.layers.TimeDistributed(normalization)(x)
    model = keras.Model(inputs, keras.layers.Dense(2, name="last")(x))
    trunk = sharing.Trunk(sharing.levels(model))
    copied = keras.Model(inputs, trunk.copy_for("a")["last"])
    x = np.random.default_rng(1).normal(size=(4, 3, 2)).astype("float32")
    np.testing.assert_allclose(copied(x), model(x), atol=1e-5)
