"""from_image_folder and from_audio_folder: folders, tables, unreadable files, order, caches, augmentation."""

import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import data, tasks

BREEDS = ("beagle", "pug")


def write_image(path, value, size=(6, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tf.io.encode_png(tf.fill((*size, 3), tf.constant(value, "uint8"))).numpy())


def write_clip(path, samples, rate=16000, channels=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    clip = tf.tile(tf.constant(samples, "float32")[:, tf.newaxis], (1, channels))
    path.write_bytes(tf.audio.encode_wav(clip, rate).numpy())


@pytest.fixture
def folder(tmp_path):
    """Forty images, whose shade is their number, in two folders by turns."""
    for index in range(40):
        write_image(tmp_path / BREEDS[index % 2] / f"{index:02}.png", index)
    return tmp_path


def read(folder, **arguments):
    return data.from_image_folder(folder, **{"labels": "breed", "image_size": (4, 5), "batch_size": 16} | arguments)


def shades(dataset):
    return np.concatenate([x[:, 0, 0, 0] for x, _ in dataset]).astype(int).tolist()


class TestFolders:
    def test_images_with_the_class_of_their_folder(self, folder):
        dataset = read(folder)
        assert len(dataset) == 3
        assert [x.shape for x, _ in dataset] == [(16, 4, 5, 3), (16, 4, 5, 3), (8, 4, 5, 3)]
        assert shades(dataset) == [*range(0, 40, 2), *range(1, 40, 2)]
        assert np.concatenate([y["breed"] for _, y in dataset]).tolist() == [0] * 20 + [1] * 20
        assert dataset.class_names == {"breed": ["beagle", "pug"]}

    def test_a_label_for_each_level(self, folder, tmp_path):
        deep = tmp_path / "deep"
        write_image(deep / "dog" / "7" / "a.png", 1)
        write_image(deep / "cat" / "8" / "b.PNG", 2)
        dataset = read(deep, labels=["species", "number"], channels=1)
        x, y = next(iter(dataset))
        assert x.shape == (2, 4, 5, 1)
        assert {key: values.numpy().tolist() for key, values in y.items()} == {"species": [0, 1], "number": [1, 0]}
        assert dataset.class_names == {"species": ["cat", "dog"], "number": ["7", "8"]}

    def test_class_names_of_training(self, folder):
        names = {"breed": ["boxer", "pug", "beagle"]}
        _, y = next(iter(read(folder, class_names=names)))
        assert set(y["breed"].numpy()) == {2}
        with pytest.raises(ValueError, match=r"among the classes \['pug'\]. Received: 'beagle' in row 0 \(20 such"):
            read(folder, class_names={"breed": ["pug"]})

    @pytest.mark.parametrize("arguments", [{}, {"cache": "memory"}, {"prepare": lambda x, y: (x, y)}])
    def test_a_seed_gives_an_order(self, folder, arguments):
        one, same, other = (read(folder, shuffle_seed=seed, **arguments) for seed in (1, 1, 2))
        first = [shades(one), shades(one)]
        assert first == [shades(same), shades(same)]
        assert first[0] != first[1]
        assert first[0] != shades(other)
        assert sorted(first[0]) == list(range(40))

    def test_a_cache_is_read_in_place_of_the_files(self, folder, tmp_path):
        dataset = read(folder, cache=tmp_path / "cache")
        expected = shades(dataset)
        for path in folder.rglob("*.png"):
            path.unlink()
        assert shades(dataset) == expected

    def test_augmentation(self, folder):
        doubled = [2 * shade for shade in shades(read(folder))]
        by_function = read(folder, augment=lambda parts: {"images": 2 * parts["images"]})
        assert by_function.element_spec[0].dtype == "float32"
        assert shades(by_function) == doubled
        # A layer that takes no dict is given the images.
        assert shades(read(folder, augment=keras.layers.Rescaling(2.0))) == doubled
        steps = [keras.layers.Rescaling(4.0), lambda parts: {"images": parts["images"] / 2}]
        assert shades(read(folder, augment=steps)) == doubled
        assert shades(read(folder, augment=keras.Sequential([keras.layers.Rescaling(2.0)]))) == doubled

    @pytest.mark.parametrize("form", [list, keras.Sequential, keras.layers.Pipeline])
    def test_layers_of_keras_move_the_pixels(self, tmp_path, form):
        left = np.zeros((8, 8, 3), "uint8")
        left[:, :4] = 200
        for index in range(12):
            path = tmp_path / "a" / f"{index:02}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(tf.io.encode_png(left).numpy())
        layers = [keras.layers.RandomFlip("horizontal", seed=1), keras.layers.RandomRotation((0.25, 0.25), seed=2)]
        dataset = read(tmp_path, image_size=(8, 8), augment=form(layers), batch_size=12)
        x = np.concatenate([x for x, _ in dataset.repeat(2)])
        # A quarter of a turn brings one side to the top, the other to the bottom: which, the flip decides.
        upper, lower = x[:, :4].mean(axis=(1, 2, 3)), x[:, 4:].mean(axis=(1, 2, 3))
        np.testing.assert_allclose(np.maximum(upper, lower), 200, atol=1)
        np.testing.assert_allclose(np.minimum(upper, lower), 0, atol=1)
        assert {True, False} == set((upper > lower).tolist())

    @pytest.mark.parametrize("layer", [keras.layers.Conv2D(3, 3), keras.layers.MaxPooling2D()], ids=["conv", "pool"])
    def test_a_layer_that_takes_no_masks_is_refused(self, folder, layer):
        with pytest.raises(ValueError, match="`augment` should hold layers that move masks and boxes .* Received: <"):
            read(folder, augment=[keras.layers.RandomFlip(), layer])

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"labels": None}, "`labels` should name a label for each level"),
            ({"labels": ["a", "b"]}, "should lie in one folder for each of the labels"),
            ({"on_unreadable": "ignore"}, "`on_unreadable` should be one of"),
            ({"channels": 2}, "`channels` should be one of"),
            ({"table": "no.csv"}, "`table` should be the path of a CSV file"),
            ({"tasks": [tasks.Classification("age", 3)]}, r"among \['age'\]. Received: \['breed'\]"),
        ],
        ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
    )
    def test_bad_arguments(self, folder, arguments, message):
        with pytest.raises(ValueError, match=message):
            read(folder, **arguments)

    def test_nothing_there(self, tmp_path):
        with pytest.raises(ValueError, match="should have one file at least. Received: none whose name ends in .jpg"):
            read(tmp_path)
        with pytest.raises(ValueError, match="`folder` should be a folder that exists"):
            read(tmp_path / "absent")


