"""The data set multi_digits: its images, its labels, its splits, and the batches that `load` makes of it."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

tfds = pytest.importorskip("tensorflow_datasets", reason="needs the extra `data`")
sklearn_datasets = pytest.importorskip("sklearn.datasets", reason="needs the extra `demo`")

from keras_mtl.data import _compose  # noqa: E402
from keras_mtl.data._multi_digits import MultiDigits, _split_sources, load  # noqa: E402

SIZES = {"train": 6000, "validation": 1500, "test": 1500}
FEATURES = {"image", "left", "right", "sum", "left_source", "right_source"}


def read(builder):
    """All examples of all splits: {split: {feature: array}}."""
    return {split: tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1)) for split in builder.info.splits}


def ink_columns(digit, corner):
    """The columns of the canvas that a digit reaches with visible ink."""
    return set(np.flatnonzero((digit > 0.25).any(axis=0)) + corner[1])


@pytest.fixture(scope="module")
def digits():
    return sklearn_datasets.load_digits()


@pytest.fixture(scope="module")
def large_digits(digits):
    return _compose.upscale(digits.images / 16)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    for config in ("default", "tiny"):
        MultiDigits(data_dir=folder, config=config).download_and_prepare()
    return folder


@pytest.fixture(scope="module")
def examples(data_dir):
    return read(MultiDigits(data_dir=data_dir))


class TestImages:
    def test_upscale_doubles_and_keeps_what_is_constant(self):
        np.testing.assert_allclose(_compose.upscale(np.full((3, 8, 8), 0.5)), np.full((3, 16, 16), 0.5))

    def test_upscale_interpolates_each_axis(self):
        ramp = _compose.upscale(np.tile(np.arange(4.0), (1, 4, 1)))[0]
        np.testing.assert_allclose(ramp, np.tile([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3], (8, 1)))
        np.testing.assert_allclose(_compose.upscale((np.arange(4.0)[:, None] * np.ones(4))[None])[0], ramp.T)

    def test_compose_takes_the_maximum(self):
        left, right = np.full((16, 16), 0.2), np.full((16, 16), 1.0)
        image = _compose.compose(left, right, (0, 0), (4, 8))
        assert image.shape == (20, 28, 1)
        assert image.dtype == np.uint8
        assert (image[4:, 8:24] == 255).all()
        assert (image[:16, :8] == 51).all()
        assert (image[:, 24:] == 0).all()
        swapped = _compose.compose(right, left, (4, 8), (0, 0))
        np.testing.assert_array_equal(image, swapped)

    def test_boxes_fit_and_overlap(self):
        random = np.random.RandomState(1)
        corners = np.array([_compose.draw_corners(random) for _ in range(2000)])
        left, right = corners[:, 0], corners[:, 1]
        assert set(left[:, 0]) == set(right[:, 0]) == {0, 1, 2, 3, 4}
        assert right[:, 1].max() + _compose.SIDE == _compose.WIDTH
        assert right[:, 0].max() + _compose.SIDE == _compose.HEIGHT
        shared = left[:, 1] + _compose.SIDE - right[:, 1]
        assert shared.min() == 4
        assert shared.max() == 12

    def test_strokes_mostly_overlap(self, large_digits):
        random = np.random.RandomState(1)
        shared = []
        for _ in range(500):
            left, right = large_digits[random.choice(len(large_digits), size=2)]
            left_corner, right_corner = _compose.draw_corners(random)
            shared.append(len(ink_columns(left, left_corner) & ink_columns(right, right_corner)))
        assert 2 < np.mean(shared) < 5
        assert np.mean(np.greater(shared, 0)) > 0.7

    def test_images_show_their_two_sources(self, examples, large_digits):
        shifts = list(itertools.product(range(5), repeat=2))
        test = examples["test"]
        for image, left, right in zip(test["image"][:12], test["left_source"], test["right_source"], strict=False):
            assert any(
                np.array_equal(
                    image, _compose.compose(large_digits[left], large_digits[right], (top, column), (row, 8 + shift))
                )
                for (top, column), (row, shift) in itertools.product(shifts, shifts)
            )


class TestBuilder:
    def test_features(self, data_dir):
        info = MultiDigits(data_dir=data_dir).info
        assert set(info.features) == FEATURES
        assert info.features["image"].shape == (20, 28, 1)
        assert info.features["left"].num_classes == info.features["right"].num_classes == 10
        assert info.citation.count("@") == 3

    def test_values(self, examples):
        for split, size in SIZES.items():
            part = examples[split]
            assert part["image"].shape == (size, 20, 28, 1)
            assert part["image"].dtype == np.uint8
            assert part["image"].min() == 0
            assert part["image"].max() == 255
            assert part["sum"].dtype == np.float32
            assert part["left_source"].dtype == part["right_source"].dtype == np.int32
            for side in ("left", "right"):
                assert part[side].dtype == np.int64
                shares = np.bincount(part[side], minlength=10) / size
                assert ((shares > 0.06) & (shares < 0.14)).all()

    def test_labels_are_those_of_the_sources(self, examples, digits):
        for part in examples.values():
            np.testing.assert_array_equal(part["left"], digits.target[part["left_source"]])
            np.testing.assert_array_equal(part["right"], digits.target[part["right_source"]])
            np.testing.assert_array_equal(part["sum"], part["left"] + part["right"])

    def test_no_source_in_two_splits(self, examples):
        sources = [set(part["left_source"]) | set(part["right_source"]) for part in examples.values()]
        for one, other in itertools.combinations(sources, 2):
            assert not one & other

    def test_sources_are_stratified(self, digits):
        rows = _split_sources(digits.target)
        np.testing.assert_array_equal(np.sort(np.concatenate(list(rows.values()))), np.arange(len(digits.target)))
        total = np.bincount(digits.target)
        for split, share in {"train": 0.6, "validation": 0.2, "test": 0.2}.items():
            assert (abs(np.bincount(digits.target[rows[split]]) - share * total) <= 1).all()

    def test_preparing_again_gives_the_same(self, data_dir, tmp_path):
        again = MultiDigits(data_dir=tmp_path, config="tiny")
        again.download_and_prepare()
        first, second = read(MultiDigits(data_dir=data_dir, config="tiny")), read(again)
        assert {split: len(part["sum"]) for split, part in first.items()} == {"train": 96, "validation": 32, "test": 32}
        for split, name in itertools.product(first, FEATURES):
            np.testing.assert_array_equal(first[split][name], second[split][name])

    def test_is_registered(self, data_dir):
        assert "multi_digits" in tfds.list_builders(with_community_datasets=False)
        assert isinstance(tfds.builder("multi_digits", data_dir=data_dir), MultiDigits)
        dataset = tfds.load("multi_digits/tiny", split="test", data_dir=data_dir, as_supervised=True)
        image, labels = next(iter(dataset))
        assert image.shape == (20, 28, 1)
        assert set(labels) == {"left", "right", "sum"}


class TestLoad:
    def test_batches(self, data_dir, examples):
        dataset = load("test", batch_size=400, data_dir=data_dir)
        image, labels = dataset.element_spec
        assert image == tf.TensorSpec((None, 20, 28, 1), tf.uint8)
        assert labels == {
            "left": tf.TensorSpec((None,), tf.int64),
            "right": tf.TensorSpec((None,), tf.int64),
            "sum": tf.TensorSpec((None,), tf.float32),
        }
        batches = list(dataset.as_numpy_iterator())
        assert [len(image) for image, _ in batches] == [400, 400, 400, 300]
        np.testing.assert_array_equal(np.concatenate([image for image, _ in batches]), examples["test"]["image"])
        for task in labels:
            np.testing.assert_array_equal(np.concatenate([y[task] for _, y in batches]), examples["test"][task])

    def test_shuffles_anew_in_each_epoch_by_the_seed(self, data_dir):
        def sums(dataset):
            return np.concatenate([labels["sum"] for _, labels in dataset.as_numpy_iterator()])

        plain = sums(load("validation", batch_size=64, data_dir=data_dir))
        dataset, same_seed = (load("validation", batch_size=64, data_dir=data_dir, shuffle_seed=3) for _ in range(2))
        other_seed = load("validation", batch_size=64, data_dir=data_dir, shuffle_seed=4)
        first, second = sums(dataset), sums(dataset)
        for one, other in itertools.combinations([plain, first, second, sums(other_seed)], 2):
            assert not np.array_equal(one, other)
            np.testing.assert_array_equal(np.sort(one), np.sort(other))
        np.testing.assert_array_equal(first, sums(same_seed))
        np.testing.assert_array_equal(second, sums(same_seed))

    def test_prepares_on_first_use_and_leaves_the_standard_output_alone(self, tmp_path, capsys):
        dataset = load("train[:10]", batch_size=10, data_dir=tmp_path)
        assert len(list(dataset)) == 1
        assert capsys.readouterr().out == ""

    @pytest.mark.parametrize(
        "arguments, message",
        [
            ({"batch_size": 0}, "`batch_size` should be an integer of at least 1"),
            ({"shuffle_seed": -1}, "`shuffle_seed` should be an integer of at least 0"),
            ({"split": "valid"}, "Unknown split 'valid'"),
        ],
    )
    def test_refuses_what_is_out_of_range(self, data_dir, arguments, message):
        with pytest.raises(ValueError, match=message):
            load(**{"split": "train", "batch_size": 8, "data_dir": data_dir} | arguments)
