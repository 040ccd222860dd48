"""Fingerprints of inputs: equal for what counts as a duplicate, and a few bytes each, however large the input."""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Fingerprint = Callable[[Any], bytes]

NUM_HASHES = 64  # of a text
SIMILARITY = 0.8
NUM_DIFFERING_BITS = 8  # of an image's 256

_SHINGLE = 5  # characters
_SIDE = 16  # of a shrunken image
_MARGIN = 0.02
_DIGITS = 3
_ROWS_OF_A_BAND = 4
_NOT_ASCII_LETTERS = re.compile("[^a-z0-9]+")
_RANDOM = np.random.RandomState(0)  # its stream is frozen, unlike that of a Generator
_FACTORS, _TERMS = _RANDOM.randint(0, 2**64, size=(2, NUM_HASHES), dtype="uint64")
_FACTORS |= np.uint64(1)
_POWERS = np.uint64(1_099_511_628_211) ** np.arange(_SHINGLE, dtype="uint64")


def kind_of(example: Any) -> str:
    """`"text"`, `"image"` or `"rows"`, by the first example."""
    if isinstance(example, (str, bytes)):
        return "text"
    shape: tuple[int, ...] = () if isinstance(example, Mapping) else np.shape(example)
    return "image" if len(shape) == 3 and shape[-1] in (1, 3, 4) else "rows"


def fingerprint(kind: str, *, near: bool) -> Fingerprint:
    """The function that takes an input to its fingerprint, always of the same number of bytes."""
    found: dict[tuple[str, bool], Fingerprint] = {
        ("text", False): lambda text: _digest(normal_form(text).encode()),
        ("text", True): lambda text: _min_hash(normal_form(text)),
        ("image", False): lambda image: _digest(_bytes_of(_pixels(image))),
        ("image", True): lambda image: _difference_hash(_pixels(image)),
        ("rows", False): lambda row: _digest(_row(row, rounded=False)),
        ("rows", True): lambda row: _digest(_row(row, rounded=True)),
    }
    return found[kind, near]


def bands(kind: str, fingerprints: np.ndarray) -> np.ndarray:
    """Parts of near fingerprints, uint8 `[number, num_bands, bytes]`: near ones have a part in common.

    For images always: a difference of 8 bits leaves one of nine parts as it is. For texts with a probability that grows
    with their similarity, and is above 0.999 from 0.8 on.
    """
    if kind == "text":
        return fingerprints.reshape(len(fingerprints), -1, 4 * _ROWS_OF_A_BAND)
    if kind == "rows":
        return fingerprints[:, :0].reshape(len(fingerprints), 0, 1)
    bits = np.unpackbits(fingerprints, axis=1)
    number = NUM_DIFFERING_BITS + 1
    # Every ninth bit: bits side by side are the same in many images, those of the margins above all.
    parts = [np.packbits(bits[:, start::number], axis=1) for start in range(number)]
    return np.stack([np.pad(part, ((0, 0), (0, 4 - part.shape[1]))) for part in parts], axis=1)


def are_near(kind: str, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Whether fingerprints, uint8 `[number, bytes]`, are near those of the same row, booleans `[number]`."""
    if kind == "text":
        return (first.view("uint32") == second.view("uint32")).mean(axis=1) >= SIMILARITY
    return np.unpackbits(first ^ second, axis=1).sum(axis=1) <= NUM_DIFFERING_BITS


def normal_form(text: str | bytes) -> str:
    """A text without what tokenizers, encodings and typing change: its letters and digits, in lower case.

    Latin letters outside ASCII are left out, for some conversions lose them ("café", "caf"); letters of other scripts
    stay. A text of neither letters nor digits keeps everything but its white space.
    """
    if not isinstance(text, (str, bytes)):
        raise ValueError(f"be a string, or bytes in UTF-8. Received: {type(text).__name__}")
    if isinstance(text, bytes):
        text = text.decode("utf-8", errors="replace")
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    folded = text.casefold()
    kept = _NOT_ASCII_LETTERS.sub("", folded) if text.isascii() else "".join(map(_kept, text)).casefold()
    return kept or "".join(folded.split())


@functools.lru_cache(maxsize=1 << 16)
def _kept(character: str) -> str:
    if character.isascii():
        return character if character.isalnum() else ""
    is_letter = character.isalnum() or unicodedata.category(character).startswith("M")
    return character if is_letter and not unicodedata.name(character, "").startswith("LATIN") else ""


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=8).digest()


def _min_hash(text: str) -> bytes:
    codes = np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), dtype="uint32").astype("uint64")
    codes = np.pad(codes, (0, max(0, _SHINGLE - len(codes))))
    shingles = np.lib.stride_tricks.sliding_window_view(codes, _SHINGLE) @ _POWERS
    hashes = np.unique(shingles)[:, np.newaxis] * _FACTORS + _TERMS  # modulo 2^64
    return (hashes >> np.uint64(32)).min(axis=0).astype("uint32").tobytes()


def _pixels(image: Any) -> np.ndarray:
    pixels = np.asarray(image)
    if pixels.ndim not in (2, 3) or pixels.dtype.kind not in "biuf" or pixels.size == 0:
        raise ValueError(
            f"be an image (height, width) or (height, width, channels) of numbers. Received: {pixels.dtype} of shape "
            f"{pixels.shape}"
        )
    return pixels


def _difference_hash(pixels: np.ndarray) -> bytes:
    gray = pixels.astype("float64")
    gray = gray.mean(axis=-1) if gray.ndim == 3 else gray
    small = _averages(_SIDE, gray.shape[0]) @ gray @ _averages(_SIDE + 1, gray.shape[1]).T
    margin = _MARGIN * (small.max() - small.min())
    return np.packbits(small[:, 1:] > small[:, :-1] + margin).tobytes()


@functools.lru_cache(maxsize=256)
def _averages(number: int, size: int) -> np.ndarray:
    """The matrix `[number, size]` that averages a line of pixels over as many equal stretches."""
    ends = np.arange(number + 1) * size / number
    pixels = np.arange(size)
    overlap = np.minimum(ends[1:, np.newaxis], pixels + 1) - np.maximum(ends[:-1, np.newaxis], pixels)
    return np.maximum(overlap, 0) * number / size


def _row(row: Any, *, rounded: bool) -> bytes:
    if isinstance(row, Mapping):
        return b"".join(repr(key).encode() + _row(row[key], rounded=rounded) for key in sorted(row, key=str))
    values = np.asarray(row)
    if values.dtype.kind in "OSU":
        texts = [value if isinstance(value, bytes) else str(value).encode() for value in values.ravel().tolist()]
        return b"".join(b"%d:%s" % (len(text), text) for text in texts)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"be of numbers or strings. Received: dtype {values.dtype}")
    values = values.astype("float64" if values.dtype.kind == "f" else "int64") + 0  # -0.0 is 0.0
    if rounded:
        values = values.astype("float64")
        with np.errstate(divide="ignore", invalid="ignore"):
            powers = 10.0 ** (np.floor(np.log10(np.abs(values))) - _DIGITS + 1)
            values = np.where((values == 0) | ~np.isfinite(values), values, np.rint(values / powers) * powers)
        values = values.astype("float32")  # so that equal decimals are equal, whatever they were divided by
    return _bytes_of(values)


def _bytes_of(values: np.ndarray) -> bytes:
    return f"{values.dtype}{values.shape}".encode() + np.ascontiguousarray(values).tobytes()
