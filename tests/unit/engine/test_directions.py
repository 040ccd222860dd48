"""Which gradients are weighed, and when: features, weights that are used again, what is not finite."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import MultiTaskModel, balancers, tasks
from tests.models import others_slow, policies

NAMES = ("a", "b", "c")


def make(balancer, seed=0, optimizer=None, **arguments):
    keras.utils.set_random_seed(seed)
    x = keras.Input((6,))
    trunk = keras.layers.Dense(5, activation="tanh", name="trunk")(x)
    outputs = {name: keras.layers.Dense(1, name=name)(trunk) for name in NAMES}
    model = MultiTaskModel(x, outputs, [tasks.Regression(name, **arguments.get(name, {})) for name in NAMES])
    model.compile(optimizer or keras.optimizers.SGD(0.1), balancer=balancer)
    return model


def data(seed=0, size=16):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(size, 6)).astype("float32")
    return x, {"a": 3 * x[:, 0], "b": -x[:, 0], "c": rng.normal(size=size).astype("float32")}


def gradients(model, x, y):
    """By task: the gradient of its loss with respect to the features, the trunk and its head, as it is now."""
    found = {}
    trunk = model.get_layer("trunk")
    for name in NAMES:
        layer = model.get_layer(name)
        with tf.GradientTape(persistent=True) as tape:
            features = trunk(x)
            loss = tf.reduce_mean(tf.square(layer(features)[:, 0] - y[name]))
        of_trunk = tape.gradient(loss, trunk.trainable_variables)
        found[name] = {
            "features": tape.gradient(loss, features).numpy().ravel(),
            "trunk": np.concatenate([g.numpy().ravel() for g in of_trunk]),
            "head": tape.gradient(loss, layer.kernel).numpy(),
        }
    return found


def stack(found, key):
    return np.stack([found[name][key] for name in NAMES]).astype("float64")


def step(model, x, y, **arguments):
    """What a step at a rate of 0.1 subtracts from the trunk, and from the heads' kernels, divided by the rate."""

    def state():
        trunk = np.concatenate([v.numpy().ravel() for v in model.get_layer("trunk").trainable_variables])
        return trunk, {name: model.get_layer(name).kernel.numpy() for name in NAMES}

    before = state()
    model.fit(x, y, batch_size=len(x), verbose=0, **arguments)
    after = state()
    return (before[0] - after[0]) / 0.1, {name: (before[1][name] - after[1][name]) / 0.1 for name in NAMES}


@pytest.mark.parametrize("name", ["upgrad", "mgda", "imtl_g"])
def test_features_are_weighed_and_the_trunk_follows(name):
    model = make(balancers.classes()[name](gradients="features"))
    x, y = data()
    found = gradients(model, x, y)
    matrix = stack(found, "features")
    weights = np.asarray(balancers.classes()[name](dtype="float64").weigh(matrix @ matrix.T, [True] * 3))
    trunk, heads = step(model, x, y)
    np.testing.assert_allclose(trunk, weights @ stack(found, "trunk"), rtol=1e-3, atol=2e-5)
    for task in NAMES:
        np.testing.assert_allclose(heads[task], found[task]["head"], rtol=1e-3, atol=2e-5)
    exact = balancers.classes()[name](dtype="float64").direction(stack(found, "trunk"))
    assert np.abs(np.asarray(exact) - trunk).max() > 1e-3  # the two kinds of gradients say different things


@pytest.mark.parametrize("kind", ["shared", "features"])
def test_weights_are_used_again_until_they_are_due(kind):
    balancer = balancers.MGDA(update_every=3, gradients=kind)
    model, used = make(balancer), []
    for index in range(7):
        x, y = data(seed=index)
        found = gradients(model, x, y)
        if index % 3 == 0:
            matrix = stack(found, "trunk" if kind == "shared" else "features")
            used.append(np.asarray(balancers.MGDA(dtype="float64").weigh(matrix @ matrix.T, [True] * 3)))
        trunk, heads = step(model, x, y)
        np.testing.assert_allclose(trunk, used[-1] @ stack(found, "trunk"), rtol=2e-3, atol=5e-5, err_msg=str(index))
        for task in NAMES:
            np.testing.assert_allclose(heads[task], found[task]["head"], rtol=1e-3, atol=2e-5)
    assert np.abs(used[0] - used[1]).max() > 1e-3


