"""Every public name is in an `__all__`, documented, and, where Keras serializes it, registered."""

import importlib
import inspect
import re
import subprocess
import sys

import keras
import pytest

import keras_mtl

PACKAGES = [name for name in keras_mtl.__all__ if inspect.ismodule(getattr(keras_mtl, name))]
NAMES = [("keras_mtl", name) for name in ("MultiTaskModel", "build_model")] + [
    (f"keras_mtl.{package}", name) for package in PACKAGES for name in getattr(keras_mtl, package).__all__
]


@pytest.mark.parametrize(("package", "name"), NAMES, ids=[".".join(pair) for pair in NAMES])
def test_it_is_documented_with_an_example(package, name):
    value = getattr(importlib.import_module(package), name)
    assert inspect.getdoc(value), f"{package}.{name} has no docstring"
    # What makes no sense outside a subclass, or takes no argument, needs no example.
    if inspect.isabstract(value) or name in BASES or name in NO_EXAMPLE:
        return
    assert "Example:" in value.__doc__, f"{package}.{name} has no example"
    if inspect.isfunction(value) and inspect.signature(value).parameters:
        assert "Args:" in value.__doc__, f"{package}.{name} does not explain its arguments"


BASES = {
    "Balancer",
    "BilevelBalancer",
    "DirectionBalancer",
    "GradientBalancer",
    "GradientNormBalancer",
    "GramianBalancer",
    "LossBalancer",
}
NO_EXAMPLE = {
    "Method",
    "Source",
    "bind_pair",
    "names",
    "classes",
    "architectures",
    "pool",
    "dense_head",
    "ImagePreprocessing",
    "GainMatrix",
    "Grouping",
    "Report",
    "Result",
    "learning_curve",
    "verify_saved_model",
}


@pytest.mark.parametrize(("package", "name"), NAMES, ids=[".".join(pair) for pair in NAMES])
def test_what_has_a_config_is_registered(package, name):
    value = getattr(importlib.import_module(package), name)
    if inspect.isclass(value) and hasattr(value, "get_config") and not inspect.isabstract(value):
        if value.__name__ in BASES:
            return  # to be extended, not used
        assert keras.saving.get_registered_name(value) == f"keras_mtl>{value.__name__}"


# What needs no paper: it says nothing that needs one.
WITHOUT_SOURCE = {"fixed", "mean", "sum"}


@pytest.mark.parametrize("name", keras_mtl.balancers.names())
def test_every_balancer_says_where_it_was_published_and_what_it_needs_and_costs(name):
    cls = keras_mtl.balancers.classes()[name]
    assert (cls.source is None) == (name in WITHOUT_SOURCE)
    if cls.source is not None:
        source = cls.source
        assert all(text.strip() == text and text for text in (source.authors, source.title, source.venue))
        assert 1980 < source.year < 2030
        assert source.arxiv is None or re.fullmatch(r"\d{4}\.\d{4,5}", source.arxiv)
        for part in (*source.authors.removesuffix(" et al.").split(" and "), str(source.year)):
            assert part in cls.__doc__, f"the docstring does not name {part!r}"
    for text in (cls.needs, cls.cost):
        assert re.fullmatch(r"[A-Za-z][^.|\n]{3,}", text)


def test_the_packages_all_is_what_it_offers():
    assert set(keras_mtl.__all__) <= set(dir(keras_mtl))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = keras_mtl.nothing


def test_importing_the_package_needs_no_extra():
    """In a process where no optional module can be imported."""
    code = """
import sys
for name in ("keras_hub", "keras_tuner", "matplotlib", "sklearn", "tensorflow_datasets", "typer"):
    sys.modules[name] = None
import keras_mtl as mtl
model = mtl.build_model("mlp", [mtl.tasks.Regression("a"), mtl.tasks.Regression("b")], input_shape=(3,))
model.compile("adam", balancer="pcgrad")
for use in (
    lambda: mtl.tuning,
    lambda: mtl.backbones.KerasHub("bert_tiny_en_uncased"),
    lambda: mtl.data.multi_digits("test", batch_size=1),
    lambda: mtl.plots.learning_curve(None, "a"),
    lambda: __import__("keras_mtl.cli").cli.main(),
):
    try:
        use()
    except ImportError as error:
        assert "pip install 'keras_mtl[" in str(error), error
    else:
        raise AssertionError("an extra was not missed")
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
