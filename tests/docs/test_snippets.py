"""Every example of a docstring and every Python snippet of the README runs."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "keras_mtl").rglob("*.py")
    if ">>>" in path.read_text(encoding="utf-8")
)
SNIPPETS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0


def test_readme(tmp_path, monkeypatch):
    """The snippets build on one another, so they run in one namespace, in their order."""
    monkeypatch.chdir(tmp_path)
    namespace = {}
    assert len(SNIPPETS) >= 2
    for snippet in SNIPPETS:
        exec(compile(snippet, "README.md", "exec"), namespace)  # noqa: S102