def test_a_task_that_is_absent_when_weights_are_due_keeps_its_own():
    model = make(balancers.UPGrad(update_every=2))
    x, y = data()
    step(model, x, y)
    before = model.gradient_balancer._last_weights.numpy()
    step(model, x, y)
    absent = {"a": np.ones(16), "b": np.zeros(16), "c": np.ones(16)}
    found = gradients(model, x, y)
    trunk, heads = step(model, x, y, sample_weight=absent)
    after = model.gradient_balancer._last_weights.numpy()
    assert after[1] == before[1] != 0
    assert after[0] != before[0]
    np.testing.assert_allclose(trunk, (after * [1, 0, 1]) @ stack(found, "trunk"), rtol=1e-3, atol=2e-5)
    assert not heads["b"].any()


def test_preferences_are_in_the_balancer_and_heads_keep_their_own_loss():
    arguments = {"a": {"weight": 2.0}, "b": {"weight": 1.0}, "c": {"weight": 1.0}}
    model = make("dual_proj", **arguments)
    x, y = data()
    found = gradients(model, x, y)
    trunk, heads = step(model, x, y)
    reference = balancers.DualProj(dtype="float64")
    reference.bind(NAMES, [2.0, 1.0, 1.0], [None] * 3)
    np.testing.assert_allclose(trunk, reference.direction(stack(found, "trunk")), rtol=1e-3, atol=2e-5)
    np.testing.assert_allclose(heads["a"], found["a"]["head"], rtol=1e-3, atol=2e-5)
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(2 * logs["a_loss"] + logs["b_loss"] + logs["c_loss"], rel=1e-5)
    # Without a preference of its own, the weights multiply the losses, those of the heads too.
    model = make("pcgrad", **arguments)
    found = gradients(model, x, y)
    _, heads = step(model, x, y)
    np.testing.assert_allclose(heads["a"], 2 * found["a"]["head"], rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("kind", ["shared", "features"])
def test_balancers_that_look_at_gradients_see_those_of_the_losses(kind):
    seen = []

    class Looking(balancers.GradientNormBalancer):
        def call(self, losses, active, jacobian):
            seen.append((np.asarray(losses), np.asarray(jacobian)))
            return keras.ops.convert_to_tensor([1.0, 2.0, 0.5])

    model = make(Looking(gradients=kind))
    model.run_eagerly = True
    x, y = data()
    found = gradients(model, x, y)
    trunk, heads = step(model, x, y)
    _, jacobian = seen[-1]
    expected = stack(found, "trunk") if kind == "shared" else stack(found, "features").reshape(3, 16, 5).sum(axis=1)
    np.testing.assert_allclose(jacobian, expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(trunk, np.array([1, 2, 0.5]) @ stack(found, "trunk"), rtol=1e-3, atol=2e-5)
    np.testing.assert_allclose(heads["b"], 2 * found["b"]["head"], rtol=1e-3, atol=2e-5)


def test_weights_of_theirs_are_learnt():
    class Learning(balancers.GradientNormBalancer):
        def build(self, input_shape):
            if not self.built:
                self.powers = self.add_weight(shape=(input_shape[0],), initializer="ones", name="powers")
            super().build(input_shape)

        def call(self, losses, active, jacobian):
            return self.powers * keras.ops.cast(active, self.compute_dtype)

        def regularization(self, active):
            return -3.0 * keras.ops.sum(self.powers)

    model = make(Learning())
    x, y = data()
    losses = [keras.losses.MeanSquaredError()(y[task][:, None], model(x)[task]) for task in NAMES]
    step(model, x, y)
    np.testing.assert_allclose(model.loss_balancer.powers, 1.0 - 0.1 * (np.array(losses) - 3.0), rtol=1e-4)


# Each has state of another kind.
STATES = {
    "db_mtl": lambda: balancers.DBMTL(gradients="shared"),
    "db_mtl, features": lambda: balancers.DBMTL(gradients="features"),
    "moco": balancers.MoCo,
    "gradvac": balancers.GradVac,
    "gradnorm": balancers.GradNorm,
    "excess_mtl": balancers.ExcessMTL,
    "graddrop": balancers.GradDrop,
    "mgda, now and then": lambda: balancers.MGDA(update_every=2),
}


@pytest.mark.parametrize("name", others_slow(STATES, by_default=("moco", "gradnorm")))
def test_a_step_that_overflows_in_float16_is_left_out_and_spoils_no_state(name):
    """A loss scale of 2 ** 40 is too large; the optimizer halves it until the gradients are finite."""
    balancer = STATES[name]
    with policies("mixed_float16"):
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01), initial_scale=2.0**40)
        model = make(balancer(), optimizer=optimizer)
    x, y = data()
    start = [weight.numpy() for weight in model.get_layer("trunk").weights]
    model.fit(x, y, batch_size=16, epochs=3, verbose=0)
    for weight, value in zip(model.get_layer("trunk").weights, start, strict=True):
        np.testing.assert_array_equal(weight, value)
    model.fit(x, y, batch_size=16, epochs=40, verbose=0)
    for weight in model.weights:
        assert np.isfinite(np.asarray(weight)).all(), weight.path
    assert np.abs(model.get_layer("trunk").kernel.numpy() - start[0]).max() > 1e-4


