"""What was copied from model to model, and what was not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class CopyReport:
    """What `copy_weights` did, by the paths of layers; `print` it.

    Args:
        copied: layers of the target that have the weights of the source now.
        differing: layers of the target whose weights have other shapes than the source's, with the shapes of both: the
            source's first. They are left as they were.
        left_in_source: layers of the source of which nothing was copied.
        left_in_target: layers of the target for which the source has nothing.

    Example:

    >>> from keras_mtl.transfer import CopyReport
    >>> print(CopyReport(["conv"], [("dense", "(4, 3)", "(4, 5)")], [], ["head"]))
    Copied: 1 layer (conv).
    Of other shapes: 1 layer (dense: (4, 3) in the source, (4, 5) in the target).
    Left in the source: 0 layers.
    Left in the target: 1 layer (head).
    """

    copied: Sequence[str]
    differing: Sequence[tuple[str, str, str]]
    left_in_source: Sequence[str]
    left_in_target: Sequence[str]

    @property
    def is_complete(self) -> bool:
        """Whether every layer of both was copied."""
        return not (self.differing or self.left_in_source or self.left_in_target)

    def __str__(self) -> str:
        shapes = [f"{path}: {source} in the source, {target} in the target" for path, source, target in self.differing]
        rows = [
            ("Copied", self.copied),
            ("Of other shapes", shapes),
            ("Left in the source", self.left_in_source),
            ("Left in the target", self.left_in_target),
        ]
        return "\n".join(f"{title}: {_counted(names)}." for title, names in rows)


def _counted(names: Sequence[str]) -> str:
    shown = [*names[:8], f"and {len(names) - 8} more"] if len(names) > 9 else names
    return f"{len(names)} layer{'' if len(names) == 1 else 's'}" + (f" ({', '.join(shown)})" if names else "")
