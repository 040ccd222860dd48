"""What figures of several seeds allow to say, and the file in which a benchmark leaves them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from keras_mtl._files import replacing


def interval(values: Sequence[float], comparisons: int = 1) -> tuple[float, float]:
    """The mean of values, and half the width of its 95 % interval, or of one of several that hold together.

    Args:
        values: at least two, one a seed.
        comparisons: how many intervals are to hold together in 95 % of cases (Bonferroni). Defaults to 1.
    """
    spread = np.std(values, ddof=1) / math.sqrt(len(values))
    return float(np.mean(values)), float(stats.t.ppf(1 - 0.025 / comparisons, len(values) - 1) * spread)


def sentence(title: str, differences: Mapping[str, Sequence[float]], comparisons: int, other: str) -> str:
    """Who is better than `other`, who is worse, and who cannot be told from it.

    Args:
        title: what the sentence is about.
        differences: by name, what it is better by, one difference a seed.
        comparisons: how many intervals are to hold together.
        other: what all are compared with, in words.
    """
    found: dict[str, list[str]] = {"better": [], "worse": [], "neither": []}
    for name, values in differences.items():
        mean, half = interval(values, comparisons)
        verdict = "better" if mean - half > 0 else "worse" if mean + half < 0 else "neither"
        found[verdict].append(f"{name} ({mean:+.4f} ± {half:.4f})")
    said = [f"{', '.join(found[verdict])} {verdict} than {other}" for verdict in ("better", "worse") if found[verdict]]
    if found["neither"]:
        said.append(f"{', '.join(found['neither'])} cannot be told from {other}")
    return f"{title}: {'; '.join(said)}."


def write_json(path: Path, result: Mapping[str, Any]) -> None:
    """Writes the file whole or not at all, over an earlier one."""
    with replacing(path, overwrite=True) as new:
        new.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