def test_what_shares_nothing_is_refused():
    x = keras.Input((6,))
    kinds = [tasks.Regression(name) for name in NAMES]
    outputs = {name: keras.layers.Dense(1, name=name)(keras.layers.Dense(3)(x)) for name in NAMES}
    for balancer, name in (("upgrad", "UPGrad"), ("gradnorm", "GradNorm"), (["dwa", "graddrop"], "GradDrop")):
        model = MultiTaskModel(x, outputs, kinds)
        with pytest.raises(ValueError, match=f"`{name}` settles .* no weight of the model leads to two outputs"):
            model.compile("sgd", balancer=balancer)
    MultiTaskModel(x, outputs, kinds).compile("sgd", balancer="dwa")


def test_a_frozen_trunk_is_shared_and_stays():
    x = keras.Input((6,))
    trunk = keras.layers.Dense(5, trainable=False, name="trunk")(x)
    outputs = {name: keras.layers.Dense(1, name=name)(trunk) for name in NAMES}
    for balancer in ("upgrad", "gradnorm", "graddrop", "moco", balancers.MGDA(gradients="features")):
        model = MultiTaskModel(x, outputs, [tasks.Regression(name) for name in NAMES])
        model.compile("sgd", balancer=balancer)
        before, head = model.get_layer("trunk").kernel.numpy(), model.get_layer("a").kernel.numpy()
        model.fit(*data(), verbose=0)
        np.testing.assert_array_equal(model.get_layer("trunk").kernel, before)
        assert (model.get_layer("a").kernel.numpy() != head).any()


def test_weights_that_could_not_be_worked_out_stay_due():
    """The first steps overflow: the trunk is trained from the first finite step on, not only at the next due one."""
    with policies("mixed_float16"):
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01), initial_scale=2.0**30)
        model = make(balancers.UPGrad(update_every=1000), optimizer=optimizer)
    before = model.get_layer("trunk").kernel.numpy()
    model.fit(*data(), batch_size=16, epochs=30, verbose=0)
    assert np.abs(model.get_layer("trunk").kernel.numpy() - before).max() > 1e-3


def test_a_task_that_was_never_weighed_is_due():
    """Batches of one task each, in turn, and weights that serve for two steps."""
    model = make(balancers.UPGrad(update_every=2))
    x, y = data()
    for name in ("a", "b", "a", "b"):
        present = {task: np.full(16, float(task == name)) for task in NAMES}
        trunk, _ = step(model, x, y, sample_weight=present)
        assert np.abs(trunk).max() > 1e-3, name


