"""The benchmark of sentence data sets reads, divides, encodes and judges as it says."""

import gzip
import importlib
import json
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("sentences")


@pytest.fixture(scope="module")
def sets(benchmark):
    return importlib.import_module("_sentence_sets")


@pytest.fixture(scope="module")
def folder(sets, tmp_path_factory):
    """Small files of sentences that hold a word of their class; `sst1` and `mr` have some in common."""
    path = tmp_path_factory.mktemp("text")
    rng = np.random.default_rng(0)
    words = [f"word{index}" for index in range(40)]
    common = [" ".join(rng.choice(words, 6)) for _ in range(20)]
    for task, files in sets.FILES.items():
        for split, name in files.items():
            rows = [f"{index % 2} class{index % 2} {' '.join(rng.choice(words, 5))}" for index in range(60)]
            if (task, split) in (("mr", "train"), ("sst1", "test")):
                rows += [f"{index % 2} {sentence}" for index, sentence in enumerate(common)]
            with gzip.open(path / f"{name}.gz", "wt", encoding="utf-8") as file:
                file.write("\n".join(rows) + "\n")
    return path


def test_reading_keeps_coarse_labels_of_sentences(sets, tmp_path):
    with gzip.open(tmp_path / "few.gz", "wt", encoding="utf-8") as file:
        file.write("NUM:dist How far  is it ?\nNUM:dist \nHUM:desc Who's crème ?\n")
    assert sets.read(tmp_path / "few.gz") == (["how far is it ?", "who 's crème ?"], ["NUM", "HUM"])


@pytest.mark.parametrize(
    "sentence, tidied",
    [("It doesn't", "it does n't"), ("it does n't", "it does n't"), ("they'll ' see'", "they 'll ' see'")],
    ids=["joined", "apart", "quotes"],
)
def test_contractions_are_the_same_in_all_sets(sets, sentence, tidied):
    assert sets.tidy(sentence) == tidied


def test_a_line_without_a_sentence_is_refused(sets, tmp_path):
    with gzip.open(tmp_path / "bad.gz", "wt", encoding="utf-8") as file:
        file.write("0 fine\n1\n")
    with pytest.raises(ValueError, match=r"line 2, should be a label, a space and a sentence. Received: '1"):
        sets.read(tmp_path / "bad.gz")


