"""Fingerprints against plain references."""

import numpy as np
import pytest

from keras_mtl.data._fingerprints import are_near, bands, fingerprint, kind_of, normal_form


@pytest.mark.parametrize(
    "text, expected",
    [
        ("A fine  film .", "afinefilm"),
        ("it 's 3 o'clock", "its3oclock"),
        (b"caf\xc3\xa9", "caf"),
        ("ﬁne \uff21", "finea"),
        ("\u0420\u0443\u0441", "\u0440\u0443\u0441"),
        ("\u4eca\u65e5\uff01", "\u4eca\u65e5"),
        ("! ?", "!?"),
        ("", ""),
    ],
)
def test_normal_form(text, expected):
    assert normal_form(text) == expected


def test_other_vowel_signs_are_other_words():
    assert normal_form("\u0915\u093f") != normal_form("\u0915\u0940")


@pytest.mark.parametrize(
    "example, kind",
    [
        ("x", "text"),
        (b"x", "text"),
        (np.str_("x"), "text"),
        (np.zeros((4, 5, 3)), "image"),
        (np.zeros((4, 5, 2)), "rows"),
        (np.zeros(4), "rows"),
        (np.zeros((28, 28)), "rows"),
        ({"a": "x"}, "rows"),
        (3.0, "rows"),
    ],
)
def test_kinds(example, kind):
    assert kind_of(example) == kind


def shingles(text):
    return {text[start : start + 5] for start in range(max(1, len(text) - 4))}


def test_texts_are_as_similar_as_their_shingles():
    rng = np.random.default_rng(0)
    letters = np.asarray(list("abcdefghijklmnop"))
    function = fingerprint("text", near=True)
    errors = []
    for _ in range(60):
        first = "".join(rng.choice(letters, 200))
        cut = rng.integers(0, 200)
        second = first[:cut] + "".join(rng.choice(letters, 200 - cut))
        one, other = shingles(first), shingles(second)
        pair = [np.frombuffer(function(text), "uint32") for text in (first, second)]
        errors.append((pair[0] == pair[1]).mean() - len(one & other) / len(one | other))
    assert abs(np.mean(errors)) < 0.02
    assert np.std(errors) < 0.08


def test_difference_hash():
    """Against pixels averaged by hand, where an image divides evenly."""
    image = np.random.default_rng(0).integers(0, 256, (32, 51))
    small = image.reshape(16, 2, 17, 3).mean(axis=(1, 3))
    margin = 0.02 * (small.max() - small.min())
    expected = np.asarray([[right > left + margin for left, right in zip(r[:-1], r[1:], strict=True)] for r in small])
    found = np.unpackbits(np.frombuffer(fingerprint("image", near=True)(image), "uint8"))
    np.testing.assert_array_equal(found.reshape(16, 16), expected)


@pytest.mark.parametrize("number, near", [(0, True), (8, True), (9, False)])
def test_near_images_differ_in_few_bits_and_share_a_band(number, near):
    rng = np.random.default_rng(number)
    first = rng.integers(0, 256, (200, 32)).astype("uint8")
    bits = np.unpackbits(first, axis=1)
    for row in bits:
        row[rng.choice(256, number, replace=False)] ^= 1
    second = np.packbits(bits, axis=1)
    assert (are_near("image", first, second) == near).all()
    if near:
        shared = (bands("image", first) == bands("image", second)).all(axis=-1).any(axis=-1)
        assert shared.all()


def test_images_smaller_than_their_hash():
    function = fingerprint("image", near=True)
    assert function(np.arange(12).reshape(3, 4)) != function(np.arange(12)[::-1].reshape(3, 4))
    assert len(function(np.zeros((1, 1)))) == 32
