"""Examples that data sets and splits have in common, against plain loops."""

import gzip
import itertools

import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import data


def expected(parts, same):
    """By a comparison of each input with each."""
    found = {}
    for (first, ours), (second, theirs) in itertools.permutations(parts.items(), 2):
        rows = [row for row, one in enumerate(ours) if any(same(one, other) for other in theirs)]
        if rows:
            found.setdefault(first, {})[second] = rows
    return found


def as_lists(leaks):
    return {
        first: {second: rows.tolist() for second, rows in others.items()}
        for first, others in leaks.positions.items()
        if others
    }


def nested(parts):
    found = {}
    for (name, split), inputs in parts.items():
        found.setdefault(name, {})[split] = inputs
    return found


TEXTS = {
    ("a", "train"): ["A fine film .", "Dull!", "dull", "Rain in Spain", "(?)", "Caf\u00e9 life"],
    ("a", "test"): ["a  fine film", "so-so", "Regen"],
    ("b", "train"): ["So so", "RAIN IN SPAIN!", "?!", "(?)", "so, so"],
    ("b", "test"): ["caf life", "\u96e8", "DULL..."],
}


def test_texts():
    normal = {
        "A fine film .": "afinefilm",
        "a  fine film": "afinefilm",
        "(?)": "(?)",
        "?!": "?!",
        "Caf\u00e9 life": "caflife",
        "\u96e8": "\u96e8",
    }
    form = lambda text: normal.get(text) or "".join(c for c in text.lower() if c.isalpha())  # noqa: E731
    leaks = data.find_leaks(nested(TEXTS))
    assert leaks.kind == "text"
    assert as_lists(leaks) == expected(TEXTS, lambda one, other: form(one) == form(other))
    assert leaks.counts[("b", "train"), ("a", "test")] == 2
    assert leaks.counts[("a", "test"), ("b", "train")] == 1
    assert leaks.sizes == {part: len(inputs) for part, inputs in TEXTS.items()}


def test_sources_of_every_form_are_the_same():
    plain = as_lists(data.find_leaks(nested(TEXTS)))
    for form in (
        lambda texts: np.asarray(texts),
        lambda texts: tuple(text.encode() for text in texts),
        lambda texts: tf.data.Dataset.from_tensor_slices(texts),
        lambda texts: tf.data.Dataset.from_tensor_slices((texts, {"y": np.arange(len(texts))})),
    ):
        found = data.find_leaks(nested({part: form(texts) for part, texts in TEXTS.items()}))
        assert found.kind == "text"
        assert as_lists(found) == plain


def test_rows():
    rng = np.random.default_rng(0)
    parts = {(name, split): rng.integers(-1, 2, (20, 4)).astype("float32") for name in "ab" for split in ("train", "x")}
    parts["a", "train"][parts["a", "train"] == 0] = -0.0
    leaks = data.find_leaks(nested(parts))
    assert leaks.kind == "rows"
    assert as_lists(leaks) == expected(parts, np.array_equal)
    assert len(leaks.counts) > 3
    assert as_lists(data.find_leaks(nested({p: r.astype("float64") for p, r in parts.items()}))) == as_lists(leaks)


def test_rows_of_columns():
    a = {"age": np.asarray([1, 2, 3]), "name": np.asarray(["x", "y", "z"])}
    b = {"name": np.asarray(["z", "x"]), "age": np.asarray([3, 2])}
    leaks = data.find_leaks({"a": {"train": a}, "b": {"test": tf.data.Dataset.from_tensor_slices(b)}})
    assert leaks.kind == "rows"
    assert as_lists(leaks) == {("a", "train"): {("b", "test"): [2]}, ("b", "test"): {("a", "train"): [0]}}


def test_near_rows_agree_in_three_digits():
    one = np.asarray([[1.2341, 0.0, -5e-7], [1.25, 1.0, 1.0], [1e9, 2.0, np.inf]])
    other = np.asarray([[1.2339, 0.0, -5e-7], [1.26, 1.0, 1.0], [1.0004e9, 2.0, np.inf]])
    parts = {"a": {"train": one}, "b": {"test": other}}
    assert data.find_leaks(parts).counts == {}
    assert data.find_leaks(parts, near=True).positions["a", "train"]["b", "test"].tolist() == [0, 2]


class TestImages:
    def images(self, number=30, seed=0, size=(40, 48)):
        """Smooth random images."""
        rng = np.random.default_rng(seed)
        coarse = rng.integers(0, 256, (number, 8, 8, 3)).astype("float32")
        return np.asarray(tf.image.resize(coarse, size, method="bicubic").numpy().clip(0, 255), "uint8")

    def test_exact(self):
        one, other = self.images(), self.images(seed=1)
        other[3], other[5] = one[7], one[8]
        other[5, 0, 0, 0] ^= 1
        leaks = data.find_leaks({"a": {"train": one}, "b": {"test": other}})
        assert leaks.kind == "image"
        assert as_lists(leaks) == {("a", "train"): {("b", "test"): [7]}, ("b", "test"): {("a", "train"): [3]}}

    def test_near(self):
        one, other = self.images(), self.images(seed=1)
        noise = np.random.default_rng(2).integers(-3, 4, one[0].shape)
        other[3] = (one[7].astype(int) + noise).clip(0, 255)
        other[4] = (one[9] * 0.8 + 20).astype("uint8")  # less contrast
        larger = tf.cast(tf.image.resize(one, (60, 90)), "uint8").numpy()
        leaks = data.find_leaks({"a": {"train": one}, "b": {"test": other}, "c": {"test": larger[:5]}}, near=True)
        assert leaks.positions["a", "train"]["b", "test"].tolist() == [7, 9]
        assert leaks.positions["b", "test"]["a", "train"].tolist() == [3, 4]
        assert leaks.positions["a", "train"]["c", "test"].tolist() == [0, 1, 2, 3, 4]
        assert ("c", "test") not in leaks.positions["b", "test"]

    def test_gray_images_without_channels(self):
        gray = self.images()[..., 0]
        leaks = data.find_leaks({"a": {"train": gray, "test": gray[4:6]}}, kind="image", near=True)
        assert leaks.positions["a", "train"]["a", "test"].tolist() == [4, 5]


