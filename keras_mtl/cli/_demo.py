"""The demo: from raw digits to trained, compared and exported multi-task models."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from keras_mtl import backbones, data, evaluation, export, plots, tasks
from keras_mtl._files import check_absent, replacing
from keras_mtl._optional import require
from keras_mtl.model import MultiTaskModel, build_model

BALANCERS = ("equal", "uncertainty", "pcgrad")
TABLE = "comparison.md"


def run_demo(output: Path, *, epochs: int, seed: int, overwrite: bool) -> evaluation.Report:
    """Writes the demo's folder: a table, learning curves, and the best model as `.keras` and as SavedModel.

    Args:
        output: the folder to write.
        epochs: for each model.
        seed: of the weights and the order of examples.
        overwrite: whether what an earlier demo wrote is replaced.

    Raises:
        ImportError: if an extra that it needs is not installed.
        FileExistsError: if `output` is there and may not be replaced, or is no folder that a demo wrote.
    """
    console = Console()
    for module, extra in (("matplotlib", "plots"), ("sklearn", "demo"), ("tensorflow_datasets", "data")):
        require(module, extra=extra, needed_by="The demo")  # before any training
    check_absent(output, overwrite=overwrite)
    if output.exists() and not (output / TABLE).is_file():
        raise FileExistsError(f"`{output}` was not written by a demo (it has no {TABLE}), and is left as it is.")
    with replacing(output, overwrite=overwrite) as folder, tempfile.TemporaryDirectory() as data_folder:
        folder.mkdir()
        console.rule("1. Data: two overlapping digits in an image, and their sum")
        train = data.multi_digits("train", batch_size=64, data_dir=data_folder, shuffle_seed=seed)
        validation = data.multi_digits("validation", batch_size=250, data_dir=data_folder)
        test = data.multi_digits("test", batch_size=250, data_dir=data_folder)
        console.print("6000 examples to train, 1500 to validate and 1500 to test; no digit is in two of them.")

        console.rule(f"2. Training: {', '.join(BALANCERS)}, and each task alone, {epochs} epochs each")
        report = _compare(console, train, validation, test, epochs, seed)

        console.rule("3. Comparison")
        console.print(report.to_table())
        console.print(report.verdict)
        (folder / TABLE).write_text(f"# Reading two digits and their sum\n\n{report.to_markdown()}", encoding="utf-8")
        _draw(report, folder / "learning_curves.png")

        console.rule("4. Export")
        best = report.best.model
        best.save(folder / "best.keras")
        export.saved_model(best, folder / "saved_model")
        images = np.concatenate([batch.numpy() for batch, _ in test])
        differences = export.verify_saved_model(best, folder / "saved_model", images)
        largest = max(differences.values())
        console.print(
            f"A fresh process loaded the SavedModel through TensorFlow alone. Over {len(images)} test images, what its "
            f"signatures predict differs from what the model predicts by at most {largest:.1e}."
        )
        if largest > 1e-4:
            raise RuntimeError(f"The SavedModel's predictions differ from the model's: {differences}")
    console.print(f"Written to [bold]{output}[/bold]: {', '.join(sorted(path.name for path in output.iterdir()))}")
    return report


def build(subset: Sequence[tasks.Task]) -> MultiTaskModel:
    """The demo's model for some of its tasks."""
    return build_model(backbones.Convolutional((20, 28, 1), filters=(16, 32, 64), units=64), subset)


def make_tasks() -> list[tasks.Task]:
    """The demo's tasks."""
    return [
        tasks.Classification("left", 10, hidden_units=32),
        tasks.Classification("right", 10, hidden_units=32),
        tasks.Regression("sum", hidden_units=32),
    ]


def _compare(console: Console, train: Any, validation: Any, test: Any, epochs: int, seed: int) -> evaluation.Report:
    columns = (TextColumn("{task.description:17}"), BarColumn(10), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TextColumn("{task.fields[logs]}"), console=console) as progress:
        return evaluation.compare(
            build,
            make_tasks(),
            train,
            validation,
            test,
            balancers=BALANCERS,
            epochs=epochs,
            optimizer=keras.optimizers.Adam(2e-3),
            seed=seed,
            callbacks=lambda name: [_ShowProgress(progress, name)],
        )


class _ShowProgress(keras.callbacks.Callback):
    def __init__(self, progress: Progress, name: str) -> None:
        super().__init__()
        self._progress = progress
        self._name = name

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._bar = self._progress.add_task(self._name, total=self.params["epochs"], logs="")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        keys = {task.name: f"val_{task.name}_{task.primary_metric}" for task in self.model.tasks}
        shown = " ".join(f"{name} {logs[key]:.3f}" for name, key in keys.items()) if logs else ""
        self._progress.update(self._bar, advance=1, logs=shown)


def _draw(report: evaluation.Report, path: Path) -> None:
    pyplot = require("matplotlib.pyplot", extra="plots", needed_by="The demo")
    figure, axes = pyplot.subplots(1, len(report.tasks), figsize=(4.5 * len(report.tasks), 4), layout="constrained")
    for ax, task in zip(axes, report.tasks, strict=True):
        plots.learning_curve(report, task.name, ax=ax)
    axes[0].legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
