"""Of which kind a step is: what is decided before it, because nothing can be reduced or set within a condition."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class StepKind:
    """What is known of a step while its graph is made; None where the step itself finds out.

    Args:
        due: whether the balancer's weights, which serve for several steps, are to be worked out.
        updates: whether the optimizer, which sums up the gradients of several steps, is to update.
        complete: whether every task has a label.
        clips: how gradients are clipped, by the name of the optimizer's argument, if that is left to the step.
    """

    due: bool | None = None
    updates: bool | None = None
    complete: bool | None = None
    clips: Mapping[str, float] = field(default_factory=dict)


_KINDS: weakref.WeakKeyDictionary[Any, StepKind] = weakref.WeakKeyDictionary()


def kind_of(model: Any) -> StepKind:
    """The kind of the step that is being made."""
    return _KINDS.get(model, StepKind())


@contextlib.contextmanager
def of_kind(model: Any, kind: StepKind) -> Iterator[None]:
    """Makes steps of a kind. Replicas are made in threads of their own: a context variable would not reach them."""
    _KINDS[model] = kind
    try:
        yield
    finally:
        del _KINDS[model]
