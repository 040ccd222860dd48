"""from_text_lines: patterns, classes, numbers, encodings, lines that cannot be read, order."""

import gzip
import re

import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import data

TREC = r"(?P<fine>(?P<coarse>\w+):\w+) (?P<text>.*)"
QUESTIONS = "NUM:dist How far is it ?\nHUM:ind Who was he ?\n\nNUM:count How many ?\n"


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


@pytest.fixture
def questions(tmp_path):
    return write(tmp_path / "questions.txt", QUESTIONS)


def only(dataset):
    (batch,) = dataset
    return batch


def test_two_labels_of_a_line(questions):
    dataset = data.from_text_lines(questions, TREC, batch_size=4)
    x, y = only(dataset)
    assert x.numpy().tolist() == [b"How far is it ?", b"Who was he ?", b"How many ?"]
    assert dataset.class_names == {"fine": ["HUM:ind", "NUM:count", "NUM:dist"], "coarse": ["HUM", "NUM"]}
    assert y["fine"].numpy().tolist() == [2, 0, 1]
    assert y["coarse"].numpy().tolist() == [1, 0, 1]
    assert y["coarse"].dtype == "int64"


def test_a_label_at_the_end_a_number_and_missing_ones(tmp_path):
    file = write(tmp_path / "a.tsv", "good\t4.5\tpos\nbad\t\tneg\nso so\t-1e1\t\n")
    rule = r"(?P<text>[^\t]*)\t(?P<stars>[^\t]*)\t(?P<mood>.*)"
    x, y = only(data.from_text_lines(file, rule, batch_size=4, numbers=["stars"]))
    assert x.numpy().tolist() == [b"good", b"bad", b"so so"]
    np.testing.assert_array_equal(y["stars"], np.asarray([4.5, np.nan, -10], "float32"))
    assert y["mood"].numpy().tolist() == [1, 0, -1]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "cp1252", "utf8"])
def test_encodings(tmp_path, encoding):
    file = write(tmp_path / "a.txt", "1 caf\xe9\n0 na\xefve\n", encoding)
    x, y = only(data.from_text_lines(file, "(?P<label>[01]) (?P<text>.*)", batch_size=2, encoding=encoding))
    assert [text.decode() for text in x.numpy()] == ["caf\xe9", "na\xefve"]
    assert y["label"].numpy().tolist() == [1, 0]


def test_several_files_some_packed(tmp_path, questions):
    packed = tmp_path / "more.txt.gz"
    packed.write_bytes(gzip.compress(b"ABBR:exp What is TREC ?\n"))
    x, _ = only(data.from_text_lines([questions, packed], TREC, batch_size=9))
    assert len(x) == 4
    assert x[3] == b"What is TREC ?"


BAD = {
    "pattern": (b"HUM:ind Who ?\nno label\n", "line 2"),
    "encoding": (b"HUM:ind Who ?\n\nHUM:ind caf\xe9\n", "line 3"),
    "class": (b"HUM:ind Who ?\nLOC:city Where ?\n", "line 2"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_line_that_cannot_be_read(tmp_path, kind):
    content, line = BAD[kind]
    file = tmp_path / "a.txt"
    file.write_bytes(content)
    names = {"fine": ["HUM:ind", "LOC:city"], "coarse": ["HUM"]}
    dataset = data.from_text_lines(file, TREC, batch_size=4, class_names=names)
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"line should be readable. Received: .*a.txt, {line} \("):
        list(dataset)
    dataset = data.from_text_lines(file, TREC, batch_size=4, class_names=names, on_unreadable="skip")
    for _ in range(2):
        x, y = only(dataset)
        assert x.numpy().tolist() == [b"Who ?"]
        assert y["coarse"].numpy().tolist() == [0]
    assert dataset.unreadable == [f"{file}, {line}"]


def test_no_number(tmp_path):
    file = write(tmp_path / "a.txt", "four good\n4 good\n")
    arguments = {"numbers": ["stars"], "batch_size": 4}
    dataset = data.from_text_lines(file, r"(?P<stars>\w+) (?P<text>.*)", on_unreadable="skip", **arguments)
    assert only(dataset)[1]["stars"].numpy().tolist() == [4.0]
    assert len(dataset.unreadable) == 1


def test_a_replacement_character_that_is_in_the_file_is_no_fault(tmp_path):
    file = write(tmp_path / "a.txt", "1 \N{REPLACEMENT CHARACTER}\n")
    x, _ = only(data.from_text_lines(file, "(?P<label>1) (?P<text>.*)", batch_size=1))
    assert x.numpy()[0].decode() == "\N{REPLACEMENT CHARACTER}"


class TestOrder:
    @pytest.fixture
    def numbers(self, tmp_path):
        return write(tmp_path / "a.txt", "".join(f"{index % 3} {index}\n" for index in range(2500)))

    def read(self, file, **arguments):
        dataset = data.from_text_lines(file, "(?P<label>.) (?P<text>.*)", batch_size=100, **arguments)
        batches = list(dataset)
        assert {len(x) for x, _ in batches} == {100}
        found = np.concatenate([x for x, _ in batches]).astype(int)
        np.testing.assert_array_equal(np.concatenate([y["label"] for _, y in batches]), found % 3)
        return found.tolist()

    def test_of_the_lines(self, numbers):
        assert self.read(numbers) == list(range(2500))
        assert self.read(numbers, cache="memory") == list(range(2500))

    def test_by_a_seed(self, numbers):
        one, same, other = (self.read(numbers, shuffle_seed=seed) for seed in (1, 1, 2))
        assert one == same
        assert one != other
        assert sorted(one) == list(range(2500))
        near = self.read(numbers, shuffle_seed=1, shuffle_buffer=10)
        assert max(place - line for place, line in enumerate(near)) > 0
        assert max(line - place for place, line in enumerate(near)) < 10

    def test_prepare(self, numbers):
        first = self.read(numbers, prepare=lambda x, y: (tf.strings.join([x]), y))
        assert first == list(range(2500))


@pytest.mark.parametrize(
    ("pattern", "arguments", "message"),
    [
        ("(", {}, "`pattern` should be a regular expression"),
        ("(?P<text>.*)", {}, "one for each label"),
        ("(?P<label>.)", {}, re.escape("a group for the text, (?P<text>...)")),
        (TREC, {"numbers": ["stars"]}, "`numbers` should hold labels of the pattern"),
        (TREC, {"encoding": "klingon"}, "`encoding` should be known to Python"),
        (TREC, {"shuffle_buffer": 0}, "`shuffle_buffer`"),
        (TREC, {"on_unreadable": "no"}, "`on_unreadable`"),
        ("(?P<label>x*)(?P<text>.*)", {}, "labels? 'label' should have one at least that is not missing"),
    ],
)
def test_bad_arguments(questions, pattern, arguments, message):
    with pytest.raises(ValueError, match=f"(?i){message}"):
        data.from_text_lines(questions, pattern, batch_size=2, **arguments)


def test_no_file(tmp_path):
    with pytest.raises(ValueError, match="`paths` should be files that exist"):
        data.from_text_lines(tmp_path / "absent", TREC, batch_size=2)
