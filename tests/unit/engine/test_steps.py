"""The training step against gradients worked out one by one."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import MultiTaskModel, balancers, tasks
from tests.models import BY_DEFAULT, others_slow, two_task_data, two_task_model


def three_headed(balancer, **compile_arguments):
    """A model of three tasks of very different sizes of gradients, one of which reaches only a part of the trunk."""
    keras.utils.set_random_seed(0)
    x = keras.Input((6,))
    low = keras.layers.Dense(5, activation="tanh", name="low")(x)
    high = keras.layers.Dense(5, activation="tanh", name="high")(low)
    heads = {name: keras.layers.Dense(1, name=name)(high) for name in ("a", "b")}
    heads["c"] = keras.layers.Dense(1, name="c")(low)
    model = MultiTaskModel(x, heads, [tasks.Regression("a"), tasks.Regression("b", weight=3.0), tasks.Regression("c")])
    model.compile(keras.optimizers.SGD(1.0), balancer=balancer, **compile_arguments)
    return model


def three_labels(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(16, 6)).astype("float32")
    return x, {"a": x[:, 0] * 3, "b": -x[:, 0], "c": rng.normal(size=16).astype("float32")}


def task_gradients(model, x, y):
    """The gradient of each task's weighted loss with respect to each trainable weight, zeros where there is none."""
    found = []
    for task in model.tasks:
        with tf.GradientTape() as tape:
            loss = task.weight * keras.losses.MeanSquaredError()(y[task.name][:, None], model(x)[task.name])
        gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
        found.append(
            [
                np.zeros(v.shape) if g is None else g.numpy()
                for g, v in zip(gradients, model.trainable_variables, strict=True)
            ]
        )
    return found


def applied(model, x, y, **fit_arguments):
    """What one step of plain gradient descent at a learning rate of 1 subtracts from each weight."""
    before = [variable.numpy() for variable in model.trainable_variables]
    model.fit(x, y, batch_size=len(x), verbose=0, **fit_arguments)
    return [b - variable.numpy() for b, variable in zip(before, model.trainable_variables, strict=True)]


@pytest.mark.parametrize("name", ["sum", "mean", "pcgrad"])
def test_shared_parameters_follow_the_balancer_and_heads_their_own_task(name):
    model = three_headed(balancers.PCGrad(seed=3) if name == "pcgrad" else name)
    x, y = three_labels()
    gradients = task_gradients(model, x, y)
    shared = [index for index, v in enumerate(model.trainable_variables) if "low" in v.path or "high" in v.path]
    jacobian = np.stack([np.concatenate([gradients[t][index].ravel() for index in shared]) for t in range(3)])
    reference = balancers.PCGrad(seed=3) if name == "pcgrad" else balancers.get(name)
    direction = np.asarray(reference.direction(jacobian))
    if name == "pcgrad":
        assert (jacobian @ jacobian.T).min() < 0  # there is a conflict to settle
        assert np.abs(direction - jacobian.sum(axis=0)).max() > 1e-3

    steps = applied(model, x, y)

    np.testing.assert_allclose(np.concatenate([steps[index].ravel() for index in shared]), direction, atol=2e-5)
    for index, variable in enumerate(model.trainable_variables):
        for t, task in enumerate(model.tasks):
            if f"/{task.name}/" in f"/{variable.path}":
                np.testing.assert_allclose(steps[index], gradients[t][index], atol=1e-5)


# auto_lambda takes data sets; test_second_passes.py has it.
@pytest.mark.parametrize(
    "name",
    others_slow([name for name in balancers.names() if name != "auto_lambda"], by_default=(*BY_DEFAULT, "uncertainty")),
)
def test_a_task_whose_sample_weights_are_all_zero_is_inactive(name):
    x, y = three_labels()
    weights = {"a": np.ones(16), "b": np.zeros(16), "c": np.ones(16)}
    model = three_headed(name)
    steps = applied(model, x, y, sample_weight=weights)
    by_path = {v.path: step for v, step in zip(model.trainable_variables, steps, strict=True)}
    assert not by_path["b/kernel"].any()
    assert by_path["a/kernel"].any()
    if name == "uncertainty":
        log_variance = next(step for path, step in by_path.items() if "log_variance" in path)
        assert log_variance[1] == 0
        assert log_variance[0] != 0


def test_uncertainty_is_trained_beside_a_gradient_balancer():
    x, y = three_labels()
    alone, with_sum = three_headed("uncertainty"), three_headed(["uncertainty", "sum"])
    for first, second in zip(applied(alone, x, y), applied(with_sum, x, y), strict=True):
        np.testing.assert_allclose(first, second, atol=2e-5)


def test_regularization_is_added_once_and_not_balanced():
    def build(balancer):
        keras.utils.set_random_seed(0)
        x = keras.Input((6,))
        trunk = keras.layers.Dense(5, kernel_regularizer=keras.regularizers.L2(0.5), name="trunk")(x)
        model = MultiTaskModel(
            x,
            {name: keras.layers.Dense(1, name=name)(trunk) for name in ("a", "b")},
            [tasks.Regression("a"), tasks.Regression("b")],
        )
        model.compile(keras.optimizers.SGD(1.0), balancer=balancer)
        return model

    x, y = three_labels()
    y = {name: y[name] for name in ("a", "b")}
    model = build("mean")
    gradients = task_gradients(model, x, y)
    kernel = model.get_layer("trunk").kernel.numpy()
    steps = applied(model, x, y)
    np.testing.assert_allclose(steps[0], (gradients[0][0] + gradients[1][0]) / 2 + 2 * 0.5 * kernel, atol=1e-5)


