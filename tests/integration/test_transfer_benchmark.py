"""The benchmark of transfer reads, trains and judges as it says."""

import gzip
import importlib
import io
import tarfile
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("transfer")


@pytest.fixture
def sets(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("_transfer_sets")


def small(sets, num_examples=40):
    """Blue or red, and as a target, bright or dark too."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 100, (num_examples, 8, 8, 3)).astype("uint8")
    color, bright = rng.integers(0, 2, (2, num_examples)).astype("int32")
    images[..., 0] += (100 * color[:, None, None]).astype("uint8")
    images[..., 1] += (100 * bright[:, None, None]).astype("uint8")
    labels = {"color": color, "bright": bright}
    tasks = [sets.mtl.tasks.Classification(name, 2) for name in labels]
    return sets.Setting(
        backbone=lambda: sets.of_images((8, 8, 3), (4, 4), units=8),
        source_tasks=tasks[:1],
        target_tasks=tasks,
        source=(images, {"color": color}),
        target=dict.fromkeys(("train", "validation", "test"), (images, labels)),
        source_epochs=2,
        source_batch=10,
        epochs=5,
        batch=20,
    )


class Steps(keras.callbacks.Callback):
    """Counts the steps of a training: an optimizer that begins anew with a stage does not."""

    count = 0

    def on_train_batch_end(self, batch, logs=None):
        self.last = batch + 1

    def on_epoch_end(self, epoch, logs=None):
        self.count += self.last


@pytest.mark.slow  # seven models
def test_each_way_does_what_it_says(benchmark, sets, monkeypatch):
    setting = small(sets)
    source = benchmark.train_source(setting, seed=0)
    models, steps, copied = {}, {}, []
    build, copy_weights = benchmark.mtl.build_model, benchmark.mtl.transfer.copy_weights

    def built(*arguments):
        model = models[name] = build(*arguments)
        fit, counter = model.fit, Steps()
        steps[name] = counter
        model.fit = lambda *data, callbacks, **others: fit(*data, callbacks=[*callbacks, counter], **others)
        return model

    def copy(given, model):
        assert given is source
        copied.append(model)
        return copy_weights(given, model)

    monkeypatch.setattr(benchmark.mtl, "build_model", built)
    monkeypatch.setattr(benchmark.mtl.transfer, "copy_weights", copy)
    for name, way in benchmark.WAYS.items():
        found = benchmark.train_target(setting, way, source, 1e-2, seed=0)
        assert set(found) == {"validation", "test"}
        assert all(0 <= value <= 1 for value in found.values())
        assert steps[name].count == 10

    def moved(name, layer, index):
        first, then = (model.get_layer(layer).get_weights()[index] for model in (source, models[name]))
        return np.abs(first - then).max()

    for layer, index in (("block1_conv", 0), ("block3_dense", 0), ("block1_norm", 2), ("block3_norm", 3)):
        assert moved("heads alone", layer, index) == 0
        assert moved("fine-tuning", layer, index) > 0
    for name, still in (("frozen batch normalization", True), ("all three", True), ("staged unfreezing", False)):
        assert (moved(name, "block1_norm", 2) == 0) == still
        assert moved(name, "block1_conv", 0) > 0
    first = [moved(name, "block1_conv", 0) for name in ("layer-wise rates", "fine-tuning")]
    assert first[0] < 0.5 * first[1]
    assert copied == [model for name, model in models.items() if name != "from nothing"]


def test_stages_fill_the_epochs(benchmark):
    for epochs in (20, 30, 7):
        stages = benchmark.staged(epochs, 4)
        assert sum(stage.epochs for stage in stages) == epochs
        assert [stage.blocks for stage in stages] == [None, 1, 2, 4]


def test_the_rate_is_chosen_by_validation(benchmark):
    def run(validation, test):
        return {
            name: {"0.1": {"validation": 0.5, "test": 0.9}, "0.01": {"validation": validation, "test": test + step}}
            for step, name in ((0.0, "from nothing"), (0.1, "fine-tuning"), (0.1, "layer-wise rates"))
        }

    runs = [run(0.4, 0.30), run(0.9, 0.32), run(0.9, 0.31)]
    assert set(benchmark.choose(runs).values()) == {"0.01"}
    assert benchmark.accuracies(runs, "test")["from nothing"] == [0.30, 0.32, 0.31]
    first, second = benchmark.judgement("Title", runs).split("\n")
    assert first.startswith("Title: fine-tuning (+0.1000 ± 0.0000) better than training from nothing")
    assert second.endswith("cannot be told from plain fine-tuning.")
    assert benchmark.show("Title", runs).row_count == 3


@pytest.fixture
def folder(sets, tmp_path):
    """Little files of the same make."""
    rng = np.random.default_rng(0)
    for name in sets.FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
    arrays = {}
    for part, number in (("train", 50_100), ("test", 100)):
        arrays[f"x_{part}"] = np.broadcast_to(np.uint8(200), (number, 28, 28))
        arrays[f"y_{part}"] = np.arange(number) % 10
    np.savez_compressed(tmp_path / sets.MNIST, **arrays)
    with tarfile.open(tmp_path / sets.CIFAR, "w:gz") as file:
        for part, number in (("train", 60), ("test", 2)):
            for name in ("cat", "ship"):
                for index in range(number):
                    content = io.BytesIO()
                    Image.fromarray(rng.integers(0, 256, (32, 32, 3)).astype("uint8")).save(content, "jpeg")
                    info = tarfile.TarInfo(f"cifar10_subset/{part}/{name}/{index:04}.jpg")
                    info.size = content.tell()
                    content.seek(0)
                    file.addfile(info, content)
    for name in sets.SENTENCES:
        lines = [f"{index % 2} {name} number {index // 2}" for index in range(200)]
        shared = ["0 seen in both", "1 seen in both"] * 20
        with gzip.open(tmp_path / "text" / f"{name}.gz", "wt") as file:
            file.write("\n".join(lines + shared) + "\n")
    return tmp_path


def test_the_parts_of_each_pair(sets, folder):
    digits = sets.digits(folder, seed=0)
    assert digits.source[0].shape == (50_000, 36, 36, 1)
    assert [len(digits.target[part][0]) for part in ("train", "validation", "test")] == [600, 2_000, 10_000]

    photographs = sets.photographs(folder, seed=0)
    assert photographs.source[0].shape == (108, 32, 32, 3)
    classes = {part: np.bincount(labels["class"]).tolist() for part, (_, labels) in photographs.target.items()}
    assert classes == {"train": [50, 50], "validation": [6, 6], "test": [2, 2]}
    animal = photographs.source[1]["animal"]
    assert animal.sum() == 54
    held = {image.tobytes() for image in photographs.target["validation"][0]}
    assert not held & {image.tobytes() for image in photographs.source[0]}

    reviews = sets.sentences(folder, seed=0)
    films = {row.tobytes() for row in reviews.source[0]}
    parts = {part: {row.tobytes() for row in x} for part, (x, _) in reviews.target.items()}
    assert not films & (parts["validation"] | parts["test"])
    assert not parts["train"] & (parts["validation"] | parts["test"])
    assert len(films) == 100  # without the sentence that CR has too
    assert reviews.target["train"][0].shape[1] == sets.NUM_WORDS


@pytest.mark.slow
def test_it_runs(benchmark, sets, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "SETTINGS", {"Colors": lambda folder, seed: small(sets)})
    monkeypatch.setattr(benchmark, "WAYS", {name: benchmark.WAYS[name] for name in ("from nothing", "fine-tuning")})
    benchmark.main(["--data", str(folder), "--seeds", "2", "--rates", "0.01", "--json", str(tmp_path / "found.json")])
    printed = capsys.readouterr().out
    assert "Colors: accuracy in percent" in printed
    assert (tmp_path / "found.json").is_file()
    with pytest.raises(SystemExit):
        benchmark.main(["--data", str(tmp_path / "absent")])
    assert f"there is no {sets.MNIST}" in capsys.readouterr().err