def test_a_tenth_of_each_class(sets):
    labels = np.repeat([0, 1, 2], [100, 40, 10])
    first, again, other = (sets.tenth(labels, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.bincount(labels[first]).tolist() == [10, 4, 1]
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize(
    "judge, splits", [("test", ["test", "train"]), ("validation", ["test", "train", "validation"])]
)
def test_division_loses_and_repeats_nothing(sets, folder, judge, splits):
    data = sets.load(folder)
    divided = sets.divide(data, seed=0, judge=judge)
    assert all(sorted(parts) == splits for parts in divided.values())
    together = np.concatenate([sentences for sentences, _ in divided["mr"].values()])
    assert sorted(together) == sorted(data["mr"]["train"][0])
    assert divided["sst1"]["test"][0] is data["sst1"]["test"][0]


def test_both_judges_hold_out_the_same_test_sentences(sets, folder):
    data = sets.load(folder)
    by_judge = [sets.divide(data, seed=3, judge=judge) for judge in ("test", "validation")]
    for task in ("mr", "trec"):
        first, second = (divided[task]["test"][0].tolist() for divided in by_judge)
        assert first == second


def test_no_training_set_holds_a_test_sentence(benchmark, sets, folder):
    divided = sets.divide(sets.load(folder), seed=0, judge="test")
    leaks = sets.leaks_of(divided)
    assert leaks.counts[("mr", "train"), ("sst1", "test")] >= 15
    encoder, encoded = benchmark.prepare(divided, ["mr"], leaks)
    model = benchmark.make(encoder, encoded, steps=10)
    kept = sum(1 for sentence in divided["mr"]["train"][0] if sentence not in set(divided["sst1"]["test"][0]))
    batches = benchmark.stream(encoded, model.tasks, leaks, seed=0).unbatch().take(kept)
    found = [(inputs["words"].numpy(), labels["mr"]) for inputs, labels in batches]
    out = set(leaks.overlaps("train")["mr"].tolist())
    expected = [row for index, row in enumerate(encoded["mr"]["train"][0]["words"]) if index not in out]
    assert len(found) == len(expected) == kept < len(divided["mr"]["train"][0])
    assert sorted(row[row > 0].tolist() for row, _ in found) == sorted(row[row > 0].tolist() for row in expected)
    assert all(label.shape == () for _, label in found)


def test_batches_are_cut_where_all_are_padding(benchmark):
    words = np.zeros((2, 40), "int32")
    words[0, 2:5] = [7, 8, 9]
    words[1, 2:12] = 3
    pieces = np.array([[1, 5, 0, 0], [1, 6, 7, 0]])
    inputs, labels = benchmark.narrow({"words": words, "pieces": pieces}, "labels")
    assert labels == "labels"
    np.testing.assert_array_equal(inputs["words"], words[:, :16])  # 2 and 10 words, and the widest window beyond them
    np.testing.assert_array_equal(inputs["pieces"], pieces[:, :3])


def test_training_sentences_hold_no_part_of_others(sets):
    train = [
        "it is -lrb- by far -rrb- the best of all . go and see",  # holds a test sentence
        "a dull film about nothing at",  # is within one
        "the best of all",  # a short one may be in another
        "something quite different from all of the others",
        "he said that one two three four five would do",  # holds a validation sentence of five words
        "all the pieces are in places",  # begins with a test sentence but for the end of a word
    ]
    test = ["by far the best of all", "they say : a dull film about nothing at all", "the best of all that is"]
    test.append("all the pieces are in place")
    labels = np.arange(6)
    other = (np.array(["no words of theirs , none whatever"], "object"), np.zeros(1, "int32"))
    divided = {
        "mr": {"train": (np.array(train, "object"), labels), "test": other},
        "sst1": {"train": other, "test": (np.array(test, "object"), np.zeros(4, "int32"))},
        "sst2": {"train": other, "validation": (np.array(["one two three four five"], "object"), np.zeros(1, "int32"))},
    }
    kept = sets.without_parts(divided)
    assert kept["mr"]["train"][0].tolist() == [train[2], train[3], train[5]]
    assert kept["mr"]["train"][1].tolist() == [2, 3, 5]
    assert kept["sst1"]["test"] is divided["sst1"]["test"]
    assert len(kept["sst1"]["train"][0]) == 0  # that of MR's test set


def test_the_program_trains_on_no_part_of_a_test_sentence(benchmark, folder, monkeypatch):
    trained = []

    def run(divided, tasks, *_):
        trained.append(divided)
        return {"accuracy": dict.fromkeys(tasks, 80.0), "steps": 1, "seconds": {"wall": 1.0, "processor": 1.0}}

    monkeypatch.setattr(benchmark, "run", run)
    monkeypatch.setattr(benchmark, "mix_share", lambda *_, **__: 0.0)
    benchmark.main(["--data", str(folder), "--seeds", "2"])
    assert len(trained) == 2 * (1 + len(benchmark.FILES))
    for divided in trained:
        assert not set(divided["mr"]["train"][0]) & set(divided["sst1"]["test"][0])


def test_encoding_knows_parts_of_new_words(sets):
    encoder = sets.Encoder(["a fine complaint", "the fine complaint", "one fine complaint", "a day", "the day"])
    encoded = encoder(["a complaining", "zzz", "fine complaint"])
    assert encoded["words"][:, :2].tolist() == [[0, 0]] * 3
    assert encoded["words"][1, 2:4].tolist() == [1, 0]  # not known, and no more
    assert encoded["pieces"].max() < encoder.num_pieces
    new, unknown, known = (set(row[row > 0].tolist()) for row in encoded["pieces"])
    assert unknown == {1}
    assert len(new & known) >= 5  # "comp", "ompl", "mpla", "plai" beside piece 1
    assert len(known) == len(encoded["pieces"][2])


def test_intervals_are_those_of_student(benchmark):
    mean, half = benchmark.interval([1.0, 2.0, 3.0])
    assert mean == 2.0
    assert half == pytest.approx(4.302653 / 3**0.5, rel=1e-5)
    assert benchmark.interval([1.0, 2.0, 3.0], comparisons=7)[1] > 2 * half


def test_judgement_follows_the_intervals(benchmark):
    flat = dict.fromkeys(benchmark.FILES, 80.0)
    single = [{"accuracy": flat} for _ in range(3)]
    joint = [
        {"accuracy": {**flat, "mr": 85 + noise, "cr": 75 + noise, "mpqa": 81 + 40 * noise}} for noise in (0.0, 0.1, 0.2)
    ]
    said = benchmark.judgement({"joint": joint, "single": single})
    helped, hurt, unclear = said.split("; ")
    assert helped == "The joint model helped on mr (+5.1 ± 0.7)"
    assert hurt.startswith("it hurt on cr (-4.9")
    assert "mpqa (+5.0 ±" in unclear
    assert unclear.endswith("together: unclear (+1.0 ± 2.1).")
    alike = {"joint": [{"accuracy": {**flat, "cr": 80.1 + noise}} for noise in (0.0, 0.1, 0.2)], "single": single}
    assert "helped on no task; it hurt on no task" in benchmark.judgement(alike)
    assert benchmark.mean_of_five(joint[0]) == pytest.approx((85 + 80 + 80 + 75 + 81) / 5)


def test_steps_of_the_tasks_are_the_joint_models(benchmark):
    assert sum(benchmark.steps_of(task, 1200) for task in benchmark.FILES) == pytest.approx(1200, abs=4)
    assert benchmark.steps_of("cr", 1) == 1


def test_a_joint_model_learns(benchmark, sets, folder):
    divided = sets.divide(sets.load(folder), seed=0, judge="test")
    leaks = sets.leaks_of(divided)
    found = benchmark.run(divided, ["subj", "cr"], leaks, seed=0, judge="test", steps=60)
    assert set(found["accuracy"]) == {"subj", "cr"}
    assert min(found["accuracy"].values()) > 80
    assert found["seconds"]["wall"] > 0


@pytest.mark.slow
def test_the_program_writes_what_it_shows(benchmark, folder, tmp_path, capsys):
    arguments = ["--data", str(folder), "--seeds", "2", "--steps", "7", "--json", str(tmp_path / "found.json")]
    benchmark.main(arguments)
    found = json.loads((tmp_path / "found.json").read_text())
    assert [len(found["rows"][kind]) for kind in ("joint", "single")] == [2, 2]
    assert found["judgement"].startswith("The joint model")
    assert "joint - single" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [(["--seeds", "1"], "--seeds should be at least 2"), (["--steps", "0"], "--steps should"), ([], "there is no")],
    ids=["seeds", "steps", "data"],
)
def test_wrong_arguments_are_refused(benchmark, tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit):
        benchmark.main(["--data", str(tmp_path), *arguments])
    assert message in capsys.readouterr().err


@pytest.mark.data
def test_leaks_are_those_of_the_data_sets(sets, pytestconfig):
    folder = pytestconfig.rootpath.parent / "shared" / "data" / "text"
    if not folder.is_dir():
        pytest.skip("needs the sentences at ../shared/data/text")
    data = sets.load(folder)
    counts = sets.leaks_of(data).counts
    assert {task: len(splits["train"][0]) for task, splits in data.items()} == {
        "mr": 10_662,
        "sst1": 8_544,
        "sst2": 6_920,
        "subj": 10_000,
        "trec": 5_452,
        "cr": 3_771,
        "mpqa": 10_603,
    }
    assert counts[("sst1", "train"), ("mr", "train")] == 6_533
    assert counts[("sst1", "test"), ("mr", "train")] == 1_702
    assert counts[("subj", "train"), ("mr", "train")] == 4_179