@pytest.mark.parametrize("balancer", others_slow(["equal", "uncertainty", "pcgrad"], by_default=("pcgrad",)))
def test_a_step_is_traced_once(balancer):
    model = two_task_model()
    traces = []
    step = model.train_step

    def counted(data):
        traces.append(1)
        return step(data)

    model.train_step = counted
    model.compile("adam", balancer=balancer)
    x, y = two_task_data(80)
    model.fit(x, y, batch_size=8, epochs=2, verbose=0)
    assert len(traces) == 1
    model.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(8), verbose=0)
    # The second `fit` may trace anew, for its batches have a different specification; no step of either does.
    assert len(traces) <= 2


@pytest.mark.parametrize("how", [{"run_eagerly": True}, {"jit_compile": True}, {"steps_per_execution": 2}], ids=str)
@pytest.mark.parametrize("balancer", others_slow(["uncertainty", "pcgrad"], by_default=("uncertainty",)))
def test_eager_compiled_and_several_steps_at_once_agree(how, balancer):
    x, y = two_task_data(64)
    plain, other = two_task_model(), two_task_model()
    plain.compile(keras.optimizers.Adam(0.01), balancer=balancer)
    other.compile(keras.optimizers.Adam(0.01), balancer=balancer, **how)
    for model in (plain, other):
        model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    for first, second in zip(plain.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(first, second, atol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_batch_of_arrays_may_be_run_eagerly(weighted):
    x, y = two_task_data(24)
    y["b"][::3] = np.nan
    weights = {name: np.linspace(0.5, 2.0, 24) for name in y} if weighted else None
    found = []
    for eagerly in (False, True):
        model = two_task_model()
        model.compile(keras.optimizers.Adam(0.01), balancer="pcgrad", run_eagerly=eagerly)
        logs = [model.train_on_batch(x, y, sample_weight=weights) for _ in range(3)]
        model.reset_metrics()
        found.append([*logs, model.test_on_batch(x, y, sample_weight=weights)])
    np.testing.assert_allclose(*found, rtol=1e-5)


class Updates(keras.metrics.Mean):
    """The mean of the number of updates that there were when a batch was counted."""

    def __init__(self, optimizer):
        super().__init__(name="updates")
        self.optimizer = optimizer

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(keras.ops.cast(self.optimizer.iterations, "float32"))


@pytest.mark.parametrize("on_nonfinite", [None, "skip"])
def test_metrics_count_a_batch_after_its_update_as_in_keras(on_nonfinite):
    x, y = two_task_data(24)
    model = two_task_model()
    plain = keras.Model(model.input, model.output)
    for each, own in ((plain, {}), (model, {"on_nonfinite": on_nonfinite})):
        optimizer = keras.optimizers.SGD(0.01)
        losses = {task.name: task.loss for task in model.tasks}
        each.compile(optimizer, loss=losses, metrics={"b": [Updates(optimizer)]}, **own)
    found = [each.fit(x, y, batch_size=8, verbose=0).history["b_updates"] for each in (plain, model)]
    assert found == [[2.0], [2.0]]


@pytest.mark.parametrize("policy", others_slow(["mixed_float16", "mixed_bfloat16"], by_default=("mixed_float16",)))
@pytest.mark.parametrize("balancer", ["uncertainty", "pcgrad"])
def test_mixed_precision_trains(policy, balancer):
    keras.config.set_dtype_policy(policy)
    try:
        from keras_mtl import build_model

        model = build_model("mlp", [tasks.Classification("a", 4), tasks.Regression("b")], input_shape=(6,))
    finally:
        keras.config.set_dtype_policy("float32")
    model.compile(keras.optimizers.Adam(0.01), balancer=balancer)
    assert all(tensor.dtype == "float32" for tensor in model.output.values())
    x, y = two_task_data(256)
    losses = model.fit(x, y, batch_size=32, epochs=6, shuffle=False, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.7 * losses[0]


def test_a_tasks_backward_pass_leaves_the_other_heads_alone():
    """The cost of the heads grows with the number of tasks, not with its square."""

    def multiplications(num_tasks):
        keras.utils.set_random_seed(0)
        x = keras.Input((6,))
        trunk = keras.layers.Dense(5)(x)
        heads = {f"t{i}": keras.layers.Dense(1, name=f"t{i}")(keras.layers.Dense(4)(trunk)) for i in range(num_tasks)}
        model = MultiTaskModel(x, heads, [tasks.Regression(name) for name in heads])
        model.compile("sgd", balancer="sum")
        labels = {name: tf.ones((8,)) for name in heads}
        graph = tf.function(lambda: model.train_step((tf.ones((8, 6)), labels))).get_concrete_function().graph
        return sum(operation.type == "MatMul" for operation in graph.get_operations())

    two, four, six = map(multiplications, (2, 4, 6))
    assert six - four == four - two


def test_metrics_that_want_columns():
    model = three_headed("equal")
    kinds = [tasks.BinaryClassification("p", metrics=[keras.metrics.F1Score(threshold=0.5, name="f1")])]
    x = keras.Input((6,))
    model = MultiTaskModel(x, {"p": keras.layers.Dense(1, activation="sigmoid")(x)}, kinds)
    model.compile("sgd")
    logs = model.fit(np.ones((8, 6)), {"p": np.arange(8) % 2}, verbose=0).history
    assert 0 <= logs["p_f1"][0] <= 1


def test_float64():
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        model = two_task_model()
        model.compile("sgd", balancer=["uncertainty", "pcgrad"])
        x, y = two_task_data(16)
        model.fit(x, y, verbose=0)
        assert model.get_weights()[0].dtype == "float64"
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
