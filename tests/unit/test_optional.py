"""Optional dependencies: the install line where one is absent, and only there."""

import sys

import pytest

from keras_mtl._optional import require


def call(module):
    return require(module, extra="tuner", needed_by="keras_mtl.tuning")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes an importable package whose `__init__` has the given source."""
    names = []

    def write(name, source):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(source)
        names.append(name)
        return name

    monkeypatch.syspath_prepend(tmp_path)
    yield write
    for name in names:
        sys.modules.pop(name, None)


def test_returns_the_module():
    assert call("json") is sys.modules["json"]


def test_returns_a_submodule():
    assert call("json.decoder") is sys.modules["json.decoder"]


@pytest.mark.parametrize("module", ["not_installed_anywhere", "not_installed_anywhere.part", "json.no_such_part"])
def test_an_absent_module_brings_its_install_line(module):
    with pytest.raises(ImportError) as caught:
        call(module)
    assert str(caught.value) == (
        f"keras_mtl.tuning needs `{module}`, which is not installed. Install it with: pip install 'keras_mtl[tuner]'"
    )
    assert not isinstance(caught.value, ModuleNotFoundError)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_dependency_that_lacks_one_of_its_own_is_not_called_absent(package):
    name = package("present_but_incomplete", "import not_installed_anywhere")
    with pytest.raises(ModuleNotFoundError, match="^No module named 'not_installed_anywhere'$"):
        call(name)


def test_a_name_that_only_begins_like_the_module_is_another_module(package):
    name = package("present", "import present_but_more")
    with pytest.raises(ModuleNotFoundError, match="^No module named 'present_but_more'$"):
        call(name)


@pytest.mark.parametrize("error", [ModuleNotFoundError, ImportError, OSError])
def test_other_failures_are_left_as_they_are(package, error):
    name = package("present_but_failing", f"raise {error.__name__}('broken')")
    with pytest.raises(error, match="^broken$"):
        call(name)
