"""The improvement over a baseline as a tuner's objective: from logs, within tuners, and what it refuses."""

import math

import keras
import pytest

keras_tuner = pytest.importorskip("keras_tuner", reason="needs the extra `tuner`")

from keras_mtl import evaluation, tasks, tuning  # noqa: E402

BASELINES = {"kind": 0.5, "size": 4.0}
GOOD, BETTER = ({"val_kind_accuracy": accuracy, "val_size_mae": 4.0, "loss": 1.0} for accuracy in (0.75, 1.0))
DIVERGED = {"val_kind_accuracy": 0.5, "val_size_mae": math.nan, "loss": 1.0}


@pytest.fixture
def kinds():
    return [tasks.Classification("kind", 4), tasks.Regression("size")]


@pytest.fixture
def objective(kinds):
    return tuning.DeltaM(kinds, BASELINES)


class Scripted(keras_tuner.HyperModel):
    """Trials with given logs; in each epoch the bias is set to the number of the epoch."""

    def __init__(self, scripts):
        super().__init__()
        self.scripts = scripts

    def build(self, hp):
        hp.Choice("script", sorted(self.scripts))
        return keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])

    def fit(self, hp, model, *args, callbacks, **kwargs):
        script = self.scripts[hp.get("script")]
        for epoch, logs in enumerate(script):
            model.layers[0].bias.assign([epoch])
            for callback in callbacks:
                callback.set_model(model)
                callback.on_epoch_end(epoch, logs)
        history = keras.callbacks.History()
        history.history = {key: [logs[key] for logs in script] for key in script[0]}
        return history


class TestValue:
    def test_is_the_mean_relative_improvement_with_the_sign_of_each_metric(self, objective):
        logs = {"val_kind_accuracy": 0.6, "val_size_mae": 3.0}
        assert objective.get_value(logs) == pytest.approx((20 + 25) / 2)
        worse = {"val_kind_accuracy": 0.4, "val_size_mae": 5.0}
        assert objective.get_value(worse) == pytest.approx(-(20 + 25) / 2)
        assert objective.get_value({"val_kind_accuracy": 0.5, "val_size_mae": 4.0}) == 0.0

    def test_is_that_of_evaluation(self, objective):
        metrics = {"kind": 0.9, "size": 2.5}
        logs = {"val_kind_accuracy": 0.9, "val_size_mae": 2.5}
        assert objective.get_value(logs) == evaluation.delta_m(metrics, BASELINES, {"kind": True, "size": False})

    def test_prefix(self, kinds):
        objective = tuning.DeltaM(kinds, BASELINES, prefix="")
        assert objective.name == "delta_m"
        assert objective.get_value({"kind_accuracy": 0.75, "size_mae": 4.0, "val_size_mae": 9.0}) == 25.0

    def test_takes_configs_and_some_of_the_tasks(self, kinds):
        config = keras.saving.serialize_keras_object(kinds[1])
        assert tuning.DeltaM([config], {"size": 4.0}).get_value(GOOD) == 0.0

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_is_nan_where_a_metric_is_not_finite(self, objective, value):
        assert math.isnan(objective.get_value({**GOOD, "val_size_mae": value}))

    def test_any_number_is_better_than_nan(self, objective):
        assert objective.better_than(2.0, 1.0)
        assert not objective.better_than(1.0, 2.0)
        assert not objective.better_than(1.0, 1.0)
        assert objective.better_than(-5.0, math.nan)
        assert not objective.better_than(math.nan, -math.inf)
        assert not objective.better_than(math.nan, math.nan)

    def test_says_what_it_is(self, objective):
        assert isinstance(objective, keras_tuner.Objective)
        assert (objective.name, objective.direction) == ("val_delta_m", "max")
        assert str(objective) == "DeltaM(val_kind_accuracy, val_size_mae)"


class TestRefusals:
    def test_logs_without_a_metric(self, objective):
        logs = {"val_kind_accuracy": 0.5, "size_mae": 1.0}
        assert not objective.has_value(logs)
        with pytest.raises(keras_tuner.errors.FatalError, match=r"val_size_mae.*Received: \['size_mae', 'val_kind_"):
            objective.get_value(logs)

    @pytest.mark.parametrize(
        "baselines, message",
        [
            (None, "`baselines` should be a dict"),
            ({"kind": 0.5}, r"absent: \['size'\]"),
            ({**BASELINES, "colour": 0.1}, r"not expected: \['colour'\]"),
            ({"kind": 0.5, "size": 0.0}, "not zero"),
            ({"kind": math.nan, "size": 4.0}, "finite"),
        ],
    )
    def test_baselines(self, kinds, baselines, message):
        with pytest.raises(ValueError, match=message):
            tuning.DeltaM(kinds, baselines)

    def test_tasks(self):
        with pytest.raises(ValueError, match="at least one task"):
            tuning.DeltaM([], {})


class TestWithinATuner:
    @pytest.fixture
    def search(self, objective, tmp_path):
        def run(scripts, **arguments):
            tuner = keras_tuner.GridSearch(Scripted(scripts), objective, directory=tmp_path, **arguments)
            tuner.search(verbose=0)
            return tuner

        return run

    def test_the_best_epoch_of_the_best_trial_is_found(self, search):
        tuner = search({"rise and fall": [GOOD, BETTER, GOOD], "steady": [GOOD, GOOD, GOOD]})
        best, other = tuner.oracle.get_best_trials(2)
        assert best.hyperparameters.get("script") == "rise and fall"
        assert (best.score, best.best_step) == (50.0, 1)
        assert (other.score, other.best_step) == (25.0, 0)
        assert best.metrics.get_direction("val_delta_m") == "max"
        assert best.metrics.get_best_value("val_kind_accuracy") == 1.0
        assert tuner.get_best_models()[0].layers[0].bias.numpy() == [1.0]

    @pytest.mark.slow
    def test_epochs_that_are_not_finite_count_for_nothing(self, search):
        tuner = search({"begins": [DIVERGED, GOOD], "ends": [BETTER, DIVERGED], "whole": [DIVERGED, DIVERGED]})
        found = {trial.hyperparameters.get("script"): trial for trial in tuner.oracle.trials.values()}
        assert {name: trial.status for name, trial in found.items()} == {
            "begins": "COMPLETED",
            "ends": "COMPLETED",
            "whole": "FAILED",
        }
        assert (found["begins"].score, found["begins"].best_step) == (25.0, 1)
        assert (found["ends"].score, found["ends"].best_step) == (50.0, 0)
        assert tuner.get_best_models()[0].layers[0].bias.numpy() == [0.0]

    @pytest.mark.slow
    def test_executions_are_averaged(self, search):
        tuner = search({"rise": [GOOD, BETTER]}, executions_per_trial=2)
        assert tuner.oracle.get_best_trials()[0].score == 50.0

    def test_a_metric_that_is_not_logged_ends_the_search_with_the_first_trial(self, search):
        scripts = {name: [{"kind_accuracy": 0.5}] for name in "abc"}
        with pytest.raises(keras_tuner.errors.FatalError, match=r"val_kind_accuracy.*Received: \['kind_accuracy'\]"):
            search(scripts)
