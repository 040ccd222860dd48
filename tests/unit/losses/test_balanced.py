"""Balanced losses in a plain `keras.Model`: what they make of its training, and what they refuse."""

import functools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import MultiTaskModel, balancers, tasks
from keras_mtl.losses import BalancedLoss, balanced
from tests.models import others_slow

LOSSES = {"a": "mse", "b": keras.losses.BinaryCrossentropy(), "c": "Huber"}


def make_model():
    keras.utils.set_random_seed(3)
    inputs = keras.Input((4,))
    trunk = keras.layers.Dense(8, activation="tanh")(inputs)
    kinds = {"a": None, "b": "sigmoid", "c": None}
    return keras.Model(
        inputs, {name: keras.layers.Dense(1, activation=kind, name=name)(trunk) for name, kind in kinds.items()}
    )


def make_data(size=48):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(size, 4)).astype("float32")
    return x, {"a": x[:, :1] * 3, "b": (x[:, 1:2] > 0).astype("float32"), "c": x[:, 2:3]}


def train(balancer, *, attach=True, epochs=2, optimizer="sgd", weights=None, sample_weight=None, **arguments):
    """The model, the callback and the logs."""
    model = make_model()
    losses, callback = balanced(LOSSES, balancer, weights)
    if attach:
        callback.attach(model)
    model.compile(optimizer, loss=losses, **arguments)
    x, y = make_data()
    logs = model.fit(
        x,
        y,
        sample_weight=sample_weight,
        batch_size=16,
        epochs=epochs,
        shuffle=False,
        callbacks=[callback],
        verbose=0,
        validation_data=(x, y),
    ).history
    return model, callback, logs


def plain(loss_weights=None, epochs=2, optimizer="sgd", **arguments):
    """The same, by Keras alone."""
    model = make_model()
    model.compile(optimizer, loss=LOSSES, loss_weights=loss_weights, **arguments)
    x, y = make_data()
    logs = model.fit(x, y, batch_size=16, epochs=epochs, shuffle=False, verbose=0, validation_data=(x, y)).history
    return model, logs


def own_weights(model):
    """Of the layers of the graph."""
    return [np.array(weight) for layer in model.layers for weight in layer.weights]


def assert_same_weights(first, second, tolerance=1e-6):
    for received, expected in zip(own_weights(first), own_weights(second), strict=True):
        np.testing.assert_allclose(received, expected, rtol=tolerance, atol=tolerance)