def test_weights_are_renewed_for_tasks_that_come_in_turn():
    """Two of three tasks in even steps, the third in odd ones: each is due in steps of its own."""
    model, seen = make(balancers.MGDA(update_every=2)), []
    for index in range(8):
        x, y = data(seed=index)
        there = ("a", "b") if index % 2 == 0 else ("c",)
        step(model, x, y, sample_weight={task: np.full(16, float(task in there)) for task in NAMES})
        seen.append(model.gradient_balancer._last_weights.numpy()[0])
    assert len(set(seen)) == 4


@pytest.mark.parametrize(
    "balancer", others_slow(["upgrad", "cagrad", "pcgrad", "equal", ["fixed", "nash_mtl"]]), ids=str
)
def test_the_logged_loss_has_the_weights_of_the_tasks_once(balancer):
    arguments = {"a": {"weight": 0.1}, "b": {"weight": 3.0}}
    model = make(balancer, optimizer=keras.optimizers.SGD(0.0), **arguments)
    x, y = data()
    logs = model.fit(x, y, validation_data=(x, y), batch_size=16, verbose=0).history
    assert logs["loss"][0] == pytest.approx(logs["val_loss"][0], rel=1e-5)
    expected = 0.1 * logs["a_loss"][0] + 3 * logs["b_loss"][0] + logs["c_loss"][0]
    assert logs["loss"][0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("balancer", others_slow(["gradnorm", "excess_mtl", ["gradnorm", "upgrad"]]), ids=str)
def test_an_overflow_does_not_spoil_the_logs(balancer):
    with policies("mixed_float16"):
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01), initial_scale=2.0**24)
        model = make(balancer, optimizer=optimizer)
    x, y = data(size=64)
    logs = model.fit(x, y, batch_size=16, epochs=4, verbose=0).history
    assert np.isfinite(logs["loss"]).all()


@pytest.mark.parametrize("balancer", others_slow(["db_mtl", "scale_invariant"], by_default=("db_mtl",)))
def test_large_weights_do_not_overflow_in_float16(balancer):
    """Losses of 1e-5 have weights of 1e5, above the range of float16."""
    with policies("mixed_float16"):
        model = make(balancer, optimizer=keras.optimizers.SGD(1e-6))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16, 6)).astype("float32")
    y = {name: value[:, 0] + 3e-3 for name, value in model.predict(x, verbose=0).items()}
    model.fit(x, y, batch_size=16, epochs=60, verbose=0)
    applied = int(model.optimizer.inner_optimizer.iterations)
    assert applied > 40


def test_penalties_on_an_embedding_of_ones_own():
    """Two sparse gradients of one variable: of its task and of the penalty."""
    words = keras.Input((3,), dtype="int32")
    trunk = keras.layers.Flatten()(keras.layers.Embedding(9, 4)(words))
    own = keras.layers.Embedding(9, 4, activity_regularizer="l2", name="own")(words)
    own = keras.layers.Concatenate()([keras.layers.Flatten()(own), trunk])
    outputs = {"a": keras.layers.Dense(1, name="a")(own), "b": keras.layers.Dense(1, name="b")(trunk)}
    models = []
    for balancer in ("equal", "sum"):
        model = MultiTaskModel(words, outputs, [tasks.Regression(name) for name in "ab"])
        start = models[0][1] if models else model.get_weights()
        model.set_weights(start)
        model.compile(keras.optimizers.SGD(0.1), balancer=balancer)
        x = np.random.default_rng(0).integers(0, 9, (16, 3))
        model.fit(x, {"a": np.ones(16), "b": -np.ones(16)}, batch_size=16, verbose=0)
        models.append((model.get_weights(), start))
    for first, second in zip(models[0][0], models[1][0], strict=True):
        np.testing.assert_allclose(first, second, atol=1e-6)