class TestUnreadable:
    @pytest.fixture
    def damaged(self, folder):
        (folder / "beagle" / "04.png").write_bytes((folder / "beagle" / "04.png").read_bytes()[:50])
        (folder / "pug" / "03.png").write_text("no image")
        (folder / "pug" / "05.png").write_bytes(b"")
        return folder

    def test_an_error_names_the_file(self, damaged):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"image should be readable. Received: .*04.png"):
            shades(read(damaged))
        with pytest.raises(ValueError, match=r"Data set 'pets' should be readable. Received, after 0 exam.*04.png"):
            data.check(read(damaged), [tasks.Classification("breed", 2)], name="pets")

    @pytest.mark.parametrize("batch_size", [1, 8, 16, 40, 50])
    @pytest.mark.parametrize("arguments", [{}, {"shuffle_seed": 0}, {"cache": "memory"}], ids=["", "seed", "cache"])
    def test_the_last_file(self, folder, batch_size, arguments):
        (folder / "pug" / "39.png").write_text("no image")
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"image should be readable. Received: .*39.png \("):
            list(read(folder, batch_size=batch_size, **arguments))

    @pytest.mark.parametrize("arguments", [{}, {"shuffle_seed": 0}, {"cache": "memory"}])
    def test_they_are_skipped_and_counted(self, damaged, arguments, caplog):
        with caplog.at_level(logging.WARNING, "keras_mtl"):
            dataset = read(damaged, on_unreadable="skip", **arguments)
            assert dataset.unreadable == []
            for _ in range(2):
                found = shades(dataset)
                assert sorted(found) == sorted({*range(40)} - {3, 4, 5})
        if not arguments:
            assert found == [*range(0, 4, 2), *range(6, 40, 2), 1, *range(7, 40, 2)]
        names = {path.rpartition("/")[2] for path in dataset.unreadable}
        assert names == {"03.png", "04.png", "05.png"}
        assert len(dataset.unreadable) == len(caplog.records) == 3

    @pytest.mark.parametrize("batch_size", [1, 3, 100])
    def test_batches_without_any_that_is_readable(self, damaged, batch_size):
        found = [x for x, _ in read(damaged, on_unreadable="skip", batch_size=batch_size)]
        assert [len(x) for x in found] == [batch_size] * (37 // batch_size) + [37 % batch_size] * (batch_size > 1)

    def test_a_file_that_a_table_alone_knows(self, folder):
        (folder / "table.csv").write_text("path,age\nbeagle/00.png,3\nabsent.png,4\n")
        dataset = read(folder, table=folder / "table.csv", labels=["age"], on_unreadable="skip")
        assert shades(dataset) == [0]
        assert len(dataset.unreadable) == 1


class TestTables:
    @pytest.fixture
    def table(self, folder):
        text = "path,kind,age,weight,note\nbeagle/00.png,hound,3,1.5,x\npug/01.png,,,,y\nbeagle/02.png,toy,5,2,z\n"
        (folder / "table.csv").write_text(text)
        return folder / "table.csv"

    def test_columns_and_empty_cells(self, folder, table):
        dataset = read(folder, table=table, labels={"sort": "kind", "age": "age", "weight": "weight"})
        x, y = next(iter(dataset))
        assert x[:, 0, 0, 0].numpy().tolist() == [0, 1, 2]
        assert y["sort"].numpy().tolist() == [0, -1, 1]
        assert y["age"].numpy().tolist() == [3, -1, 5]
        np.testing.assert_array_equal(y["weight"], np.asarray([1.5, np.nan, 2], "float32"))
        assert dataset.class_names == {"sort": ["hound", "toy"]}

    def test_tasks_decide_on_the_dtype(self, folder, table):
        kinds = [tasks.Regression("age"), tasks.Classification("sort", 2, label="kind")]
        _, y = next(iter(read(folder, table=table, labels=None, tasks=kinds)))
        np.testing.assert_array_equal(y["age"], np.asarray([3, np.nan, 5], "float32"))
        assert y["kind"].numpy().tolist() == [0, -1, 1]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("path,age\na.png\n", "line 2, should have 2 cells. Received: 1"),
            ("path,path\na.png,3\n", "different column names"),
            ("file,age\na.png,3\n", "`path_column` should be a column of"),
            ("path,weight\na.png,3\n", r"`labels` should name columns of the table .*'age'"),
            ("path,age\n", "should have one file at least"),
            ("path,age\na.png,\nb.png,\n", "labels 'age' should have one at least that is not missing"),
        ],
    )
    def test_bad_tables(self, folder, text, message):
        (folder / "table.csv").write_text(text)
        with pytest.raises(ValueError, match=message):
            read(folder, table=folder / "table.csv", labels=["age"])


