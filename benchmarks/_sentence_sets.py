"""The sentences of seven data sets: read, divided and encoded."""

from __future__ import annotations

import collections
import gzip
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.feature_extraction.text import CountVectorizer

import keras_mtl as mtl

# By task: the files of training, validation and test sentences.
FILES: dict[str, dict[str, str]] = {
    "mr": {"train": "rt-polarity.all"},
    "sst1": {"train": "stsa.fine.train", "validation": "stsa.fine.dev", "test": "stsa.fine.test"},
    "sst2": {"train": "stsa.binary.train", "validation": "stsa.binary.dev", "test": "stsa.binary.test"},
    "subj": {"train": "subj.all"},
    "trec": {"train": "TREC.train", "test": "TREC.test"},
    "cr": {"train": "custrev.all"},
    "mpqa": {"train": "mpqa.all"},
}
_ENDINGS = re.compile(r"(?<=\w)(n't|'(?:s|d|m|ll|re|ve))\b")
_BRACKETS = re.compile(r"-[lr]rb-")

NUM_WORDS = 60  # of a sentence; others are cut
NUM_PIECES = 300
PART = 5  # words, from which on a sentence within another is looked for
PADDING = 2  # at either end of the words, for the convolutions

Examples = tuple[Any, Any]  # sentences or encoded sentences, and class indices


def tidy(sentence: str) -> str:
    """A sentence in lower case, with "doesn't" as "does n't": some of the sets have it so, others not."""
    return " ".join(_ENDINGS.sub(r" \1", sentence.lower()).split())


def read(path: Path) -> tuple[list[str], list[str]]:
    """The sentences of a file, tidy, and their labels; of a label `COARSE:fine` the coarse one.

    A label without a sentence is left out: CR has four of them, MPQA three.
    """
    sentences, labels = [], []
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            label, space, sentence = line.rstrip("\n").partition(" ")
            if not label or not space:
                raise ValueError(
                    f"{path}, line {number}, should be a label, a space and a sentence. Received: {line!r}"
                )
            if not sentence.strip():
                continue
            sentences.append(tidy(sentence))
            labels.append(label.partition(":")[0])
    return sentences, labels


def load(folder: Path) -> dict[str, dict[str, Examples]]:
    """Sentences and class indices, by task and split."""
    found: dict[str, dict[str, Examples]] = {}
    for task, files in FILES.items():
        rows = {split: read(folder / f"{name}.gz") for split, name in files.items()}
        classes = sorted(set(rows["train"][1]))
        found[task] = {
            split: (np.array(sentences, "object"), np.array([classes.index(label) for label in labels], "int32"))
            for split, (sentences, labels) in rows.items()
        }
    return found