class TestTraining:
    @pytest.mark.parametrize("attach", [True, False], ids=["attached", "not attached"])
    @pytest.mark.parametrize(
        "options", others_slow([{}, {"run_eagerly": True}, {"steps_per_execution": 3}], by_default=[{}]), ids=str
    )
    def test_equal_is_plain_keras(self, attach, options):
        model, _, logs = train("equal", attach=attach, **options)
        expected, expected_logs = plain(**options)
        assert_same_weights(model, expected)
        for key, values in expected_logs.items():
            np.testing.assert_allclose(logs[key], values, rtol=1e-5, err_msg=key)

    @pytest.mark.parametrize("by", ["weights", "fixed"])
    @pytest.mark.parametrize("optimizer", others_slow(["sgd", "adam"], by_default=("adam",)))
    def test_weights_are_loss_weights(self, by, optimizer):
        weights = {"a": 0.01, "b": 5.0, "c": 1.0}
        if by == "weights":
            model, _, logs = train("equal", weights=weights, optimizer=optimizer)
        else:
            model, _, logs = train(balancers.Fixed(weights), optimizer=optimizer)
        expected, expected_logs = plain(weights, optimizer=optimizer)
        assert_same_weights(model, expected)
        for key, values in expected_logs.items():
            np.testing.assert_allclose(logs[key], values, rtol=1e-5, err_msg=key)

    def test_small_weights_of_large_losses_lose_nothing(self):
        """As they would if the plain losses were added and then subtracted again."""
        weights = {"a": 1e-7, "b": 1e-7, "c": 1e-7}
        model, _, _ = train("equal", weights=weights, optimizer=keras.optimizers.SGD(1e6))
        expected, _ = plain(weights, optimizer=keras.optimizers.SGD(1e6))
        assert_same_weights(model, expected, tolerance=1e-5)

    def test_not_attached_the_last_log_has_the_difference(self):
        """Evaluated with weights of 1, that is none; trained by weights, the difference of the total."""
        weights = {"a": 0.5, "b": 2.0, "c": 3.0}
        model, _, logs = train("equal", weights=weights, attach=False)
        expected, expected_logs = plain(weights)
        assert_same_weights(model, expected)
        for key in ("loss", "a_loss", "b_loss", "val_loss", "val_a_loss", "val_b_loss"):
            np.testing.assert_allclose(logs[key], expected_logs[key], rtol=1e-5, err_msg=key)
        plain_sum = np.sum([logs[f"{task}_loss"] for task in "abc"], axis=0)
        np.testing.assert_allclose(plain_sum, logs["loss"], rtol=1e-5)

    def test_what_is_learnt_is_learnt(self):
        """Against the loss of Kendall et al. written out: half of exp(-s) for the squared error, exp(-s) otherwise."""
        model, callback, _ = train("uncertainty", optimizer=keras.optimizers.SGD(0.05))
        expected, (x, y) = make_model(), make_data()
        log_variance = tf.Variable(np.zeros(3, "float32"))
        losses = [keras.losses.get(loss) for loss in ("MeanSquaredError", LOSSES["b"], LOSSES["c"])]
        for step in range(6):
            batch = slice(step % 3 * 16, step % 3 * 16 + 16)
            variables = [variable.value for variable in expected.trainable_variables]
            with tf.GradientTape() as tape:
                found = expected(x[batch], training=True)
                values = [loss(y[task][batch], found[task]) for task, loss in zip("abc", losses, strict=True)]
                precision = tf.constant([0.5, 1.0, 1.0]) * tf.exp(-log_variance)
                total = tf.reduce_sum(precision * tf.stack(values)) + 0.5 * tf.reduce_sum(log_variance)
            for variable, gradient in zip(
                [*variables, log_variance], tape.gradient(total, [*variables, log_variance]), strict=True
            ):
                variable.assign_sub(0.05 * gradient)
        assert_same_weights(model, expected)
        np.testing.assert_allclose(callback.balancer.log_variance, log_variance, rtol=1e-5, atol=1e-7)
        assert np.all(np.abs(log_variance) > 1e-3)

    def test_a_task_without_sample_weights_is_not_active(self):
        size = len(make_data()[0])
        sample_weight = {"a": np.ones(size), "b": np.zeros(size), "c": np.ones(size)}
        _, callback, _ = train("uncertainty", sample_weight=sample_weight)
        assert callback.balancer.log_variance[1] == 0
        assert callback.balancer.log_variance[0] != 0

    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("jit_compile", [False, True])
    def test_a_task_that_is_masked_in_the_whole_batch_is_not_active(self, jit_compile, weighted):
        inputs = keras.Input((5,), dtype="int32")
        places = keras.layers.Embedding(4, 3, mask_zero=True)(inputs)
        outputs = {
            "tags": keras.layers.Dense(3, "softmax")(places),
            "b": keras.layers.Dense(1)(keras.ops.mean(places, axis=1)),
        }
        model = keras.Model(inputs, outputs)
        losses, callback = balanced({"tags": "SparseCategoricalCrossentropy", "b": "mse"}, "uncertainty")
        callback.attach(model)
        model.compile(keras.optimizers.SGD(0.1), loss=losses, jit_compile=jit_compile)
        y = {"tags": np.zeros((8, 5), "int32"), "b": np.ones((8, 1))}
        x = np.zeros((8, 5), "int32")
        x[:, 0] = 0 if not weighted else np.arange(8) % 2
        weights = {"tags": (x == 0) * 1.0, "b": np.ones(8)} if weighted else None  # of places that are masked
        model.fit(x, y, sample_weight=weights, callbacks=[callback], verbose=0)
        assert callback.balancer.log_variance[0] == 0
        assert callback.balancer.log_variance[1] != 0
        x[:, 1] = 1
        model.fit(x, y, callbacks=[callback], verbose=0)
        assert callback.balancer.log_variance[0] != 0

    def test_evaluation_leaves_the_state_and_counts_plainly(self):
        model, callback, logs = train("uncertainty")
        before, (x, y) = np.array(callback.balancer.log_variance), make_data()
        # In batches of one size: by Keras, the losses of tasks are means over batches, and the total over examples.
        found = model.evaluate(x, y, batch_size=16, return_dict=True, verbose=0)
        np.testing.assert_array_equal(callback.balancer.log_variance, before)
        np.testing.assert_allclose(found["loss"], sum(found[f"{task}_loss"] for task in "abc"), rtol=1e-5)
        np.testing.assert_allclose(found["loss"], logs["val_loss"][-1], rtol=1e-5)
        assert abs(logs["loss"][-1] - sum(logs[f"{task}_loss"][-1] for task in "abc")) > 1e-3

    def test_the_balancer_sees_the_losses_and_the_epochs(self):
        seen, epochs = [], []

        class Spy(balancers.LossBalancer):
            needs_epoch_end = True

            def call(self, losses, active):
                tf.py_function(lambda values: seen.append(values.numpy()), [losses], [])
                return self.preference(3) * keras.ops.cast(active, "float32")

            def on_epoch_end(self, losses, active):
                epochs.append((np.array(losses), np.array(active)))

        size = len(make_data()[0])
        sample_weight = {"a": np.ones(size), "b": np.zeros(size), "c": np.ones(size)}
        _, _, logs = train(Spy(), sample_weight=sample_weight, jit_compile=False)
        assert len(seen) == 6
        assert len(epochs) == 2
        for epoch, (losses, active) in enumerate(epochs):
            np.testing.assert_array_equal(active, [True, False, True])
            np.testing.assert_allclose(losses[0], logs["a_loss"][epoch], rtol=1e-5)
            np.testing.assert_allclose(losses, np.mean(seen[3 * epoch : 3 * epoch + 3], axis=0), rtol=1e-5)
            assert losses[1] == 0

    def test_regularization_of_the_model_is_left_alone(self):
        found = []
        for compile_with in (LOSSES, None):
            keras.utils.set_random_seed(3)
            inputs = keras.Input((4,))
            outputs = {name: keras.layers.Dense(1, kernel_regularizer="l2", name=name)(inputs) for name in "abc"}
            model, callbacks = keras.Model(inputs, outputs), []
            if compile_with is None:
                compile_with, callback = balanced(dict.fromkeys("abc", "mse"))
                callback.attach(model)
                callbacks = [callback]
            else:
                compile_with = dict.fromkeys("abc", "mse")
            model.compile("sgd", loss=compile_with)
            history = model.fit(*make_data(), callbacks=callbacks, shuffle=False, verbose=0).history
            found.append((own_weights(model), history["loss"]))
        for received, expected in zip(found[1][0], found[0][0], strict=True):
            np.testing.assert_allclose(received, expected, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(found[1][1], found[0][1], rtol=1e-5)

    def test_a_model_of_one_output_and_of_a_list(self):
        x, y = make_data()
        inputs = keras.Input((4,))
        for names in (["a"], ["a", "b"]):
            outputs = [keras.layers.Dense(1, name=name)(inputs) for name in names]
            model = keras.Model(inputs, outputs)
            losses, callback = balanced(dict.fromkeys(names, "mse"))
            callback.attach(model)
            model.compile("sgd", loss=losses)
            labels = [y[name] for name in names]
            before = model.evaluate(x, labels, verbose=0, return_dict=True)["loss"]
            model.fit(x, labels, epochs=3, callbacks=[callback], verbose=0)
            assert model.evaluate(x, labels, verbose=0, return_dict=True)["loss"] < before

    def test_a_step_that_broke_off_does_no_harm(self):
        model, (x, y) = make_model(), make_data()
        losses, callback = balanced(LOSSES, weights={"a": 2.0, "b": 3.0, "c": 4.0})
        for task in ("c", "a"):
            losses[task](y[task], y[task])
        callback.attach(model)
        model.compile("sgd", loss=losses)
        model.fit(x, y, batch_size=16, epochs=2, shuffle=False, callbacks=[callback], verbose=0)
        assert_same_weights(model, plain({"a": 2.0, "b": 3.0, "c": 4.0})[0])

    @pytest.mark.parametrize("place", ["before", "behind", "interrupted"])
    @pytest.mark.parametrize("evaluated", [False, True], ids=["", "evaluated before"])
    def test_evaluation_within_a_step_counts_plainly(self, place, evaluated):
        """Keras traces it there for the first time, or for data of another shape, and keeps what it traced."""
        x, y = make_data()

        class Evaluate(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                if place == "interrupted":
                    raise KeyboardInterrupt
                if batch == 0:
                    self.model.evaluate(data, verbose=0)

        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(16, drop_remainder=True)
        model = make_model()
        losses, callback = balanced(LOSSES, "uncertainty", {"a": 2.0, "b": 1.0, "c": 1.0})
        callback.attach(model)
        model.compile("sgd", loss=losses)
        if evaluated:
            model.evaluate(x, y, batch_size=16, verbose=0)
        callbacks = [callback, Evaluate()] if place == "behind" else [Evaluate(), callback]
        if place == "interrupted":
            with pytest.raises(KeyboardInterrupt):
                model.fit(x, y, batch_size=16, callbacks=callbacks, verbose=0)
        else:
            model.fit(x, y, batch_size=16, epochs=2, shuffle=False, callbacks=callbacks, verbose=0)
        before = np.array(callback.balancer.log_variance)
        found = model.evaluate(data, return_dict=True, verbose=0)
        np.testing.assert_array_equal(callback.balancer.log_variance, before)
        expected = 2 * found["a_loss"] + found["b_loss"] + found["c_loss"]
        np.testing.assert_allclose(found["loss"], expected, rtol=1e-5)
        model.fit(x, y, batch_size=16, callbacks=[callback], verbose=0)  # and training goes on being training
        assert not np.array_equal(callback.balancer.log_variance, before)

    def test_mixed_precision(self):
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_float16")
        try:
            model, _, logs = train("uncertainty", optimizer="adam", epochs=4)
        finally:
            keras.config.set_dtype_policy(before)
        assert logs["loss"][-1] < logs["loss"][0]
        assert np.all(np.isfinite(np.concatenate([value.ravel() for value in own_weights(model)])))


class TestCallback:
    def test_training_without_it_is_refused(self):
        model = make_model()
        losses, callback = balanced(LOSSES)
        model.compile("sgd", loss=losses)
        model.evaluate(*make_data(), verbose=0)  # needs none
        with pytest.raises(ValueError, match=r"only together with their callback. Give it to `fit`"):
            model.fit(*make_data(), verbose=0)
        model.fit(*make_data(), callbacks=[callback], verbose=0)

    def test_train_on_batch(self):
        model, (x, y) = make_model(), make_data()
        losses, callback = balanced(LOSSES)
        model.compile("sgd", loss=losses)
        expected = make_model()
        expected.compile("sgd", loss=LOSSES)
        for _ in range(2):
            callback.on_train_batch_begin(0)
            model.train_on_batch(x, y)
            callback.on_train_batch_end(0)
            expected.train_on_batch(x, y)
        assert_same_weights(model, expected)

    def test_what_learns_has_to_be_attached(self):
        model = make_model()
        losses, callback = balanced(LOSSES, "uncertainty")
        model.compile("sgd", loss=losses)
        with pytest.raises(ValueError, match=r"`Uncertainty` has weights to learn, and is no part of the model"):
            model.fit(*make_data(), callbacks=[callback], verbose=0)
        model.compile("sgd", loss=LOSSES)
        model.fit(*make_data(), verbose=0)
        with pytest.raises(ValueError, match="the optimizer of the model .* is built without them"):
            callback.attach(model)

    def test_attach_is_refused_where_it_is_too_late(self):
        class Subclass(keras.Model):
            def __init__(self):
                super().__init__()
                self.layer = keras.layers.Dense(1)

            def call(self, x):
                return {"a": self.layer(x), "b": self.layer(x)}

        model = Subclass()
        balanced({"a": "mse", "b": "mse"})[1].attach(model)
        model = Subclass()
        model(np.ones((2, 3)))
        with pytest.raises(ValueError, match="was called before, and takes no new layers"):
            balanced({"a": "mse", "b": "mse"})[1].attach(model)

    def test_each_model_has_losses_of_its_own(self):
        losses, callback = balanced(LOSSES)
        first, second = make_model(), make_model()
        callback.attach(first)
        callback.attach(first)
        with pytest.raises(ValueError, match="belongs to the model"):
            callback.attach(second)
        second.compile("sgd", loss=losses)
        with pytest.raises(ValueError, match="belongs to the model"):
            second.fit(*make_data(), callbacks=[callback], verbose=0)
        with pytest.raises(ValueError, match="has a balancer already"):
            balanced(LOSSES)[1].attach(first)

    def test_a_multi_task_model_has_its_own(self):
        inputs = keras.Input((4,))
        outputs = {"a": keras.layers.Dense(1)(inputs), "b": keras.layers.Dense(1)(inputs)}
        model = MultiTaskModel(inputs, outputs, [tasks.Regression("a"), tasks.Regression("b")])
        with pytest.raises(ValueError, match=r"is a `MultiTaskModel`, .*give the balancer to its `compile`"):
            balanced({"a": "mse", "b": "mse"})[1].attach(model)

    def test_weights_of_losses_in_compile_are_refused(self):
        model = make_model()
        losses, callback = balanced(LOSSES)
        model.compile("sgd", loss=losses, loss_weights={"a": 1.0, "b": 1.0, "c": 2.0})
        with pytest.raises(ValueError, match=r"given to `losses.balanced\(..., weights=...\)`, and not to `compile`"):
            model.fit(*make_data(), callbacks=[callback], verbose=0)

    def test_what_has_no_config_is_compiled_and_trained_with(self):
        class Halving(keras.optimizers.schedules.LearningRateSchedule):
            def __call__(self, step):
                return 0.1 * 0.5 ** keras.ops.cast(step, "float32")

        def scaled(y_true, y_pred, factor):
            return factor * keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=-1)

        metric = functools.partial(scaled, factor=2.0)
        _, _, logs = train("equal", optimizer=keras.optimizers.SGD(Halving()), metrics={"a": [metric]})
        assert np.isfinite(logs["loss"]).all()

    def test_several_replicas_are_refused(self, two_replicas):
        with two_replicas.scope():
            model = make_model()
            losses, callback = balanced(LOSSES)
            model.compile("sgd", loss=losses)
        with pytest.raises(ValueError, match="see the losses of one replica only. .*MultiTaskModel"):
            model.fit(*make_data(), callbacks=[callback], verbose=0)


LOOK_AT_MORE = (balancers.DirectionBalancer, balancers.BilevelBalancer, balancers.GradientNormBalancer)
REFUSED = [name for name, cls in balancers.classes().items() if issubclass(cls, LOOK_AT_MORE) or cls.needs_after_step]


class TestArguments:
    @pytest.mark.parametrize("name", REFUSED)
    def test_balancers_that_look_at_more_are_refused(self, name):
        cls = balancers.classes()[name].__name__
        with pytest.raises(ValueError, match=f"`{cls}` (combines|looks at) .* Make the model a `keras_mtl.MultiTask"):
            balanced(LOSSES, name)

    @pytest.mark.parametrize(
        "name", others_slow(sorted(set(balancers.names()) - set(REFUSED)), by_default=("dwa", "uncertainty"))
    )
    def test_all_others_are_served(self, name):
        _, _, logs = train(name, epochs=3)
        assert np.all(np.isfinite(logs["loss"]))

    def test_balancers_by_name_config_and_instance(self):
        given = balancers.Uncertainty()
        assert balanced(LOSSES, given)[1].balancer is given
        config = keras.saving.serialize_keras_object(given)
        assert type(balanced(LOSSES, config)[1].balancer) is balancers.Uncertainty
        assert type(balanced(LOSSES)[1].balancer) is balancers.Equal
        with pytest.raises(ValueError, match="Unknown balancer: 'uncertainti'"):
            balanced(LOSSES, "uncertainti")
        with pytest.raises(ValueError, match="should be one balancer of losses"):
            balanced(LOSSES, ["uncertainty", "pcgrad"])

    @pytest.mark.parametrize(
        "identifier, cls",
        [
            ("mse", "MeanSquaredError"),
            ("MeanSquaredError", "MeanSquaredError"),
            ("sparse_categorical_crossentropy", "SparseCategoricalCrossentropy"),
            ("kl_divergence", "KLDivergence"),
            (keras.losses.Huber(), "Huber"),
            (keras.saving.serialize_keras_object(keras.losses.MeanAbsoluteError()), "MeanAbsoluteError"),
        ],
        ids=["abbreviation", "class", "function", "another function", "instance", "config"],
    )
    def test_losses_by_name_config_and_instance(self, identifier, cls):
        (loss,) = balanced({"a": identifier})[0].values()
        assert type(loss.loss).__name__ == cls

    @pytest.mark.parametrize(
        "losses, message",
        [
            ({}, "`losses` should be a dict of losses by task name"),
            (["mse"], "`losses` should be a dict of losses by task name"),
            ({"a": lambda y, p: p}, "The loss of task 'a' should be a `keras.losses.Loss`"),
            ({"a": None}, "The loss of task 'a' should be a `keras.losses.Loss`"),
            ({"a": balanced({"a": "mse"})[0]["a"]}, "is balanced already"),
        ],
        ids=["none", "list", "function", "None", "twice"],
    )
    def test_other_losses_are_refused(self, losses, message):
        with pytest.raises(ValueError, match=message):
            balanced(losses)

    @pytest.mark.parametrize("weights", [{"a": 1.0}, {"a": 1, "b": -1, "c": 1}, [1, 1, 1]], ids=str)
    def test_other_weights_are_refused(self, weights):
        with pytest.raises(ValueError, match="weights"):
            balanced(LOSSES, weights=weights)


class TestSaving:
    def test_weights_beside_those_of_the_balancer_are_refused(self):
        weights = dict.fromkeys("abc", 2.0)
        with pytest.raises(ValueError, match="`Fixed` has weights of its own for the tasks.*not both"):
            balanced(LOSSES, balancers.Fixed(weights), weights)
        balanced(LOSSES, balancers.Fixed(weights))

    def test_config(self):
        loss = balanced(LOSSES)[0]["c"]
        config = json.loads(json.dumps(keras.saving.serialize_keras_object(loss)))
        found = keras.saving.deserialize_keras_object(config)
        assert type(found) is BalancedLoss
        assert found.get_config() == loss.get_config()
        np.testing.assert_array_equal(found([[0.0]], [[3.0]]), keras.losses.Huber()([[0.0]], [[3.0]]))
        with pytest.raises(ValueError, match="`loss` should be a `keras.losses.Loss`"):
            BalancedLoss(3)

    def test_a_saved_model_evaluates_and_asks_for_the_balancer_to_go_on(self, tmp_path):
        model, _, _ = train("equal")
        x, y = make_data()
        model.save(tmp_path / "model.keras")
        found = keras.saving.load_model(tmp_path / "model.keras")
        assert_same_weights(found, model)
        np.testing.assert_allclose(found.evaluate(x, y, verbose=0), model.evaluate(x, y, verbose=0), rtol=1e-6)
        with pytest.raises(ValueError, match="loaded from a file, without the balancer"):
            found.fit(x, y, verbose=0)

    def test_weights_and_state_are_restored_together(self, tmp_path):
        model, callback, _ = train("uncertainty")
        model.save_weights(tmp_path / "model.weights.h5")
        other = make_model()
        losses, other_callback = balanced(LOSSES, "uncertainty")
        other_callback.attach(other)
        other.compile("sgd", loss=losses)
        other.load_weights(tmp_path / "model.weights.h5")
        np.testing.assert_array_equal(other_callback.balancer.log_variance, callback.balancer.log_variance)
        x, y = make_data()
        for each, balancing in ((model, callback), (other, other_callback)):
            each.fit(x, y, batch_size=16, shuffle=False, callbacks=[balancing], verbose=0)
        assert_same_weights(other, model)

    def test_a_keras_file_brings_back_the_balancer_and_the_optimizer(self, tmp_path):
        model, callback, _ = train("uncertainty", optimizer="adam")
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
        losses, again = balanced(LOSSES, "uncertainty")
        again.attach(loaded)
        loaded.compile("adam", loss=losses)
        loaded.optimizer.build(loaded.trainable_variables)
        loaded.load_weights(tmp_path / "model.keras")
        assert_same_weights(loaded, model, tolerance=0)
        np.testing.assert_array_equal(again.balancer.log_variance, callback.balancer.log_variance)
        for each, by in ((model, callback), (loaded, again)):
            each.fit(*make_data(), shuffle=False, callbacks=[by], verbose=0)
        assert_same_weights(loaded, model, tolerance=1e-7)
        np.testing.assert_allclose(again.balancer.log_variance, callback.balancer.log_variance, rtol=1e-6)
