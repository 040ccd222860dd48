"""The table of methods: what the classes say of themselves."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from keras_mtl.balancers._base import Source, registry
from keras_mtl.balancers._loss import LossBalancer


@dataclass(frozen=True)
class Method:
    """A row of the table of methods.

    Args:
        name: by which `get` knows the balancer.
        summary: what it does, in one line.
        source: where it was published, or None for what needs no source.
        needs: what it looks at.
        cost: what a step costs beside a plain one.
        combines_gradients: whether it combines gradients; others weigh losses.
    """

    name: str
    summary: str
    source: Source | None
    needs: str
    cost: str
    combines_gradients: bool


def methods() -> list[Method]:
    """The rows of the table of methods: balancers of losses first, then those of gradients, each by name.

    Example:

    >>> from keras_mtl import balancers
    >>> [(row.name, row.source.year) for row in balancers.methods() if row.name in ("dwa", "pcgrad")]
    [('dwa', 2019), ('pcgrad', 2020)]
    """
    rows = [
        Method(
            name=name,
            summary=(inspect.getdoc(cls) or "").partition("\n")[0],
            source=cls.source,
            needs=cls.needs,
            cost=cls.cost,
            combines_gradients=not issubclass(cls, LossBalancer),
        )
        for name, cls in registry.classes().items()
    ]
    return sorted(rows, key=lambda row: (row.combines_gradients, row.name))


def methods_table(rows: Sequence[Method] | None = None) -> str:
    """The table of methods in Markdown, as in the README and the reference.

    Args:
        rows: some of `methods()`. Defaults to all.

    Example:

    >>> from keras_mtl import balancers
    >>> rows = [row for row in balancers.methods() if row.name == "pcgrad"]
    >>> print(balancers.methods_table(rows).splitlines()[0])
    | name | what it does | source | needs | cost |
    """
    columns: dict[str, Callable[[Method], str]] = {
        "name": lambda row: f"`{row.name}`",
        "what it does": lambda row: row.summary.replace("|", "\\|"),
        "source": lambda row: row.source.link if row.source else "",
        "needs": lambda row: row.needs,
        "cost": lambda row: row.cost,
    }
    lines = [list(columns), ["---"] * len(columns)]
    lines += [[cell(row) for cell in columns.values()] for row in (methods() if rows is None else rows)]
    return "".join(f"| {' | '.join(line)} |\n".replace("|  |", "| |") for line in lines)
