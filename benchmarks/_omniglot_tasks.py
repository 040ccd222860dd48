"""Alphabets that are two tasks each: by the people who drew them, or by their characters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import omniglot


def halves(
    alphabets: Mapping[str, omniglot.Alphabet], rows: Mapping[str, Mapping[str, np.ndarray]]
) -> tuple[dict[str, omniglot.Alphabet], dict[str, dict[str, np.ndarray]]]:
    """Each alphabet as two tasks, and by part the rows of each: those of every other person."""
    twice = {f"{name}_{half}": alphabet for name, alphabet in alphabets.items() for half in (1, 2)}
    found: dict[str, dict[str, np.ndarray]] = {part: {} for part in rows}
    for part, of_part in rows.items():
        for name, chosen in of_part.items():
            drawers = alphabets[name].drawers[chosen]
            first = np.isin(drawers, np.unique(drawers)[::2])
            found[part].update({f"{name}_1": chosen[first], f"{name}_2": chosen[~first]})
    return twice, found


def parts(
    alphabets: Mapping[str, omniglot.Alphabet], rows: Mapping[str, Mapping[str, np.ndarray]], num_tasks: int
) -> tuple[dict[str, omniglot.Alphabet], dict[str, dict[str, np.ndarray]]]:
    """The alphabets as so many tasks: the one with the most characters is two, of the first and of the last of them."""
    alphabets, rows = dict(alphabets), {part: dict(of_part) for part, of_part in rows.items()}
    while len(alphabets) < num_tasks:
        name = max(alphabets, key=lambda each: alphabets[each].num_classes)
        alphabet = alphabets.pop(name)
        half = alphabet.num_classes // 2
        is_late = alphabet.characters >= half
        late = np.where(is_late, alphabet.characters - half, 0).astype("int32")
        alphabets[f"{name}_1"] = replace(alphabet, characters=np.where(is_late, 0, alphabet.characters).astype("int32"))
        alphabets[f"{name}_2"] = replace(alphabet, characters=late)
        for of_part in rows.values():
            chosen = of_part.pop(name)
            of_part[f"{name}_1"], of_part[f"{name}_2"] = chosen[~is_late[chosen]], chosen[is_late[chosen]]
    return alphabets, rows