class TestAudio:
    def read(self, folder, **arguments):
        return data.from_audio_folder(folder, **{"labels": "word", "num_samples": 6, "batch_size": 4} | arguments)

    def test_clips_are_cut_and_filled_up(self, tmp_path):
        write_clip(tmp_path / "no" / "a.wav", [0.5] * 8, channels=2)
        write_clip(tmp_path / "yes" / "b.wav", [0.25] * 4)
        x, y = next(iter(self.read(tmp_path, augment=lambda clips: 2 * clips)))
        np.testing.assert_allclose(x, [[1] * 6, [0.5] * 4 + [0] * 2], atol=1e-3)
        assert y["word"].numpy().tolist() == [0, 1]

    def test_layers_are_in_training(self, tmp_path):
        write_clip(tmp_path / "no" / "a.wav", [0.5] * 8)
        x, _ = next(iter(self.read(tmp_path, augment=[keras.layers.GaussianNoise(0.1, seed=0)])))
        assert len(set(x.numpy()[0].tolist())) == 6

    def test_another_rate_counts_as_unreadable(self, tmp_path):
        write_clip(tmp_path / "no" / "a.wav", [0.5] * 8)
        write_clip(tmp_path / "yes" / "b.wav", [0.25] * 4, rate=8000)
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"WAV file of 16000 samples a second .*b.wav"):
            list(self.read(tmp_path))
        dataset = self.read(tmp_path, on_unreadable="skip")
        assert sum(len(x) for x, _ in dataset) == 1
        assert len(dataset.unreadable) == 1
