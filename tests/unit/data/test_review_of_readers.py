"""Class names, groups and marks that readers should not misread in silence."""

import datetime

import numpy as np
import pytest
from PIL import Image

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


def test_shades_of_grey_of_files_with_channels_of_their_own(tmp_path):
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 256, (6, 5, 3)).astype("uint8")
    for suffix in ("png", "bmp", "gif"):
        Image.fromarray(colors).save(tmp_path / f"color.{suffix}")
        Image.fromarray(colors[..., 0]).save(tmp_path / f"grey.{suffix}")
    (tmp_path / "table.csv").write_text(
        "path,kind\n"
        + "".join(f"{name}.{suffix},{suffix}\n" for suffix in ("png", "bmp", "gif") for name in ("color", "grey"))
    )
    dataset = data.from_image_folder(
        tmp_path, batch_size=6, image_size=(6, 5), channels=1, table=tmp_path / "table.csv", labels="kind"
    )
    images = next(iter(dataset))[0].numpy()
    assert images.shape == (6, 6, 5, 1)
    expected = colors @ [0.299, 0.587, 0.114]
    for color, grey in images.reshape(3, 2, 6, 5)[:2]:
        np.testing.assert_allclose(color, expected, atol=1.1)
        np.testing.assert_array_equal(grey, colors[..., 0])
    np.testing.assert_allclose(images[5, ..., 0], colors[..., 0], atol=1.1)  # a GIF has its palette for colors


def test_labels_are_finite():
    with pytest.raises(ValueError, match="labels 'y' should be finite. Received: 'inf' in row 2"):
        data.from_dataframe({"x": [1.0, 2.0, 3.0], "y": ["1", None, "inf"]}, labels="y", batch_size=2)


@pytest.mark.parametrize(
    "times",
    [np.array(["2020-01-01", "2021-01-01"], "datetime64[D]"), [datetime.date(2020, 1, 1), None]],
    ids=["numpy", "python"],
)
def test_times_are_refused(times):
    with pytest.raises(ValueError, match="column 'day'.* should be of numbers or texts. Received: times"):
        data.from_dataframe({"day": times, "y": [0, 1]}, labels="y", batch_size=2)


def test_integers_that_would_not_be_held_are_refused():
    table = {"id": [2**24, None], "y": [0, 1]}
    x, _ = next(iter(data.from_dataframe(table, labels="y", batch_size=2)))
    assert x["id"].numpy()[0, 0] == 2**24
    with pytest.raises(ValueError, match="at most 16777216, .*Received: 16777217"):
        data.from_dataframe({**table, "id": [2**24 + 1, None]}, labels="y", batch_size=2)


def test_encodings_that_tensorflow_lacks_are_refused(tmp_path):
    (tmp_path / "lines.txt").write_text("a x\n")
    with pytest.raises(ValueError, match="known to Python and to TensorFlow. Received: encoding='rot13'"):
        data.from_text_lines(tmp_path / "lines.txt", RULE, batch_size=1, encoding="rot13")
