"""from_tfds: features to inputs and tasks, of mock data with the specification of real data sets, and of a builder."""

import keras
import numpy as np
import pytest
import tensorflow as tf

tfds = pytest.importorskip("tensorflow_datasets", reason="needs the extra `data`")

from keras_mtl import data, tasks  # noqa: E402
from keras_mtl.data._multi_digits import MultiDigits  # noqa: E402

PETS = {"breed": "label", "species": "species", "head": "head_bbox", "mask": "segmentation_mask"}
# What TFDS itself says of its own arguments.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow_datasets")


@pytest.fixture
def mock():
    with tfds.testing.mock_data(num_examples=6):
        yield


def pets(**arguments):
    given = {"labels": PETS, "image_size": (24, 32), "batch_size": 4} | arguments
    return data.from_tfds("oxford_iiit_pet", "train", **given)


@pytest.mark.usefixtures("mock")
class TestPets:
    def test_breed_species_head_and_mask(self):
        batches = list(pets(prepare=lambda x, y: (x, {**y, "mask": y["mask"] % 3})))
        assert [len(x) for x, _ in batches] == [4, 2]
        x, y = batches[0]
        assert x.shape == (4, 24, 32, 3)
        assert x.dtype == "uint8"
        assert {key: tuple(values.shape) for key, values in y.items()} == {
            "breed": (4,),
            "species": (4,),
            "head": (4, 4),
            "mask": (4, 24, 32),
        }

    def test_the_labels_are_those_of_the_tasks(self):
        kinds = [
            tasks.Classification("breed", 37),
            tasks.Classification("species", 2),
            tasks.Regression("head", 4),
            tasks.Segmentation("mask", 3),
        ]
        dataset = pets(prepare=lambda x, y: (x, {**y, "mask": y["mask"] % 3}))
        assert data.check(dataset, kinds, scan="all").num_examples == 6
        with pytest.raises(ValueError, match="Data set 'pets': labels 'mask' of task 'mask' should be class indices"):
            data.check(pets(), kinds, name="pets")

    def test_class_names(self):
        assert len(pets().class_names["breed"]) in (0, 37)
        assert set(pets().class_names) == {"breed", "species"}

    def test_masks_and_boxes_move_with_the_pixels(self):
        def mark(x, y):
            """An image, a mask and a box of the same half."""
            left = tf.concat([tf.ones((24, 16)), tf.zeros((24, 16))], axis=1)
            box = tf.constant([0.0, 0.0, 1.0, 0.5])
            return tf.cast(255 * left[..., tf.newaxis] * tf.ones(3), "uint8"), {
                **y,
                "mask": tf.cast(left, "uint8"),
                "head": box,
            }

        flip = keras.layers.RandomFlip("horizontal", seed=3, bounding_box_format="rel_yxyx")
        flipped = []
        for x, y in pets(prepare=mark, augment=[flip], batch_size=6).repeat(3):
            np.testing.assert_array_equal(x[..., 0] > 127, y["mask"] == 1)
            assert y["mask"].dtype == "uint8"
            is_flipped = y["mask"][:, 0, 0].numpy() == 0
            expected = np.where(is_flipped[:, None], [0, 0.5, 1, 1], [0, 0, 1, 0.5])
            np.testing.assert_allclose(y["head"], expected, atol=1e-6)
            flipped += is_flipped.tolist()
        assert {True, False} == set(flipped)

    def test_a_box_that_is_missing_or_leaves_the_image_is_missing(self):
        def mark(x, y):
            return x, {**y, "head": tf.constant([0.1, 0.0, 0.4, 0.2])}

        away = keras.layers.RandomTranslation(0.0, (-0.9, -0.9), bounding_box_format="rel_yxyx")
        _, y = next(iter(pets(prepare=mark, augment=away)))
        assert np.isnan(y["head"]).all()
        stay = keras.layers.RandomBrightness(0.1, bounding_box_format="rel_yxyx")
        _, y = next(iter(pets(prepare=lambda x, y: (x, {**y, "head": y["head"] * float("nan")}), augment=stay)))
        assert np.isnan(y["head"]).all()

    def test_a_layer_without_the_format_of_boxes_is_refused(self):
        with pytest.raises(ValueError, match="RandomFlip should have `bounding_box_format='rel_yxyx'`"):
            pets(augment=keras.layers.RandomFlip("horizontal"))

    def test_images_of_several_sizes_need_a_size(self):
        with pytest.raises(ValueError, match="`image_size` should be given, .* 'image' has shape"):
            pets(image_size=None)

    @pytest.mark.parametrize("cache", ["memory", "file"])
    def test_a_cache_holds_everything_after_a_pass_that_was_cut_short(self, cache, tmp_path):
        dataset = pets(cache=str(tmp_path / "cache") if cache == "file" else cache, batch_size=2)
        next(iter(dataset))
        first = [x.numpy() for x, _ in dataset]
        assert sum(map(len, first)) == 6
        np.testing.assert_array_equal(np.concatenate(first), np.concatenate([x.numpy() for x, _ in dataset]))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"labels": {"breed": "race"}}, r"`labels\['breed'\]` should be a feature of 'oxford_iiit_pet'.*'race'"),
            ({"labels": {}}, "`labels` should be the feature of each label"),
            ({"inputs": "picture"}, "`inputs` should be a feature"),
            ({"inputs": {"a": "image", "b": "file_name"}, "augment": keras.layers.RandomFlip}, "`augment` should be"),
            ({"batch_size": 0}, "`batch_size`"),
            ({"shuffle_seed": -1}, "`shuffle_seed`"),
            ({"image_size": 3}, "`image_size` should be a height and a width"),
            ({"cache": 1}, "`cache` should be None"),
            ({"prepare": 1}, "`prepare` should be a function"),
            ({"prepare": lambda x, y: x}, "`prepare` should return"),
        ],
        ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
    )
    def test_bad_arguments(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            pets(**arguments)


@pytest.mark.usefixtures("mock")
def test_forty_attributes_of_celeb_a():
    names = list(tfds.builder("celeb_a").info.features["attributes"].keys())
    assert len(names) == 40
    labels = {name.lower(): ("attributes", name) for name in names}
    dataset = data.from_tfds("celeb_a", "train", labels=labels, image_size=(16, 16), batch_size=3)
    x, y = next(iter(dataset))
    assert x.shape == (3, 16, 16, 3)
    assert set(y) == set(labels)
    # Tasks have names that begin with a letter: "5_o_clock_shadow" is given another one by the user.
    kinds = [tasks.BinaryClassification(f"is_{name}", label=name) for name in labels]
    assert len(data.check(dataset, kinds, scan="all").num_labels) == 40
    with pytest.raises(ValueError, match="should be one feature. Received: 'attributes', which holds"):
        data.from_tfds("celeb_a", "train", labels={"a": "attributes"}, batch_size=3)


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    pytest.importorskip("sklearn", reason="needs the extra `demo`")
    return MultiDigits(data_dir=tmp_path_factory.mktemp("tfds"), config="tiny")


class TestBuilder:
    def read(self, builder, split="train", **arguments):
        labels = {"left": "left", "total": "sum"}
        return data.from_tfds(builder, split, **{"labels": labels, "batch_size": 20} | arguments)

    def test_it_reads_what_the_builder_has(self, builder):
        dataset = self.read(builder)
        assert len(dataset) == 5
        expected = list(tfds.as_numpy(builder.as_dataset(split="train")))
        np.testing.assert_array_equal(np.concatenate([x for x, _ in dataset]), [one["image"] for one in expected])
        totals = np.concatenate([y["total"] for _, y in dataset])
        np.testing.assert_array_equal(totals, [one["sum"] for one in expected])
        assert dataset.class_names == {"left": [str(digit) for digit in range(10)]}

    def test_a_seed_gives_an_order(self, builder):
        def orders(seed):
            dataset = self.read(builder, shuffle_seed=seed)
            return [np.concatenate([y["total"] for _, y in dataset]).tolist() for _ in range(2)]

        assert orders(1) == orders(1)
        assert orders(1)[0] != orders(1)[1]
        assert orders(1) != orders(2)
        assert sorted(orders(1)[0]) == sorted(orders(2)[1])

    def test_slices_and_several_inputs(self, builder):
        inputs = {"image": "image", "right": "right"}
        x, y = next(iter(self.read(builder, "test[:25%]", inputs=inputs, image_size=(10, 14))))
        assert x["image"].shape == (8, 10, 14, 1)
        assert x["right"].shape == (8,)
        assert y["left"].shape == (8,)

    def test_an_empty_split(self, builder):
        with pytest.raises(ValueError, match=r"'test\[:0\]' of 'multi_digits' should .* one example at least"):
            self.read(builder, "test[:0]")
        with pytest.raises(ValueError, match="Split 'exam' of 'multi_digits' should be there"):
            self.read(builder, "exam")

    def test_a_source_that_is_none(self, builder):
        with pytest.raises(ValueError, match="`source` should be the name of a data set or a builder"):
            self.read(3)
        with pytest.raises(ValueError, match="`data_dir` should go with the name"):
            self.read(builder, data_dir="elsewhere")
