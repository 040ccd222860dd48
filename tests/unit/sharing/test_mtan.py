"""Attention masks of the tasks over the levels of a backbone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_mtl as mtl
from keras_mtl import MultiTaskModel, sharing, tasks
from keras_mtl.sharing._resizing import AverageTo
from tests.models import largest_difference, policies


def two_tasks():
    return [tasks.Classification("kind", 3), tasks.Regression("size")]


def data(number=16):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (number, 8, 8, 1)).astype("uint8")
    return x, {"kind": rng.integers(0, 3, number), "size": x.mean((1, 2, 3)).astype("float32") / 128 - 1}


def model_of(filters=(3, 4), **arguments):
    keras.utils.set_random_seed(0)
    backbone = mtl.backbones.Convolutional((8, 8, 1), filters=filters)
    return mtl.build_model(backbone, two_tasks(), sharing.MTAN(**arguments))


def on_levels(*shapes, **arguments):
    """A model of the features alone, on levels that are its inputs."""
    levels = {f"level_{index}": keras.Input(shape) for index, shape in enumerate(shapes)}
    return keras.Model(list(levels.values()), sharing.MTAN(**arguments)(levels, two_tasks()))


def randomize(model):
    """Gives batch normalization something to do."""
    rng = np.random.default_rng(0)
    for variable in model.variables:
        if "normalization" in variable.path:
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def normalized(model, name, x):
    layer = model.get_layer(name)
    scale = layer.gamma.numpy() / np.sqrt(layer.moving_variance.numpy() + layer.epsilon)
    return (x - layer.moving_mean.numpy()) * scale + layer.beta.numpy()


def attended(model, name, read, level):
    hidden = read @ np.squeeze(model.get_layer(f"{name}_hidden_conv").kernel.numpy(), (0, 1))
    hidden = np.maximum(normalized(model, f"{name}_hidden_normalization", hidden), 0)
    mask = hidden @ np.squeeze(model.get_layer(f"{name}_mask_conv").kernel.numpy(), (0, 1))
    return sigmoid(normalized(model, f"{name}_mask_normalization", mask)) * level


def carried(model, level, x):
    """The 3x3 convolution of a level, by its definition."""
    kernel = model.get_layer(f"{level}_carry_conv").kernel.numpy()
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = x.shape[1:3]
    total = sum(
        padded[:, row : row + height, column : column + width] @ kernel[row, column]
        for row in range(3)
        for column in range(3)
    )
    return np.maximum(normalized(model, f"{level}_carry_normalization", total), 0)


def pooled(x):
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).max((2, 4))


class TestDefinition:
    @pytest.mark.parametrize("units", [None, 2])
    def test_is_the_formula(self, units):
        model = on_levels((4, 4, 3), (2, 2, 5), units=units)
        randomize(model)
        rng = np.random.default_rng(0)
        first, second = rng.normal(size=(2, 4, 4, 3)).astype("float32"), rng.normal(size=(2, 2, 2, 5)).astype("float32")
        found = model([first, second])
        for task in ("kind", "size"):
            taken = attended(model, f"level_0_{task}", first, first)
            read = np.concatenate([second, pooled(carried(model, "level_1", taken))], -1)
            np.testing.assert_allclose(found[task], attended(model, f"level_1_{task}", read, second), atol=1e-5)
        assert model.get_layer("level_1_size_hidden_conv").filters == (units or 5)

    def test_one_level(self):
        model = on_levels((4, 4, 3))
        randomize(model)
        x = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype("float32")
        np.testing.assert_allclose(model([x])["kind"], attended(model, "level_0_kind", x, x), atol=1e-5)

    def test_a_mask_is_from_0_to_1(self):
        model, (x, _) = model_of(), data()
        mask = keras.Model(model.input, model.get_layer("conv_1_kind_mask").output)(x).numpy()
        assert mask.shape == (16, 4, 4, 4)
        assert 0 < mask.min() < mask.max() < 1


class TestSizes:
    @pytest.mark.parametrize(
        "shapes",
        [
            [(7, 3), (3, 4), (1, 2)],
            [(9, 7, 2), (4, 3, 3), (3, 3, 2)],
            [(4, 4, 2), (4, 4, 3)],
            [(3, 4, 2), (5, 4, 3)],
            [(5, 4, 4, 2), (2, 3, 1, 3)],
        ],
    )
    def test_any_fit(self, shapes):
        model = on_levels(*shapes)
        levels = [np.random.default_rng(0).normal(size=(2, *shape)).astype("float32") for shape in shapes]
        assert model(levels)["size"].shape == (2, *shapes[-1])

    def test_windows_cover_the_map(self):
        model = on_levels((9, 7, 1), (4, 3, 1))
        pool = model.get_layer("level_1_kind_carried")
        assert (pool.pool_size, pool.strides, pool.output.shape[1:3]) == ((3, 3), (2, 2), (4, 3))

    @pytest.mark.slow
    def test_unknown_ones_of_several_levels(self):
        inputs = keras.Input((None, None, 1))
        first = keras.layers.Conv2D(3, 3, padding="same", activation="relu", name="first")(inputs)
        second = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="second")(first)
        backbone = keras.Model(inputs, second)
        model = mtl.build_model(backbone, two_tasks(), "mtan", features=["first", "second"])
        for size in (6, 9):
            assert model(np.ones((2, size, size, 1)))["kind"].shape == (2, 3)
        model.compile("adam", jit_compile=True)
        model.fit(np.ones((4, 9, 9, 1)), {"kind": np.zeros(4, int), "size": np.ones(4)}, verbose=0)

    def test_an_unknown_one_of_a_single_level_is_refused(self):
        with pytest.raises(ValueError, match="levels .* are not known.*Give `build_model` an `input_shape`"):
            sharing.MTAN()({"level": keras.Input((None, None, 3))}, two_tasks())

    @pytest.mark.parametrize(
        "shapes", [[(8,)], [(4, 4, 3), (8,)], [(4, 4, 3), (4, 3)], [(2, 2, 2, 2, 3)], [(4, 4, None)]]
    )
    def test_what_is_no_map_is_refused(self, shapes):
        levels = {f"level_{index}": keras.Input(shape) for index, shape in enumerate(shapes)}
        with pytest.raises(ValueError, match="masks feature maps.*Received: .*level_0.*Give a backbone whose output"):
            sharing.MTAN()(levels, two_tasks())


class TestAverageTo:
    @pytest.mark.parametrize(
        ("size", "wanted"), [((6, 4), (3, 2)), ((7, 5), (3, 3)), ((3, 2), (5, 4)), ((4, 4), (4, 4))]
    )
    def test_is_the_mean_of_windows(self, size, wanted):
        x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype("float32")
        found = AverageTo()([x, np.zeros((2, *wanted, 1), "float32")])
        expected = np.empty((2, *wanted, 3))
        bounds = [
            [(int(np.floor(i * n / m)), int(np.ceil((i + 1) * n / m))) for i in range(m)]
            for n, m in zip(size, wanted, strict=True)
        ]
        for i, (top, bottom) in enumerate(bounds[0]):
            for j, (left, right) in enumerate(bounds[1]):
                expected[:, i, j] = x[:, top:bottom, left:right].mean((1, 2))
        np.testing.assert_allclose(found, expected, atol=1e-6)


class TestTraining:
    def test_the_backbone_and_the_convolutions_between_levels_are_shared(self):
        model = model_of()
        shared = {variable.path.split("/")[0] for variable in model.partition.shared}
        assert shared == {"conv_0", "conv_1", "conv_1_carry_conv", "conv_1_carry_normalization"}
        for task, own in model.partition.specific.items():
            assert all(task in variable.path for variable in own)
            assert len(own) == 2 * 6 + 2

    def test_both_tasks_train_what_is_shared_and_not_each_other(self):
        model, (x, _) = model_of(), data()
        for task, other in (("kind", "size"), ("size", "kind")):
            with tf.GradientTape() as tape:
                total = tf.reduce_sum(model(x)[task] ** 2)
            gradients = zip(model.trainable_variables, tape.gradient(total, model.trainable_variables), strict=True)
            found = {variable.path for variable, g in gradients if g is not None and np.any(g)}
            assert {"conv_0/kernel", "conv_1_carry_conv/kernel", f"conv_0_{task}_mask_conv/kernel"} <= found
            assert not any(other in path for path in found)

    def test_summed_gradients_are_plain_training(self):
        x, y = data()
        found = []
        for balancer in ("equal", "sum"):
            model = model_of()
            model.compile(keras.optimizers.SGD(0.05), balancer=balancer)
            model.fit(x, y, batch_size=16, epochs=5, shuffle=False, verbose=0)
            found.append(model)
        assert largest_difference(*found) < 1e-5
        assert largest_difference(found[0], model_of()) > 1e-3

    @pytest.mark.parametrize(
        ("balancer", "policy", "xla"),
        [
            pytest.param("pcgrad", "float32", False, marks=pytest.mark.slow),
            (mtl.balancers.UPGrad(gradients="features"), "float32", False),
            pytest.param("sum", "mixed_float16", True, marks=pytest.mark.slow),
        ],
    )
    def test_it_learns(self, balancer, policy, xla):
        x, y = data()
        with policies(policy):
            model = model_of()
        model.compile(keras.optimizers.Adam(0.02), balancer=balancer, jit_compile=xla)
        losses = model.fit(x, y, epochs=20, verbose=0).history["loss"]
        assert losses[-1] < 0.8 * losses[0]

    @pytest.mark.slow
    def test_on_two_replicas(self, two_replicas):
        x, y = data()
        with two_replicas.scope():
            model = model_of()
            model.compile("adam", balancer="upgrad")
        losses = model.fit(x, y, batch_size=8, epochs=2, verbose=0).history["loss"]
        assert np.all(np.isfinite(losses))


def test_an_architecture_by_name():
    kinds = two_tasks()
    model = mtl.build_model("MobileNetV3Small", kinds, "mtan", input_shape=(33, 35, 3))
    assert sum(layer.name.endswith("_kind_attended") for layer in model.layers) > 2
    assert model(np.ones((1, 33, 35, 3)))["kind"].shape == (1, 3)


class TestArguments:
    @pytest.mark.parametrize("units", [0, 1.5, "all"])
    def test_are_checked(self, units):
        with pytest.raises(ValueError, match="`units` should be an integer of at least 1"):
            sharing.MTAN(units=units)

    @pytest.mark.parametrize("units", [None, 3])
    def test_config_round_trip(self, units):
        again = sharing.get(keras.saving.serialize_keras_object(sharing.MTAN(units)))
        assert (type(again), again.get_config()) == (sharing.MTAN, {"units": units})


def test_a_file_and_an_export_predict_the_same(tmp_path):
    levels = [keras.Input((None, None, 3), name="low"), keras.Input((None, None, 4), name="high")]
    kinds = two_tasks()
    mtan = sharing.MTAN(units=2)
    outputs = mtan.outputs(mtan({"low": levels[0], "high": levels[1]}, kinds), kinds)
    model = MultiTaskModel({"low": levels[0], "high": levels[1]}, outputs, kinds)
    model.compile("adam")
    rng = np.random.default_rng(0)
    x = {
        "low": rng.normal(size=(8, 5, 5, 3)).astype("float32"),
        "high": rng.normal(size=(8, 2, 3, 4)).astype("float32"),
    }
    model.fit(x, {"kind": rng.integers(0, 3, 8), "size": rng.normal(size=8)}, verbose=0)
    model.save(tmp_path / "model.keras")
    model.export(tmp_path / "exported", verbose=False)
    again, served = keras.saving.load_model(tmp_path / "model.keras"), tf.saved_model.load(str(tmp_path / "exported"))
    for name, expected in model.predict(x, verbose=0).items():
        np.testing.assert_allclose(again.predict(x, verbose=0)[name], expected, atol=1e-6)
        np.testing.assert_allclose(served.serve(x)[name], expected, atol=1e-5)


def test_levels_in_the_wrong_order():
    backbone = mtl.backbones.Convolutional((8, 8, 1), filters=(4, 6))
    kinds = [tasks.Regression("a"), tasks.Regression("b")]
    with pytest.raises(ValueError, match="'conv_1' is made of 'conv_0'. Change their order"):
        mtl.build_model(backbone, kinds, "mtan", features=["conv_1", "conv_0"])