def tenth(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random tenth of the examples of each class, as booleans."""
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        chosen[rows[: round(len(rows) / 10)]] = True
    return chosen


def divide(data: Mapping[str, Mapping[str, Examples]], seed: int, judge: str) -> dict[str, dict[str, Examples]]:
    """Training and test examples of each task, and with `judge="validation"` validation examples besides."""
    rng = np.random.default_rng(seed)
    divided = {}
    for task, given in data.items():
        splits = dict(given)
        for split in ("test", "validation"):
            if split not in splits and judge in ("validation", split):
                sentences, labels = splits["train"]
                out = tenth(labels, rng)
                splits[split] = sentences[out], labels[out]
                splits["train"] = sentences[~out], labels[~out]
        if judge == "test":
            splits.pop("validation", None)
        divided[task] = splits
    return divided


def leaks_of(divided: Mapping[str, Mapping[str, Examples]]) -> mtl.data.Leaks:
    """Which sentences are in several data sets or splits."""
    return mtl.data.find_leaks(
        {task: {split: sentences for split, (sentences, _) in splits.items()} for task, splits in divided.items()}
    )


def without_parts(divided: Mapping[str, Mapping[str, Examples]]) -> dict[str, dict[str, Examples]]:
    """Without training sentences that hold a whole sentence of another split, of any task, or are within one.

    `find_leaks` finds the same sentences only, and SST has parts of what is one text in MR and Subj, and writes
    brackets in letters. Those of fewer than `PART` words, mostly common phrases, stay.
    """
    held = [
        _bare(text) for splits in divided.values() for split in splits if split != "train" for text in splits[split][0]
    ]
    kept = {}
    for task, splits in divided.items():
        sentences, labels = splits["train"]
        bare = [_bare(sentence) for sentence in sentences]
        out = {whole for whole, _ in _within(held, bare)} | {part for _, part in _within(bare, held)}
        rows = np.array([row for row in range(len(labels)) if row not in out], dtype="int64")
        kept[task] = {**splits, "train": (sentences[rows], labels[rows])}
    return kept


def _bare(sentence: str) -> str:
    """The words of a sentence alone, between spaces."""
    words = re.findall(r"[^\W_]+", _BRACKETS.sub(" ", sentence))
    return f" {' '.join(words)} "


def _within(parts: Sequence[str], wholes: Sequence[str]) -> Iterator[tuple[int, int]]:
    """The positions of a whole and of a part that is in it, for bare sentences."""
    beginning = collections.defaultdict(list)
    for index, part in enumerate(parts):
        words = part.split()
        if len(words) >= PART:
            beginning[tuple(words[:PART])].append(index)
    for index, whole in enumerate(wholes):
        words = whole.split()
        for first in range(len(words) - PART + 1):
            for part in beginning.get(tuple(words[first : first + PART]), ()):
                if parts[part] in whole:
                    yield index, part


class Encoder:
    """Sentences as numbers: a sequence of words, and a set of pieces, those that occur in three training sentences.

    Pieces are words, pairs of words and, within words, sequences of four characters, which a rare word shares with
    others: Wang and Manning, "Baselines and Bigrams", ACL 2012, and Bojanowski et al., "Enriching Word Vectors with
    Subword Information", TACL 2017. Piece 1 is in every sentence, so that none is empty; 0 is no piece.
    """

    def __init__(self, sentences: Sequence[str]) -> None:
        different = sorted(set(sentences))
        counts = collections.Counter(word for sentence in different for word in set(sentence.split()))
        known = [word for word, count in counts.most_common() if count > 1]
        self._words = keras.layers.TextVectorization(standardize=None, split="whitespace", vocabulary=known)
        self._pieces = [
            CountVectorizer(ngram_range=(1, 2), token_pattern=r"\S+", min_df=3, binary=True),
            CountVectorizer(ngram_range=(4, 4), analyzer="char_wb", min_df=3, binary=True),
        ]
        for vectorizer in self._pieces:
            vectorizer.fit(different)
        self.num_words: int = self._words.vocabulary_size()
        self.num_pieces = 2 + sum(len(vectorizer.vocabulary_) for vectorizer in self._pieces)

    def __call__(self, sentences: Sequence[str]) -> dict[str, np.ndarray]:
        """`words`, padded at both ends for the convolutions, and `pieces`, as wide as the longest sentence needs."""
        words = np.asarray(self._words(np.array(sentences, "str")), "int32")[:, :NUM_WORDS]
        begins = np.cumsum([2, *(len(vectorizer.vocabulary_) for vectorizer in self._pieces)])
        sets = [vectorizer.transform(sentences) for vectorizer in self._pieces]
        rows = [
            np.concatenate([[1], *(begin + found[row].indices for begin, found in zip(begins, sets, strict=False))])
            for row in range(len(sentences))
        ]
        pieces = np.zeros((len(rows), min(NUM_PIECES, max(map(len, rows)))), dtype="int32")
        for row, found in zip(pieces, rows, strict=True):
            row[: len(found)] = found[: len(row)]
        return {"words": np.pad(words, [(0, 0), (PADDING, PADDING)]), "pieces": pieces}