class TestNearTexts:
    WORDS = [f"w{number}ord" for number in range(2000)]

    def texts(self, number, seed):
        rng = np.random.default_rng(seed)
        return [rng.choice(self.WORDS, 40).tolist() for _ in range(number)]

    def test_few_changes_are_near_and_many_are_not(self):
        one, other = self.texts(50, 0), self.texts(50, 1)
        other[4] = [*one[9][:-1], "another"]
        other[5] = one[8][:36]
        other[6] = [*one[7][:20], *other[6][20:]]
        other[7] = one[3]
        one, other = ([" ".join(words) for words in texts] for texts in (one, other))
        leaks = data.find_leaks({"a": {"train": one}, "b": {"test": other}}, near=True)
        assert leaks.positions["b", "test"]["a", "train"].tolist() == [4, 5, 7]
        assert leaks.positions["a", "train"]["b", "test"].tolist() == [3, 8, 9]

    def test_what_is_the_same_is_near(self):
        exact, near = data.find_leaks(nested(TEXTS)), data.find_leaks(nested(TEXTS), near=True)
        assert as_lists(exact) == as_lists(near)

    def test_many_that_are_the_same(self):
        leaks = data.find_leaks({"a": {"train": ["the same"] * 3000}, "b": {"test": ["the same", "x"]}}, near=True)
        assert leaks.counts == {(("a", "train"), ("b", "test")): 3000, (("b", "test"), ("a", "train")): 1}


class TestReport:
    def test_overlaps(self):
        leaks = data.find_leaks(nested(TEXTS))
        found = {name: rows.tolist() for name, rows in leaks.overlaps().items()}
        assert found == {"a": [0, 1, 2, 5], "b": [0, 4]}
        assert leaks.overlaps("test", ["train"])["a"].tolist() == [0, 1]
        assert leaks.overlaps("test", ["test"])["a"].tolist() == []
        for arguments in (("validation",), ("train", ["dev"])):
            with pytest.raises(ValueError, match=r"should be one of \['train', 'test'\]"):
                leaks.overlaps(*arguments)

    def test_table(self):
        leaks = data.find_leaks({"a": {"train": ["x"] * 3 + ["y"]}, "b|c": {"test": ["x", "z"]}})
        assert leaks.to_markdown().splitlines()[2:] == [
            "| a train | b\\|c test | 3 | 75.0 % |",
            "| b\\|c test | a train | 1 | 50.0 % |",
        ]
        assert repr(leaks) == "Leaks(text, 2 pairs of 2 splits)"


@pytest.mark.parametrize(
    "received, arguments, message",
    [
        ({}, {}, "one split at least"),
        ([["x"]], {}, "inputs by name of data set and of split"),
        ({"a": ["x"]}, {}, "inputs by name of data set and of split"),
        ({"a": {"train": "x"}}, {}, "Data set 'a', split 'train', should be an array, a list"),
        ({"a": {"train": ["x"], "test": []}}, {}, "Data set 'a', split 'test', should have one input at least"),
        ({"a": {"train": []}}, {}, "Data set 'a', split 'train', should have one input at least"),
        ({"a": {"train": ["x", 3]}}, {}, "split 'train': the input at position 1, of kind 'text', should be a string"),
        ({"a": {"train": ["x"]}}, {"kind": "image"}, "should be an image"),
        ({"a": {"train": np.ones((2, 3, 4, 4, 1))}}, {"kind": "image"}, r"shape \(3, 4, 4, 1\). A data set of batches"),
        ({"a": {"train": ["x"]}}, {"kind": "sound"}, "`kind` should be one of"),
        ({"a": {"train": ["x"]}}, {"near": 0.5}, "`near` should be True or False"),
    ],
    ids=str,
)
def test_other_arguments_are_refused(received, arguments, message):
    with pytest.raises(ValueError, match=message):
        data.find_leaks(received, **arguments)


@pytest.mark.data
def test_sentences_that_public_data_sets_share(pytestconfig):
    folder = pytestconfig.rootpath.parent / "shared" / "data" / "text"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}")

    def read(name):
        with gzip.open(folder / f"{name}.gz", "rt", encoding="utf-8", newline="\n") as lines:
            return [line.split(" ", 1)[1] for line in lines if line.strip()]

    fine = {"train": read("stsa.fine.train"), "test": read("stsa.fine.test")}
    leaks = data.find_leaks({"sst": fine, "mr": {"all": read("rt-polarity.all")}, "subj": {"all": read("subj.all")}})
    counts = leaks.counts
    assert (leaks.sizes["sst", "train"], leaks.sizes["sst", "test"]) == (8544, 2210)
    assert counts[("sst", "train"), ("mr", "all")] == 6533
    assert counts[("sst", "test"), ("mr", "all")] == 1702
    assert counts[("subj", "all"), ("mr", "all")] == 4179
