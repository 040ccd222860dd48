"""The search space of a multi-task model: what is searched, what is new in each trial, whole searches, refusals."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

keras_tuner = pytest.importorskip("keras_tuner", reason="needs the extra `tuner`")

from keras_mtl import backbones, balancers, tasks, tuning  # noqa: E402

BASELINES = {"kind": 0.5, "size": 1.0}
SCHEDULE = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)


def kinds():
    return [tasks.Classification("kind", 4, weight=3.0), tasks.Regression("size", hidden_units=8, weight=0.5)]


def make(backbone=None, found=None, **arguments):
    return tuning.MultiTaskHyperModel(backbone or backbones.MLP(6, units=(8,)), found or kinds(), **arguments)


def data(size, seed):
    x = np.random.default_rng(seed).normal(size=(size, 6)).astype("float32")
    return x, {"kind": np.argmax(x[:, :4], axis=1), "size": x[:, 0] - x[:, 5]}


def chosen(**values):
    hp = keras_tuner.HyperParameters()
    hp.values.update(values)
    return hp


def space(hypermodel):
    hp = keras_tuner.HyperParameters()
    hypermodel.build(hp)
    return {entry.name: entry for entry in hp.space}


def functional():
    inputs = keras.Input((6,))
    return keras.Model(inputs, keras.layers.Dense(8)(inputs))


def search(tuner_class, hypermodel, tmp_path, objective=None, **arguments):
    """A tuner that has searched, with two epochs a trial unless it sets them itself."""
    objective = objective or tuning.DeltaM(kinds(), BASELINES)
    tuner = tuner_class(hypermodel, objective=objective, directory=tmp_path, seed=1, **arguments)
    tuner.search(*data(96, 0), validation_data=data(64, 1), batch_size=32, epochs=2, verbose=0)
    return tuner


class TestSpace:
    def test_names_and_ranges(self):
        found = space(make(hidden_units=(0, 8, 16)))
        assert sorted(found) == ["kind_hidden_units", "learning_rate", "size_hidden_units", "size_weight"]
        assert found["kind_hidden_units"].values == [0, 8, 16]
        for name, ends in {"size_weight": (0.1, 10.0), "learning_rate": (1e-4, 1e-2)}.items():
            assert (found[name].min_value, found[name].max_value, found[name].sampling) == (*ends, "log")

    def test_defaults_are_what_tasks_and_optimizer_have(self):
        found = space(make(hidden_units=(32, 0, 8), optimizer=keras.optimizers.SGD(0.005)))
        defaults = {name: entry.default for name, entry in found.items()}
        expected = {"kind_hidden_units": 0, "size_hidden_units": 8, "size_weight": 0.5, "learning_rate": 0.005}
        assert defaults == pytest.approx(expected)

    def test_defaults_stay_within_the_ranges(self):
        found = space(make(hidden_units=(16, 32), task_weights=(1, 2), learning_rate=(0.1, 1)))
        assert {name: entry.default for name, entry in found.items()} == {
            "kind_hidden_units": 16,
            "size_hidden_units": 16,
            "size_weight": 1.0,
            "learning_rate": 0.1,
        }

    def test_values_reach_the_model(self):
        hp = chosen(kind_hidden_units=16, size_hidden_units=0, size_weight=2.5, learning_rate=0.003)
        model = make(hidden_units=(0, 8, 16), optimizer="sgd").build(hp)
        assert {task.name: (task.hidden_units, task.weight) for task in model.tasks} == {
            "kind": ((16,), 3.0),
            "size": ((), 2.5),
        }
        assert model.get_layer("kind_hidden_0").units == 16
        assert "size_hidden_0" not in [layer.name for layer in model.layers]
        assert isinstance(model.optimizer, keras.optimizers.SGD)
        assert float(model.optimizer.learning_rate) == pytest.approx(0.003)

    def test_none_switches_a_search_off(self):
        hypermodel = make(hidden_units=None, task_weights=None, learning_rate=None, optimizer=keras.optimizers.SGD(0.2))
        assert space(hypermodel) == {}
        model = hypermodel.build(chosen())
        assert [(task.hidden_units, task.weight) for task in model.tasks] == [((), 3.0), ((8,), 0.5)]
        assert float(model.optimizer.learning_rate) == pytest.approx(0.2)

    def test_a_single_value_fixes(self):
        hypermodel = make(hidden_units=16, task_weights=2, learning_rate=0.5)
        assert space(hypermodel) == {}
        model = hypermodel.build(chosen())
        assert [(task.hidden_units, task.weight) for task in model.tasks] == [((16,), 3.0), ((16,), 2.0)]
        assert float(model.optimizer.learning_rate) == 0.5

    def test_builds_under_a_strategy(self, two_replicas):
        with two_replicas.scope():
            optimizer = make().build(chosen(learning_rate=0.003)).optimizer
        assert float(optimizer.learning_rate.numpy()) == pytest.approx(0.003)

    def test_one_task_has_no_weight_to_search(self):
        assert sorted(space(make(found=kinds()[:1]))) == ["kind_hidden_units", "learning_rate"]

    def test_tasks_are_copied_whole(self):
        task = tasks.Regression("size", 2, dropout=0.5, label="cm", loss="Huber", metrics=["MeanSquaredError"])
        hypermodel = make(found=[tasks.Regression("age"), task])
        copy = hypermodel.build(chosen(size_hidden_units=64, size_weight=4.0)).tasks[1]
        assert copy is not task
        assert copy.get_config() == {**task.get_config(), "hidden_units": [64], "weight": 4.0}
        assert (task.hidden_units, task.weight) == ((), 1.0)

    def test_an_optimizer_keeps_its_schedule_and_arguments(self):
        optimizer = keras.optimizers.SGD(SCHEDULE, momentum=0.75)
        found = make(optimizer=optimizer, learning_rate=None).build(chosen()).optimizer
        assert found is not optimizer
        assert found.get_config() == optimizer.get_config()


class TestEachTrialIsNew:
    @pytest.mark.parametrize(
        "backbone, arguments",
        [
            ("mlp", {"input_shape": (6,)}),
            (backbones.MLP(6, units=(8,)), {}),
            (keras.saving.serialize_keras_object(backbones.MLP(6, units=(8,))), {}),
            (functional, {}),
        ],
        ids=["name", "backbone", "config", "function"],
    )
    def test_nothing_is_shared(self, backbone, arguments):
        optimizer, balancer = keras.optimizers.Adam(), balancers.Uncertainty()
        hypermodel = make(backbone, optimizer=optimizer, balancer=[balancer, "pcgrad"], **arguments)
        first, second = (hypermodel.build(chosen()) for _ in range(2))
        variables = [{id(v) for v in (*model.variables, *model.optimizer.variables)} for model in (first, second)]
        assert not variables[0] & variables[1]
        assert not optimizer.built
        assert not balancer.built
        assert not {id(layer) for layer in first.layers} & {id(layer) for layer in second.layers}
        for model in (first, second):
            assert isinstance(model.loss_balancer, balancers.Uncertainty)
            assert isinstance(model.gradient_balancer, balancers.PCGrad)

    def test_features_of_a_layer(self):
        model = make(backbones.MLP(6, units=(8, 4)), features="dense_0").build(chosen())
        assert model.get_layer("size_logits").input.shape == (None, 8)

    def test_a_function_that_returns_the_same_model_ends_the_search(self, tmp_path):
        backbone = functional()
        with pytest.raises(keras_tuner.errors.FatalError, match="a new `keras.Model` at each call.* again"):
            search(keras_tuner.RandomSearch, make(lambda: backbone), tmp_path, max_trials=3)

    def test_a_function_that_returns_no_model_is_told_by_the_tuner_before_any_trial(self, tmp_path):
        with pytest.raises(ValueError, match="a new `keras.Model` at each call.*Received: 3"):
            keras_tuner.RandomSearch(make(lambda: 3), tuning.DeltaM(kinds(), BASELINES), directory=tmp_path)


class TestSearch:
    def test_random(self, tmp_path, capsys):
        hypermodel = make(hidden_units=(0, 8), balancer="uncertainty")
        tuner = search(keras_tuner.RandomSearch, hypermodel, tmp_path, max_trials=3)
        trials = tuner.oracle.get_best_trials(3)
        assert [trial.status for trial in trials] == ["COMPLETED"] * 3
        scores = [trial.score for trial in trials]
        assert scores == sorted(scores, reverse=True)
        assert len(set(scores)) == 3
        rates = [trial.hyperparameters.get("learning_rate") for trial in trials]
        assert len(set(rates)) == 3

        hp = tuner.get_best_hyperparameters()[0]
        model = hypermodel.build(hp)
        assert float(model.optimizer.learning_rate) == pytest.approx(rates[0])
        assert [task.weight for task in model.tasks] == [3.0, hp.get("size_weight")]

        logs = tuner.get_best_models()[0].evaluate(*data(64, 1), batch_size=32, return_dict=True, verbose=0)
        objective = tuning.DeltaM(kinds(), BASELINES, prefix="")
        assert objective.get_value(logs) == pytest.approx(scores[0], rel=1e-5)
        assert capsys.readouterr().out == ""

    @pytest.mark.slow
    def test_hyperband_goes_on_from_checkpoints_and_their_optimizer(self, tmp_path):
        iterations = []

        class HyperModel(tuning.MultiTaskHyperModel):
            def build(self, hp):
                model = super().build(hp)
                model.run_eagerly = True
                return model

            def fit(self, hp, model, *args, **kwargs):
                iterations.append((int(model.optimizer.iterations), kwargs["initial_epoch"]))
                return super().fit(hp, model, *args, **kwargs)

        hypermodel = HyperModel(backbones.MLP(6, units=(8,)), kinds(), balancer="uncertainty")
        tuner = search(keras_tuner.Hyperband, hypermodel, tmp_path, max_epochs=2, factor=2)
        assert {trial.status for trial in tuner.oracle.trials.values()} == {"COMPLETED"}
        assert set(iterations) == {(0, 0), (3, 1)}


class TestObjectives:
    @pytest.fixture
    def tuner(self, tmp_path):
        def build(objective, **arguments):
            return keras_tuner.RandomSearch(make(**arguments), objective, max_trials=1, directory=tmp_path)

        return build

    @pytest.mark.parametrize(
        "objective", ["val_loss", "loss", ["val_loss", keras_tuner.Objective("val_kind_accuracy", "max")]]
    )
    def test_the_total_loss_is_refused_where_weights_are_searched(self, tuner, objective):
        with pytest.raises(keras_tuner.errors.FatalError, match="smallest weights would win.*DeltaM"):
            tuner(objective).search(*data(32, 0), validation_data=data(32, 1), verbose=0)

    @pytest.mark.parametrize(
        "objective, arguments",
        [
            ("val_loss", {"task_weights": None}),
            ("val_loss", {"task_weights": 2.0}),
            ("val_loss", {"found": kinds()[1:]}),
            (keras_tuner.Objective("val_kind_loss", "min"), {}),
            (keras_tuner.Objective("size_mae", "min"), {}),
            (tuning.DeltaM(kinds()[:1], {"kind": 0.5}), {}),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("validation", [{"validation_data": ([[0.0]], {})}, {"validation_split": 0.5}])
    def test_what_is_logged_and_fair_will_do(self, objective, arguments, validation):
        if isinstance(objective, str):
            objective = keras_tuner.Objective(objective, "min")
        model = SimpleNamespace(fit=lambda *args, **kwargs: "trained")
        callbacks = [keras.callbacks.TerminateOnNaN(), SimpleNamespace(objective=objective)]
        assert make(**arguments).fit(chosen(), model, [[0.0]], callbacks=callbacks, **validation) == "trained"

    def test_no_objective_will_do(self):
        model = SimpleNamespace(fit=lambda *args, **kwargs: "trained")
        assert make().fit(chosen(), model, [[0.0]]) == "trained"

    @pytest.mark.parametrize(
        "objective",
        [
            None,
            keras_tuner.Objective("val_accuracy", "max"),
            tuning.DeltaM([tasks.Regression("kind"), tasks.Regression("size")], BASELINES),
        ],
        ids=str,
    )
    def test_what_is_not_logged_is_refused_before_training(self, tuner, objective):
        epochs = []
        callback = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: epochs.append(epoch))
        with pytest.raises(keras_tuner.errors.FatalError, match=r"should be made of what is logged.*'val_size_mae'\]"):
            tuner(objective).search(*data(32, 0), validation_data=data(32, 1), callbacks=[callback], verbose=0)
        assert epochs == []

    def test_absent_validation_data_are_told(self, tuner):
        with pytest.raises(keras_tuner.errors.FatalError, match="`val_` need validation data"):
            tuner(tuning.DeltaM(kinds(), BASELINES)).search(*data(32, 0), verbose=0)


class TestRefusals:
    @pytest.mark.parametrize(
        "arguments, message",
        [
            ({"found": [tasks.Regression("a"), tasks.Regression("a")]}, "names of tasks should differ"),
            ({"sharing": "hrd"}, "Unknown sharing: 'hrd'. Did you mean 'hard'"),
            ({"balancer": "equl"}, "Unknown balancer: 'equl'. Did you mean 'equal'"),
            ({"balancer": ["pcgrad", "equal"]}, "a loss balancer followed by a gradient balancer"),
            ({"optimizer": "adum"}, "adum"),
            ({"optimizer": keras.optimizers.SGD(SCHEDULE)}, "has a schedule.*learning_rate=None"),
            ({"hidden_units": ()}, r"`len\(hidden_units\)` should be an integer of at least 1"),
            ({"hidden_units": (0, -1)}, r"`hidden_units\[1\]` should be an integer of at least 0"),
            ({"hidden_units": 1.5}, "`hidden_units` should be an integer or a sequence"),
            ({"task_weights": (0.0, 1.0)}, "0 < lowest < highest.*task_weights="),
            ({"task_weights": (2.0, 1.0)}, "0 < lowest < highest"),
            ({"task_weights": (1.0, 2.0, 3.0)}, "0 < lowest < highest"),
            ({"task_weights": "high"}, "`task_weights` should be a finite number"),
            ({"learning_rate": 0.0}, "0 < lowest < highest.*learning_rate=0.0"),
            ({"learning_rate": (1e-3, float("inf"))}, "`learning_rate` should be a finite number"),
            ({"found": [tasks.Regression("a", weight=0), tasks.Regression("b")]}, "Put another task first"),
            (
                {"found": [tasks.Regression("a", hidden_units=(8, 4))]},
                r"the heads of \['a'\] have more.*hidden_units=None",
            ),
            ({"balancer": balancers.Fixed({"kind": 1.0, "size": 2.0})}, "`Fixed` has weights of its own"),
            ({"input_shape": (6,)}, "go with the name of a backbone. Received: {'input_shape'"),
            ({"weights": "imagenet"}, "go with the name of a backbone. Received: {'weights'"),
            ({"backbone": 3}, "function that returns a new `keras.Model`.*of type int"),
            ({"backbone": keras.layers.Dense(3)}, "would hand its weights, trained, from trial to trial"),
            ({"backbone": "mpl", "input_shape": (6,)}, "Unknown backbone: 'mpl'. Did you mean 'mlp'"),
            ({"backbone": "mlp"}, "takes other arguments.*input_shape"),
            ({"backbone": "mlp", "input_shape": (6,), "weights": "imagenet"}, "takes other arguments.*weights"),
        ],
    )
    def test_arguments(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            make(**arguments)

    def test_a_model_as_backbone(self):
        with pytest.raises(ValueError, match="would hand its weights, trained.*of type Functional"):
            make(backbones.MLP(6).build())

    def test_a_first_task_without_weight_will_do_where_weights_are_not_searched(self):
        found = [tasks.Regression("a", weight=0), tasks.Regression("b")]
        assert [task.weight for task in make(found=found, task_weights=None).build(chosen()).tasks] == [0.0, 1.0]
