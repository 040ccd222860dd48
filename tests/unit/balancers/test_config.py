"""The arguments of every balancer: in its config, through serialization, and checked."""

import inspect
import json

import keras
import pytest

from keras_mtl import balancers
from tests.unit.balancers._any import names_of, new

# By name: values of a class's own arguments that differ from the defaults.
ARGUMENTS = {
    "aligned_mtl": {"scale": "median"},
    "auto_lambda": {"primary": ["a"], "learning_rate": 0.5, "initial": 0.25},
    "cagrad": {"c": 0.25},
    "db_mtl": {"beta": 0.5, "decay": 0.25},
    "dwa": {"temperature": 1.5, "epsilon": 0.125},
    "excess_mtl": {"learning_rate": 0.5, "warmup_steps": 3},
    "fairgrad": {"alpha": 0.5},
    "famo": {"learning_rate": 0.5, "weight_decay": 0.25, "optimizer": "sgd", "epsilon": 0.125},
    "fixed": {"weights": {"a": 0.5, "b": 2.0, "c": 0.0}},
    "gls": {"epsilon": 0.125},
    "go4align": {"num_groups": 3, "learning_rate": 0.5, "epsilon": 0.125},
    "graddrop": {"leak": 0.5, "seed": 7},
    "gradnorm": {"alpha": 0.5, "learning_rate": 0.25, "optimizer": "sgd", "epsilon": 0.125},
    "gradvac": {"beta": 0.5, "seed": 7},
    "imtl_l": {"epsilon": 0.125},
    "krum": {"num_faulty": 1, "num_selected": 2},
    "moco": {
        "tracking_rate": 0.25,
        "tracking_decay": 0.25,
        "step_size": 0.5,
        "step_decay": 0.25,
        "regularization": 0.125,
    },
    "modo": {"step_size": 0.5, "regularization": 0.125},
    "pcgrad": {"seed": 7},
    "random": {"seed": 7},
    "rlw": {"distribution": "uniform", "seed": 7},
    "scale_invariant": {"epsilon": 0.125},
    "sdmgrad": {"direction_strength": 0.5},
    "smoothed": {"balancer": balancers.PCGrad(seed=7, gradients="features", dtype="float64"), "momentum": 0.5},
    "stch": {
        "mu": 0.5,
        "log_losses": False,
        "warmup_epochs": 3,
        "ideal_point": {"a": 0.5, "b": 0.25, "c": 0.0},
        "epsilon": 0.125,
    },
    "trimmed_mean": {"trim": 2},
    "uncertainty_so": {"temperature": 1.5, "epsilon": 0.125},
}

OF_THE_BASE = {
    balancers.GramianBalancer: {"gradients": "features", "update_every": 3},
    balancers.GradientNormBalancer: {"gradients": "shared"},
}


@pytest.fixture(params=balancers.names())
def name(request):
    return request.param


def own_arguments(cls):
    """The parameters of its `__init__`, without those of its bases, which it passes on."""
    parameters = inspect.signature(cls.__init__).parameters.values()
    return {item.name: item for item in parameters if item.kind != item.VAR_KEYWORD and item.name not in _COMMON}


_COMMON = {"self", "dtype", *(key for arguments in OF_THE_BASE.values() for key in arguments)}


def all_arguments(name):
    """Of the class, its bases and Keras."""
    cls = balancers.classes()[name]
    inherited = [arguments for base, arguments in OF_THE_BASE.items() if issubclass(cls, base)]
    config = new(name).get_config()  # some take fewer arguments than their base does
    found = {"name": "mine", "trainable": False, "dtype": "float64", **ARGUMENTS.get(name, {})}
    for arguments in inherited:
        found.update({key: value for key, value in arguments.items() if key in config})
    return found


def test_the_table_has_a_row_for_each_with_arguments_of_its_own(name):
    own = own_arguments(balancers.classes()[name])
    assert set(ARGUMENTS.get(name, {})) == set(own)
    for argument, parameter in own.items():
        assert ARGUMENTS[name][argument] != parameter.default, argument


def test_the_config_has_the_arguments(name):
    arguments = all_arguments(name)
    config = new(name, **arguments).get_config()
    del arguments["dtype"]
    received, expected = (
        json.loads(json.dumps(keras.saving.serialize_keras_object(values)))
        for values in ({key: config[key] for key in arguments}, arguments)
    )
    assert received == expected


def test_the_arguments_are_attributes(name):
    arguments = all_arguments(name)
    balancer = new(name, **arguments)
    for argument in own_arguments(type(balancer)):
        if (name, argument) != ("fixed", "weights"):  # a name that Keras' layers take
            assert hasattr(balancer, argument), argument


def test_round_trip(name):
    balancer = new(name, **all_arguments(name))
    config = keras.saving.serialize_keras_object(balancer)
    assert config["registered_name"] == f"keras_mtl>{type(balancer).__name__}"
    for found in (
        keras.saving.deserialize_keras_object(json.loads(json.dumps(config))),
        type(balancer).from_config(balancer.get_config()),
    ):
        assert type(found) is type(balancer)
        assert found.get_config() == balancer.get_config()
        assert (found.compute_dtype, found.trainable) == ("float64", False)


def test_round_trip_with_nothing_given(name):
    balancer = new(name)
    found = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(balancer))
    assert found.get_config() == balancer.get_config()


def test_arguments_are_checked(name):
    """By their type; a number also by whether it is one. The bounds are tested with each balancer."""
    for argument, parameter in own_arguments(balancers.classes()[name]).items():
        with pytest.raises(ValueError):
            new(name, **{argument: object()})
        if isinstance(parameter.default, (int, float)) and not isinstance(parameter.default, bool):
            for value in (float("nan"), "1", -1e30, True):
                with pytest.raises(ValueError, match=f"`{argument}"):
                    new(name, **{argument: value})


@pytest.mark.parametrize("name", names_of(balancers.GramianBalancer))
def test_arguments_of_the_bases_are_checked(name):
    config = new(name).get_config()
    if "gradients" in config:
        with pytest.raises(ValueError, match="`gradients` should be .* gradients='all'"):
            new(name, gradients="all")
    with pytest.raises(ValueError, match="update_every"):
        new(name, update_every=0 if "update_every" in config else 2)


def test_computes_in_float32_whatever_the_policy(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        balancer = new(name)
    finally:
        keras.config.set_dtype_policy(before)
    assert (balancer.compute_dtype, balancer.variable_dtype) == ("float32", "float32")


def test_it_says_what_it_looks_at_and_costs(name):
    cls = balancers.classes()[name]
    assert isinstance(cls.needs, str)
    assert isinstance(cls.cost, str)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
def test_numbers_shorter_than_float32_are_refused(name, dtype):
    for given in (dtype, keras.DTypePolicy(dtype)):
        with pytest.raises(ValueError, match=f"`dtype` of the balancer .* float32 or float64.*{dtype}"):
            new(name, dtype=given)
