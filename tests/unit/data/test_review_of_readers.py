"""Class names, groups and marks that readers should not misread in silence."""

import numpy as np
import pytest

from keras_mtl import data

RULE = r"(?P<kind>\S+) (?P<text>.*)"


@pytest.mark.parametrize(
    ("names", "message"),
    [({"kid": ["a", "b"]}, "dict by label"), ({"kind": ["a", "b", "a"]}, "different"), ({"kind": "ab"}, "different")],
    ids=["unknown-label", "repeated", "string"],
)
def test_class_names_are_checked(tmp_path, names, message):
    file = tmp_path / "lines.txt"
    file.write_text("a x\nb y\n")
    with pytest.raises(ValueError, match=message):
        data.from_text_lines(file, RULE, batch_size=2, class_names=names)
    with pytest.raises(ValueError, match=message):
        data.from_dataframe({"x": [1.0, 2.0], "kind": ["a", "b"]}, labels="kind", batch_size=2, class_names=names)
    (tmp_path / "table.csv").write_text("path,kind\nx.png,a\ny.png,b\n")
    with pytest.raises(ValueError, match=message):
        data.from_image_folder(
            tmp_path,
            batch_size=2,
            image_size=(4, 4),
            table=tmp_path / "table.csv",
            labels="kind",
            class_names=names,
        )


def test_classes_with_underscores_are_no_numbers():
    dataset = data.from_dataframe({"x": [1.0, 2.0], "kind": ["1_0", "2_1"]}, labels="kind", batch_size=2)
    assert dataset.class_names == {"kind": ["1_0", "2_1"]}


def test_ten_groups_are_refused(tmp_path):
    (tmp_path / "lines.txt").write_text("0 1 2 3 4 5 6 7 8 x\n")
    ten = " ".join(rf"(?P<label_{index}>\d)" for index in range(9)) + " (?P<text>.*)"
    with pytest.raises(ValueError, match=r"9 groups at most.*\['text'\]"):
        data.from_text_lines(tmp_path / "lines.txt", ten, batch_size=1)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_byte_order_mark_is_left_out(tmp_path, encoding):
    (tmp_path / "lines.txt").write_text("a x\nb y\na z\n", encoding="utf-8-sig")
    dataset = data.from_text_lines(tmp_path / "lines.txt", RULE, batch_size=3, encoding=encoding)
    assert dataset.class_names == {"kind": ["a", "b"]}
    np.testing.assert_array_equal(next(iter(dataset))[1]["kind"], [0, 1, 0])
