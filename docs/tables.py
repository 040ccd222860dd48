"""Writes what is generated in the documentation: the tables of methods in README.md and docs/reference/methods.md.

Run it by `make docs-tables`. tests/docs/test_tables.py fails when they are out of date.
"""

import inspect
from pathlib import Path

from keras_mtl import balancers, sharing

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGE = ROOT / "docs" / "reference" / "methods.md"
BEGIN = "<!-- methods: written by `make docs-tables` -->"
END = "<!-- end of methods -->"
SHARING_BEGIN = "<!-- sharing: written by `make docs-tables` -->"
SHARING_END = "<!-- end of sharing -->"


def page() -> str:
    """The reference page of all methods."""
    rows = balancers.methods()
    losses = balancers.methods_table([row for row in rows if not row.combines_gradients])
    gradients = balancers.methods_table([row for row in rows if row.combines_gradients])
    return (
        "<!-- Written by `make docs-tables`. -->\n\n# Methods\n\nEvery name here is a `balancer` of `compile`. "
        "`keras-mtl methods` prints this table; the docstring of each class says when to use it, what it takes, and "
        "where it differs from its paper.\n\n"
        f"## Balancers of losses\n\nEach loss is multiplied by a weight before the one backward pass.\n\n{losses}\n"
        "## Balancers of gradients\n\nThe tasks' gradients of the shared parameters are combined into one direction. "
        f'With `gradients="features"` those by a Gramian cost next to nothing.\n\n{gradients}'
    )


def sharing_table() -> str:
    """The table of sharing architectures in Markdown."""
    rows = []
    for name, cls in sharing.classes().items():
        summary = (inspect.getdoc(cls) or "").splitlines()[0].replace("|", "\\|")
        rows.append(f"| `{name}` | {summary} | {cls.source.link} |\n")
    return "| name | what it is | source |\n| --- | --- | --- |\n" + "".join(rows)


def readme(text: str) -> str:
    """The README with its tables as they should be.

    Args:
        text: of the README as it is.
    """
    text = _between(text, BEGIN, END, balancers.methods_table())
    return _between(text, SHARING_BEGIN, SHARING_END, sharing_table())


def _between(text: str, first: str, last: str, table: str) -> str:
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"README.md should have the lines {first!r} and {last!r} around a table.")
    return f"{before}{first}\n{table}{last}{after}"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    README.write_text(readme(README.read_text(encoding="utf-8")), encoding="utf-8")
