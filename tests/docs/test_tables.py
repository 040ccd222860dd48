"""The generated tables of the documentation are what the classes say now."""

import importlib.util
from pathlib import Path

import pytest

from keras_mtl import balancers, sharing

ROOT = Path(__file__).parents[2]
MEND = "run `make docs-tables`"


@pytest.fixture(scope="module")
def tables():
    specification = importlib.util.spec_from_file_location("docs_tables", ROOT / "docs" / "tables.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_page_of_methods_is_up_to_date(tables):
    assert tables.PAGE.read_text(encoding="utf-8") == tables.page(), MEND


def test_the_readme_is_up_to_date(tables):
    text = tables.README.read_text(encoding="utf-8")
    assert text == tables.readme(text), MEND


def test_both_have_every_method(tables):
    empty = f"before\n{tables.BEGIN}\nold\n{tables.END}\n{tables.SHARING_BEGIN}\nold\n{tables.SHARING_END}\nafter"
    for text in (tables.page(), tables.readme(empty)):
        for name in balancers.names():
            assert f"\n| `{name}` | " in text
    for name in sharing.names():
        assert f"\n| `{name}` | " in tables.readme(empty)
    assert "old" not in tables.readme(empty)
    with pytest.raises(ValueError, match="should have the lines"):
        tables.readme("no table")
