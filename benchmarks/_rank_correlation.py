"""Spearman's rank correlation of two matrices of what each task does for each other one."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

RENAMED = 999  # how often tasks are given other names, for what chance does


def correlation(first: Any, second: Any) -> dict[str, float]:
    """Spearman's rank correlation of two matrices: of ordered pairs, of pairs, and of the sources of a target."""
    first, second = np.asarray(first), np.asarray(second)
    apart, above = ~np.eye(len(first), dtype=bool), np.triu_indices(len(first), 1)
    pairs = {"ordered": (first[apart], second[apart]), "pairs": ((first + first.T)[above], (second + second.T)[above])}
    found = {kind: spearman(*values) for kind, values in pairs.items()}
    return {
        **{kind: value for kind, (value, _) in found.items()},
        **{f"{kind}_p": chance for kind, (_, chance) in found.items()},
        **by_target(first, second),
    }


def by_target(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """The correlation of ranks over the sources of a target, the mean over the targets.

    Its probability by chance is that of as large a one where the tasks of one matrix are given other names at random.
    """
    apart = ~np.eye(len(first), dtype=bool)
    ranks = []
    for matrix in (first, second):
        found = stats.rankdata(np.where(apart, matrix, np.nan), axis=0, nan_policy="omit")
        found = np.where(apart, found - len(matrix) / 2, 0.0)  # the mean of the ranks of all but one
        lengths = np.linalg.norm(found, axis=0)
        ranks.append(found / np.where(lengths > 0, lengths, 1.0))

    def mean(names: np.ndarray) -> float:
        return float(np.mean(np.sum(ranks[0][np.ix_(names, names)] * ranks[1], axis=0)))

    random, found = np.random.default_rng(0), mean(np.arange(len(first)))
    by_chance = [mean(random.permutation(len(first))) for _ in range(RENAMED)]
    return {"by_target": found, "by_target_p": (1 + sum(abs(each) >= abs(found) for each in by_chance)) / (1 + RENAMED)}


def spearman(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """The correlation of ranks, and the probability of as large a one by chance: 0 and 1 if one has no order at all."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0, 1.0
    found = stats.spearmanr(first, second)
    return float(found.statistic), float(found.pvalue)
