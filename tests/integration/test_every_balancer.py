"""Every balancer trains: one trace, XLA, mixed precision, both kinds of gradients, weights that are used again."""

import keras
import numpy as np
import pytest

from keras_mtl import balancers
from tests.models import largest_difference, others_slow, second_stream, three_task_data, three_task_model

PAIRS = [["imtl_l", "imtl_g"], ["gradnorm", "pcgrad"], ["dwa", "upgrad"]]
EVERY = [*balancers.names(), *PAIRS]
OF_GRAMIANS = [name for name, cls in balancers.classes().items() if issubclass(cls, balancers.GramianBalancer)]
ONCE_A_STEP = [name for name in OF_GRAMIANS if "update_every" in balancers.get(name).get_config()]


def trained(balancer, epochs=1, policy="float32", **compile_arguments):
    of_features = getattr(balancer, "gradients", "shared") == "features"  # then tasks that are compared share features
    model = three_task_model(policy=policy, levels=not of_features)
    keras.utils.set_random_seed(1)
    model.compile(keras.optimizers.Adam(0.01), balancer=balancer, **compile_arguments)
    fitted = model.fit(three_task_data(160), epochs=epochs, verbose=0, **second_stream(balancer))
    model.history_of_test = fitted.history
    return model


@pytest.mark.parametrize("balancer", others_slow(EVERY), ids=str)
def test_two_epochs_trace_the_step_once_and_lower_the_losses(balancer):
    model, traces = three_task_model(), []
    step = model.train_step

    def counted(data):
        traces.append(1)
        return step(data)

    model.train_step = counted
    model.compile(keras.optimizers.Adam(0.01), balancer=balancer)
    data = three_task_data(390)  # the last batch of an epoch is smaller than the others
    before = model.evaluate(data, verbose=0, return_dict=True)
    history = model.fit(data, epochs=2, verbose=0, **second_stream(balancer)).history
    after = model.evaluate(data, verbose=0, return_dict=True)
    assert len(traces) == 1
    assert np.isfinite(history["loss"]).all()
    assert sum(after[f"{task}_loss"] < before[f"{task}_loss"] for task in "abc") >= 2


@pytest.mark.parametrize("balancer", others_slow(EVERY, by_default=("upgrad",)), ids=str)
def test_xla_gives_the_same(balancer):
    plain, compiled = trained(balancer), trained(balancer, jit_compile=True)
    assert compiled.jit_compile
    assert all(np.isfinite(np.asarray(weight)).all() for weight in compiled.weights)
    if any("seed" in part.get_config() for part in compiled._balancers):
        return  # XLA draws other random numbers
    assert largest_difference(plain, compiled) < 1e-3


@pytest.mark.parametrize("policy", ["mixed_float16", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)])
@pytest.mark.parametrize("balancer", others_slow(EVERY, by_default=("gradnorm", "upgrad")), ids=str)
def test_mixed_precision(balancer, policy):
    narrow, full = trained(balancer, policy=policy), trained(balancer)
    assert narrow.get_layer("high").compute_dtype == policy.removeprefix("mixed_")
    for task in "abc":
        loss, expected = (model.history_of_test[f"{task}_loss"][-1] for model in (narrow, full))
        assert loss == pytest.approx(expected, rel=0.1, abs=0.05)


@pytest.mark.parametrize("balancer", others_slow(OF_GRAMIANS))
def test_gradients_of_features(balancer):
    model = trained(balancers.classes()[balancer](gradients="features"), epochs=2)
    assert np.isfinite(model.history_of_test["loss"]).all()


@pytest.mark.parametrize("gradients", ["features", "shared"])
@pytest.mark.parametrize("balancer", others_slow(ONCE_A_STEP))
def test_update_every(balancer, gradients):
    model = trained(balancers.classes()[balancer](update_every=3, gradients=gradients))
    # Weights were worked out in steps 0, 3 and 6 of 8.
    assert model.gradient_balancer._age.numpy().tolist() == [2, 2, 2]
    assert np.isfinite(model.history_of_test["loss"]).all()
