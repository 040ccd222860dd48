"""Mixtures: what comes, how often, in which order, and when it ends."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_mtl import data, tasks
from tests.models import largest_difference, two_task_model

KINDS = [tasks.Classification("a", 4), tasks.Regression("b")]
SIZES = {"first": 50, "second": 17, "third": 6}
OFFSETS = {"first": 0, "second": 1000, "third": 2000}


def source(name, size, key):
    """Inputs that say which example of which data set they are."""
    x = (OFFSETS[name] + np.arange(size)).astype("float32")[:, np.newaxis]
    y = np.arange(size) % 4 if key == "a" else np.arange(size).astype("float32")
    return tf.data.Dataset.from_tensor_slices((x, {key: y}))


def sources(**sizes):
    keys = {"first": "a", "second": "b", "third": "b"}
    return {name: source(name, size, keys[name]) for name, size in {**SIZES, **sizes}.items()}


def mix(datasets=None, **arguments):
    arguments = {"batch_size": 4, "at_end": "once", "seed": 3, **arguments}
    return data.mix(datasets or sources(), KINDS, **arguments)


def batches_of(stream, number=-1):
    return [x.numpy()[:, 0].astype(int) for x, _ in stream.take(number)]


def examples_of(stream, number=-1):
    return np.concatenate(batches_of(stream, number))


def by_source(examples):
    return {name: [int(e) - o for e in examples if o <= e < o + 1000] for name, o in OFFSETS.items()}


def name_of(example):
    return list(OFFSETS)[example // 1000]


def same(first, second):
    return len(first) == len(second) and all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


WEIGHTS = ["proportional", "uniform", [1, 2, 3], {"third": 1, "first": 1, "second": 5}]


class TestAtEnd:
    @pytest.mark.parametrize("weights", WEIGHTS, ids=str)
    @pytest.mark.parametrize("batches", ["mixed", "single"])
    def test_once_brings_each_example_once(self, weights, batches):
        stream = mix(weights=weights, batches=batches)
        found = batches_of(stream)
        for name, rows in by_source(np.concatenate(found)).items():
            assert rows == list(range(SIZES[name]))
        number = 19 if batches == "mixed" else 13 + 5 + 2
        assert len(found) == len(stream) == number

    @pytest.mark.parametrize("weights", WEIGHTS, ids=str)
    def test_repeat_ends_when_the_last_one_is_through(self, weights):
        stream = mix(at_end="repeat", weights=weights)
        found = examples_of(stream)
        rows = by_source(found)
        for name, size in SIZES.items():
            assert rows[name] == [row % size for row in range(len(rows[name]))]
            assert len(rows[name]) >= size
        assert len(rows[name_of(found[-1])]) == SIZES[name_of(found[-1])]
        assert len(stream) == -(-len(found) // 4)

    @pytest.mark.parametrize("weights", [*WEIGHTS, [1, 1, 0]], ids=str)
    def test_stop_ends_with_the_first_that_ends(self, weights):
        stream = mix(at_end="stop", weights=weights)
        found = examples_of(stream)
        endless = examples_of(mix(at_end="forever", weights=weights), 200)
        assert np.array_equal(endless[: len(found)], found)
        would_be_next = name_of(endless[len(found)])
        assert len(by_source(found)[would_be_next]) == SIZES[would_be_next]
        assert all(rows == list(range(len(rows))) and len(rows) <= SIZES[n] for n, rows in by_source(found).items())
        assert len(stream) == -(-len(found) // 4)

    def test_forever_has_no_end(self):
        stream = mix(at_end="forever")
        assert stream.cardinality() == tf.data.INFINITE_CARDINALITY
        assert len(examples_of(stream, 100)) == 400

    @pytest.mark.parametrize("at_end", ["repeat", "stop", "once", "forever"])
    def test_a_batch_of_one_data_set(self, at_end):
        stream = mix(at_end=at_end, batches="single", seed=5)
        found = batches_of(stream, 60)
        assert all(len({name_of(example) for example in batch}) == 1 for batch in found)
        assert len({name_of(batch[0]) for batch in found}) == (2 if at_end == "stop" else 3)
        if at_end != "forever":
            assert len(found) == len(stream)

    def test_drop_remainder(self):
        for batches, number in (("mixed", 73 // 4), ("single", 12 + 4 + 1)):
            stream = mix(batches=batches, drop_remainder=True)
            found = batches_of(stream)
            assert len(found) == len(stream) == number
            assert {len(batch) for batch in found} == {4}

    def test_long_streams_are_counted(self):
        """Over more than one block of draws."""
        stream = mix(sources(first=9000, second=4000, third=10), at_end="repeat", weights="uniform", batch_size=8)
        assert len(stream) == sum(1 for _ in stream) > 2 * 9000 // 8


class TestShares:
    def shares(self, number=1000, start=0, **arguments):
        stream = mix(at_end="forever", batch_size=8, **arguments).skip(start)
        counts = np.asarray([len(rows) for rows in by_source(examples_of(stream, number)).values()])
        return counts / counts.sum()

    @pytest.mark.parametrize(
        "arguments, expected",
        [
            ({}, [50, 17, 6]),
            ({"weights": "uniform"}, [1, 1, 1]),
            ({"weights": [3, 0, 1]}, [3, 0, 1]),
            ({"weights": {"third": 5, "second": 2, "first": 1}}, [1, 2, 5]),
            ({"temperature": 2}, np.sqrt([50, 17, 6])),
            ({"weights": [1, 2, 3], "temperature": 0.5}, [1, 4, 9]),
            ({"batches": "single"}, [50, 17, 6]),
        ],
        ids=str,
    )
    def test_they_are_those_asked_for(self, arguments, expected):
        if arguments.get("batches") == "single":  # the last batch of each data set is short
            arguments = {**arguments, "drop_remainder": True}
            found = self.shares(4000, **{**arguments, "datasets": sources(third=8)})
            expected = [50, 17, 8]
        else:
            found = self.shares(**arguments)
        np.testing.assert_allclose(found, np.asarray(expected) / np.sum(expected), atol=0.025)

    def test_annealing(self):
        schedule = keras.optimizers.schedules.PolynomialDecay(1.0, 1000, 5.0)
        start = self.shares(200, temperature=schedule)
        end = self.shares(1000, 1000, temperature=schedule)
        powers = np.asarray([50, 17, 6]) ** (1 / np.append(1 + np.arange(200) / 250, 5.0))[:, np.newaxis]
        expected = powers / powers.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(start, expected[:-1].mean(axis=0), atol=0.04)
        np.testing.assert_allclose(end, expected[-1], atol=0.025)
        assert start[0] > end[0] + 0.1

    def test_annealing_of_a_pass_with_an_end(self):
        schedule = keras.optimizers.schedules.PiecewiseConstantDecay([4], [0.2, 1e6])
        found = batches_of(mix(sources(first=60, second=60, third=60), weights=[1, 2, 3], temperature=schedule))
        assert sorted(np.concatenate(found)) == sorted(o + row for o in OFFSETS.values() for row in range(60))
        assert {name_of(example) for example in np.concatenate(found[:2])} <= {"second", "third"}


class TestOrder:
    def test_the_same_seed_gives_the_same_stream(self):
        for arguments in ({}, {"shuffle": 20}, {"batches": "single"}, {"at_end": "repeat", "shuffle": 5}):
            first, second = mix(**arguments), mix(**arguments)
            assert same(batches_of(first), batches_of(second)), arguments
            assert not same(batches_of(mix(**arguments)), batches_of(mix(**{**arguments, "seed": 4})))

    def test_keras_seed_decides_where_none_is_given(self):
        found = []
        for seed in (0, 0, 1):
            keras.utils.set_random_seed(seed)
            found.append(batches_of(mix(seed=None)))
        assert same(found[0], found[1])
        assert not same(found[0], found[2])

    def test_each_pass_is_the_same_without_shuffle(self):
        stream = mix()
        assert same(batches_of(stream), batches_of(stream))

    def test_shuffle_is_new_in_each_pass_and_complete(self):
        stream = mix(shuffle=100)
        first, second = examples_of(stream), examples_of(stream)
        assert not np.array_equal(first, second)
        for found in (first, second):
            assert {n: sorted(rows) for n, rows in by_source(found).items()} == {
                n: list(range(size)) for n, size in SIZES.items()
            }

    @pytest.mark.parametrize(
        "arguments",
        [
            {},
            {"shuffle": 30, "at_end": "repeat"},
            {"batches": "single", "at_end": "forever"},
            {"exclude": {"first": [3]}},
        ],
        ids=str,
    )
    def test_it_resumes_where_it_was_saved(self, arguments, tmp_path):
        stream = mix(**arguments).take(30)
        iterator = iter(stream)
        before = [next(iterator)[0].numpy() for _ in range(5)]
        path = tf.train.Checkpoint(iterator=iterator).save(str(tmp_path / "stream"))
        expected = [x.numpy() for x, _ in iterator]
        other = iter(mix(**arguments).take(30))  # as in a new process
        tf.train.Checkpoint(iterator=other).restore(path).assert_consumed()
        assert same(expected, [x.numpy() for x, _ in other])
        assert len(before) + len(expected) == min(30, len(list(mix(**arguments).take(30))))

    @pytest.mark.parametrize("batches", ["mixed", "single"])
    def test_shards_are_disjoint_and_together_all(self, batches):
        shards = [mix(shard=(index, 3), batches=batches) for index in range(3)]
        found = [examples_of(shard) for shard in shards]
        assert sorted(np.concatenate(found)) == sorted(o + r for n, o in OFFSETS.items() for r in range(SIZES[n]))
        assert by_source(found[1])["second"] == list(range(1, 17, 3))
        assert [len(shard) for shard in shards] == [len(batches_of(shard)) for shard in shards]


class TestContents:
    def test_labels_of_other_tasks_are_missing(self):
        for x, y in mix():
            ours = x.numpy()[:, 0] < 1000
            rows = x.numpy()[:, 0] % 1000
            assert y["a"].dtype == tf.int64
            assert y["b"].dtype == tf.float32
            np.testing.assert_array_equal(y["a"], np.where(ours, rows % 4, -1))
            np.testing.assert_array_equal(y["b"], np.where(ours, np.nan, rows))

    def test_labels_that_are_there_stay(self):
        both = tf.data.Dataset.from_tensor_slices((np.zeros((3, 1), "float32"), {"a": [1, 2, 3], "b": [0.5, 1.5, 2.5]}))
        ((_, y),) = mix({"both": both})
        np.testing.assert_array_equal(y["a"], [1, 2, 3])
        np.testing.assert_array_equal(y["b"], [0.5, 1.5, 2.5])

    def test_inputs_that_a_data_set_lacks_are_zeros_and_empty(self):
        image = tf.data.Dataset.from_tensor_slices(({"image": np.ones((5, 2, 3), "uint8")}, {"a": [1] * 5}))
        text = tf.data.Dataset.from_tensor_slices(({"text": ["so", "ein", "text"]}, {"b": [1.0] * 3}))
        for batches in ("mixed", "single"):
            number = 0
            for x, y in mix({"image": image, "text": text}, batches=batches):
                of_image = y["a"].numpy() == 1
                assert (x["image"].numpy() == of_image[:, None, None]).all()
                assert x["image"].shape[1:] == (2, 3)
                assert ((x["text"].numpy() == b"") == of_image).all()
                number += len(of_image)
            assert number == 8

    def test_shapes_may_differ_between_single_batches(self):
        wide = tf.data.Dataset.from_tensor_slices((np.ones((5, 7), "float32"), {"a": [1] * 5}))
        narrow = tf.data.Dataset.from_tensor_slices((np.ones((5, 3), "float32"), {"b": [1.0] * 5}))
        stream = mix({"wide": wide, "narrow": narrow}, batches="single")
        assert {x.shape[1] for x, _ in stream} == {3, 7}
        with pytest.raises(
            ValueError, match=r"one shape in all data sets, for they meet .*'wide': \(7,\).*'narrow': \(3,"
        ):
            mix({"wide": wide, "narrow": narrow})

    def test_excluded_positions_stay_out(self):
        excluded = {"first": [0, 49, 7, 7], "third": [2]}
        for number in (1, 2):
            shards = [mix(exclude=excluded, shard=(index, number)) for index in range(number)]
            found = by_source(np.concatenate([examples_of(shard) for shard in shards]))
            assert sorted(found["first"]) == [row for row in range(50) if row not in (0, 7, 49)]
            assert sorted(found["second"]) == list(range(17))
            assert sorted(found["third"]) == [0, 1, 3, 4, 5]
            assert [len(shard) for shard in shards] == [len(batches_of(shard)) for shard in shards]

    def test_a_chunk_may_be_excluded_whole(self):
        stream = mix(sources(first=200), exclude={"first": range(150)})
        assert by_source(examples_of(stream))["first"] == list(range(150, 200))
        assert len(stream) == len(batches_of(stream))

    def test_leaks_stay_out(self):
        datasets = sources()
        inputs = {
            "first": {"train": datasets["first"], "test": np.asarray([[1004.0], [77.0]], "float32")},
            "second": {"train": datasets["second"], "test": np.asarray([[13.0]], "float32")},
            "third": {"train": datasets["third"], "validation": np.asarray([[2000.0], [2005.0]], "float32")},
            "unused": {"test": np.asarray([[49.0]], "float32")},
        }
        found = by_source(examples_of(mix(exclude=data.find_leaks(inputs))))
        assert found["first"] == [row for row in range(50) if row not in (13, 49)]
        assert found["second"] == [row for row in range(17) if row != 4]
        assert found["third"] == [1, 2, 3, 4]

    def test_sizes_that_are_not_known(self):
        unknown = {name: dataset.filter(lambda x, y: True) for name, dataset in sources().items()}
        stream = mix(unknown, weights="uniform")
        assert stream.cardinality() == tf.data.UNKNOWN_CARDINALITY
        assert len(examples_of(stream)) == 73
        stream = mix(unknown, weights=[1, 1, 1], at_end="stop")
        assert np.array_equal(examples_of(stream), examples_of(mix(weights="uniform", at_end="stop")))
        for arguments in ({}, {"at_end": "repeat", "weights": "uniform"}):
            with pytest.raises(
                ValueError, match="known number of examples. Received: data set 'first' with an unknown"
            ):
                mix(unknown, **arguments)


def test_labels_for_each_pixel():
    pixels = {"mask": np.ones((3, 4, 6, 1), "uint8")}
    images = tf.data.Dataset.from_tensor_slices((np.ones((3, 4, 6, 3), "float32"), pixels))
    others = tf.data.Dataset.from_tensor_slices((np.zeros((5, 4, 6, 3), "float32"), {"a": [1] * 5}))
    mask = tasks.Segmentation("mask", 2)
    stream = data.mix({"p": images, "o": others}, [KINDS[0], mask], batch_size=8, at_end="once", seed=0)
    ((x, y),) = stream
    of_images = x.numpy()[:, 0, 0, 0] == 1
    assert y["mask"].shape == (8, 4, 6)
    assert (mask.missing(y["mask"]).numpy() == ~of_images[:, np.newaxis, np.newaxis]).all()
    assert (y["mask"].numpy()[of_images] == 1).all()
    np.testing.assert_array_equal(y["a"], np.where(of_images, -1, 1))


class TestErrors:
    @pytest.mark.parametrize(
        "arguments, message",
        [
            ({"batch_size": 0}, "`batch_size` should be an integer of at least 1"),
            ({"at_end": "loop"}, "`at_end` should be one of"),
            ({"batches": "own"}, "`batches` should be one of"),
            ({"drop_remainder": 1}, "`drop_remainder` should be True or False"),
            ({"shuffle": 0}, "`shuffle` should be an integer of at least 1"),
            ({"seed": -1}, "`seed` should be an integer of at least 0"),
            ({"weights": "even"}, "`weights` should be 'proportional', 'uniform', or .* Received: weights='even'"),
            ({"weights": {"first": 1}}, "or by name: .*'first', 'second', 'third'"),
            ({"weights": [1, 2]}, "a number for each of the data sets"),
            ({"weights": [1, 2, -1]}, "`weights.'third'.` should be a finite number of at least 0"),
            ({"weights": [1, 2, 0]}, "above 0 for every data set, for all are read to their end"),
            ({"weights": [0, 0, 0], "at_end": "stop"}, "above 0 for one data set at least"),
            ({"weights": [1, 1, 1e-9]}, "about .* draws are needed before data set 'third' is through"),
            ({"temperature": 0}, "`temperature` should be above 0"),
            (
                {"temperature": keras.optimizers.schedules.PolynomialDecay(1.0, 10, 0.0)},
                "above 0 at every step. Received: a schedule that is 0.0 at step 10",
            ),
            ({"shard": (2, 2)}, r"0 <= index < number. Received: shard=\(2, 2\)"),
            ({"exclude": {"fourth": [1]}}, "positions by data set: .* Received: exclude="),
            ({"exclude": {"first": [50]}}, "positions below 50, the size of data set 'first'. Received: 50"),
            ({"exclude": {"first": [0.5]}}, "integers of at least 0. Received: for data set 'first'"),
            (
                {"exclude": {"third": range(6)}},
                "'third' should have one example .* 6 examples, of which 6 are excluded",
            ),
            ({"shard": (6, 7)}, "'third' should have one example .* 0 are left in shard 6 of 7"),
            ({"batch_size": 7, "batches": "single", "drop_remainder": True}, "'third' should have a whole batch of 7"),
            ({"batch_size": 99, "drop_remainder": True}, "The mixture should have a whole batch of 99"),
        ],
        ids=lambda value: "-".join(value) if isinstance(value, dict) else value,
    )
    def test_arguments(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            mix(**arguments)

    @pytest.mark.parametrize("datasets", [{}, [], {"first": (1, 2)}, {1: source("first", 3, "a")}], ids=str)
    def test_what_is_no_dict_of_data_sets(self, datasets):
        with pytest.raises(ValueError, match="Parameter `datasets` should"):
            data.mix(datasets, KINDS, batch_size=1, at_end="once")

    def test_empty_data_sets(self):
        known = {**sources(), "third": source("third", 0, "b")}
        with pytest.raises(ValueError, match="'third' should have one example at least. Received: 0 examples"):
            mix(known)
        unknown = {**sources(), "third": source("third", 3, "b").filter(lambda x, y: False)}
        with pytest.raises(ValueError, match="'third' should have one example at least. Received: an empty data set"):
            mix(unknown, weights="uniform")

    def test_endless_data_sets(self):
        endless = {**sources(), "third": source("third", 3, "b").repeat()}
        for at_end in ("once", "repeat"):
            with pytest.raises(ValueError, match="Received: data set 'third' with no end"):
                mix(endless, at_end=at_end, weights="uniform")
        assert len(mix(endless, at_end="stop", weights="uniform")) > 0

    def test_leaks_of_other_data(self):
        leaks = data.find_leaks({"first": {"train": np.zeros((49, 1)), "test": np.ones((1, 1))}})
        with pytest.raises(
            ValueError, match="should know every data set.* Received: leaks of .'first'., and .*'second'"
        ):
            mix(exclude=leaks)
        with pytest.raises(ValueError, match="leaks found in 49 training examples of 'first', and a data set of 50"):
            data.mix({"first": sources()["first"]}, KINDS[:1], batch_size=4, at_end="once", exclude=leaks)


class TestFit:
    def make(self, seed):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(40, 6)).astype("float32")
        y = {"a": np.argmax(x[:, :4], axis=1)} if seed == 0 else {"b": x[:, 0]}
        return tf.data.Dataset.from_tensor_slices((x, y))

    def test_it_trains_a_model_of_all_tasks(self):
        stream = mix({"first": self.make(0), "second": self.make(1)}, at_end="repeat", batch_size=8)
        model = two_task_model()
        model.compile(keras.optimizers.Adam(0.01))
        history = model.fit(stream, epochs=8, validation_data=stream, verbose=0).history
        assert model.optimizer.iterations.numpy() == 8 * len(stream)
        assert all(np.isfinite(values).all() for values in history.values())
        assert history["a_loss"][-1] < history["a_loss"][0]
        assert history["b_loss"][-1] < history["b_loss"][0]

    def test_a_batch_without_a_task_leaves_its_head_alone(self):
        stream = mix({"first": self.make(0), "second": self.make(1)}, batches="single", weights=[1, 0], at_end="stop")
        model = two_task_model()
        model.compile(keras.optimizers.Adam(0.01))
        before = [w.numpy() for layer in ("b", "b_hidden") for w in model.get_layer(layer).weights]
        model.fit(stream, verbose=0)
        after = [w.numpy() for layer in ("b", "b_hidden") for w in model.get_layer(layer).weights]
        assert same(before, after)

    def test_replicas(self, two_replicas):
        stream = mix({"first": self.make(0), "second": self.make(1)}, batch_size=8)
        models = []
        for scope in (two_replicas.scope(), tf.distribute.get_strategy().scope()):
            with scope:
                model = two_task_model()
                model.compile(keras.optimizers.Adam(0.01))
            model.fit(stream, epochs=2, verbose=0)
            models.append(model)
        assert largest_difference(*models) <= 1e-5