def test_weights_used_again_go_with_the_weights_of_the_losses():
    """In the steps in which they are not due, too."""
    balancer = [balancers.Fixed({"a": 0.5, "b": 2.0, "c": 3.0}), balancers.MGDA(update_every=2)]
    model, losses = make(balancer), np.array([0.5, 2.0, 3.0])
    x, y = data()
    matrix = losses[:, None] * stack(gradients(model, x, y), "trunk")
    weights = np.asarray(balancers.MGDA(dtype="float64").weigh(matrix @ matrix.T, [True] * 3))
    for index in range(2):
        x, y = data(seed=index)
        found = gradients(model, x, y)
        trunk, heads = step(model, x, y)
        np.testing.assert_allclose(trunk, (weights * losses) @ stack(found, "trunk"), rtol=2e-3, atol=5e-5)
        np.testing.assert_allclose(heads["c"], 3 * found["c"]["head"], rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("cls", [balancers.NashMTL, balancers.MoCo])  # by the Gramian, and by the gradients
def test_gradients_of_features_know_nothing_of_the_scale_of_the_loss(cls):
    """Of float16: a Gramian that is not divided by it twice gives other weights where a method is not homogeneous."""
    found = []
    for scale in (1.0, 2.0**10):
        with policies("mixed_float16"):
            optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0), initial_scale=scale)
            model = make(cls(gradients="features"), optimizer=optimizer)
        trunk, _ = step(model, *data())
        found.append(trunk)
    np.testing.assert_allclose(found[0], found[1], rtol=0.05, atol=1e-2 * np.abs(found[0]).max())


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (2.0, 0.5, 1.0)])
def test_the_weights_of_the_losses_multiply_the_rows(weights):
    """With a full leak, GradDrop is the sum. Where all weights are 1 nothing is multiplied."""
    named = {task: {"weight": weight} for task, weight in zip(NAMES, weights, strict=True)}
    model = make(["fixed", balancers.GradDrop(leak=1.0)], **named)
    x, y = data()
    expected = np.array(weights) @ stack(gradients(model, x, y), "trunk")
    np.testing.assert_allclose(step(model, x, y)[0], expected, rtol=1e-3, atol=2e-5)


def test_the_scale_of_float16_comes_out_of_the_rows_again():
    steps = []
    for scale in (1.0, 256.0):
        with policies("mixed_float16"):
            optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=scale)
            model = make(balancers.GradDrop(leak=1.0), optimizer=optimizer)
        steps.append(step(model, *data())[0])
    assert np.abs(steps[0]).max() > 0.1
    np.testing.assert_allclose(*steps, rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("name", ["aligned_mtl", "imtl_g", "config"])
def test_products_of_a_balancer_in_double_are_taken_in_double(name):
    """Three gradients that lie in a plane: what float32 rounds off is not a third direction."""
    keras.utils.set_random_seed(0)
    x = keras.Input((6,))
    trunk = keras.layers.Dense(5, use_bias=False, name="trunk")(x)
    outputs = {task: keras.layers.Dense(1, name=task)(trunk) for task in NAMES}
    model = MultiTaskModel(x, outputs, [tasks.Regression(task) for task in NAMES])
    weights = [model.get_layer(task).kernel for task in NAMES]
    weights[2].assign(weights[0] + 2 * weights[1])
    inputs = np.eye(6, dtype="float32")[:1]
    y = {task: model(inputs)[task].numpy()[:, 0] - 1.0 for task in NAMES}  # each gradient is its head's kernel
    matrix = stack(gradients(model, inputs, y), "trunk")
    assert np.linalg.matrix_rank(matrix, tol=1e-5) == 2
    model.compile(keras.optimizers.SGD(0.1), balancer=balancers.classes()[name](dtype="float64"))
    expected = np.asarray(balancers.classes()[name](dtype="float64").direction(matrix))
    found = step(model, inputs, y)[0]
    assert np.linalg.norm(expected) > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_weights_serve_for_tasks_that_were_weighed_together():
    """Two batches of one task each, and one of all: no loss of the last rises along the step."""
    model = make(balancers.UPGrad(update_every=10))
    x, y = data()
    for name in ("a", "b"):
        step(model, x, y, sample_weight={task: np.full(16, float(task == name)) for task in NAMES})
    matrix = stack(gradients(model, x, y), "trunk")
    found, _ = step(model, x, y)
    np.testing.assert_allclose(found, balancers.UPGrad(dtype="float64").direction(matrix), rtol=1e-3, atol=2e-4)
