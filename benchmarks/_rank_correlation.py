"""Spearman's rank correlation of two matrices of what each task does for each other one."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

RENAMED = 999  # how often tasks are given other names, for what chance does


def correlation(first: Any, second: Any) -> dict[str, float]:
    """The correlation of ordered pairs, of pairs, both directions added, and of the sources of a target, over targets.

    With each its probability by chance, `..._p`: of as large a one where the tasks of one matrix have other names at
    random. The entries of a matrix are not independent of each other, tasks are.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    kinds = {
        "ordered": (ranks(first), ranks(second)),
        "pairs": (ranks(first + first.T), ranks(second + second.T)),
        "by_target": (ranks(first, axis=0), ranks(second, axis=0)),
    }
    random, names = np.random.default_rng(0), np.arange(len(first))
    others = [random.permutation(names) for _ in range(RENAMED)]
    result = {}
    for kind, (one, two) in kinds.items():
        result[kind], *by_chance = (float(np.sum(one[np.ix_(each, each)] * two)) for each in [names, *others])
        as_large = sum(abs(each) >= abs(result[kind]) - 1e-12 for each in by_chance)
        result[f"{kind}_p"] = (1 + as_large) / (1 + RENAMED)
    return result


def ranks(matrix: np.ndarray, axis: int | None = None) -> np.ndarray:
    """Ranks of the entries off the diagonal, less their mean, such that the sum of the products of two is Spearman's.

    Args:
        matrix: `[num_tasks, num_tasks]`.
        axis: 0 for ranks within each column, of which the correlations' mean counts; None for those among all.
    """
    apart = ~np.eye(len(matrix), dtype=bool)
    found = stats.rankdata(np.where(apart, matrix, np.nan), axis=axis, nan_policy="omit").reshape(matrix.shape)
    found = np.where(apart, found - np.nanmean(found, axis=axis, where=apart), 0.0)
    lengths = np.sqrt(np.sum(found**2, axis=axis, keepdims=True))
    num_correlations = 1 if axis is None else len(matrix)
    return np.divide(found, lengths * num_correlations**0.5, out=np.zeros_like(found), where=lengths > 0)
