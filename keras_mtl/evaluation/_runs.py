"""Many trainings under one budget: one after the other or in processes, each kept in a file as soon as it is done."""

from __future__ import annotations

import concurrent.futures
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from keras_mtl._checks import check_integer
from keras_mtl._files import replacing
from keras_mtl.evaluation._plan import Found, Plan, check_sendable

_SETTINGS = "settings.json"


@dataclass(frozen=True)
class Job:
    """Runs that are done in one process, one after the other.

    Args:
        argument: what the work is done on.
        runs: the names of the runs, in the order in which they are done.
    """

    argument: Any
    runs: Sequence[str]


#: Does the runs of a job, and yields the name of each with what it found.
Work = Callable[[Plan, Any], Iterator[tuple[str, Found]]]


def carry_out(
    plan: Plan,
    kind: str,
    work: Work,
    jobs: Callable[[Mapping[str, Found]], Sequence[Job]],
    check: Callable[[], None],
    *,
    folder: Any,
    workers: Any,
    verbose: Any,
) -> dict[str, Found]:
    """Does all runs that are not in the folder yet.

    Args:
        plan: what they have in common.
        kind: what they are for.
        work: a function that can be imported.
        jobs: what is left to do, from what was found already.
        check: raises a `ValueError`, before the first run and before the folder is made, if `build` is not right.
        folder: where results are kept, or None.
        workers: the number of processes; 1 is this one.
        verbose: whether progress is shown.

    Returns:
        What was found, by run.

    Raises:
        ValueError: if the folder has results of other settings, the plan cannot be sent to another process, or `check`
            raises it.
    """
    check_integer(workers, "workers")
    if workers > 1:
        check_sendable(plan)
    path = None if folder is None else Path(folder)
    found = {} if path is None else _taken_up(path, plan.settings(kind))
    begins = path is not None and not (path / _SETTINGS).is_file()
    left = list(jobs(found))
    names = [name for job in left for name in job.runs]
    if left:
        check()
    if path is not None and begins:
        with replacing(path / _SETTINGS, overwrite=False) as new:  # raises if another call has begun there meanwhile
            new.write_text(json.dumps(plan.settings(kind), indent=2), encoding="utf-8")
    bar = keras.utils.Progbar(len(names), unit_name="run") if verbose and names else None
    count = 0

    def done(results: Mapping[str, Found]) -> None:
        nonlocal count
        found.update(results)
        count += len(results)
        if bar is not None:
            bar.update(count)

    if workers == 1:
        for job in left:
            for name, result in work(plan, job.argument):
                _keep(path, name, result)
                done({name: result})
        return found
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(min(workers, max(len(left), 1)), mp_context=context) as pool:
        futures = [pool.submit(_in_process, plan, work, job, path) for job in left]
        try:
            for future in concurrent.futures.as_completed(futures):
                done(future.result())
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return found


def _in_process(plan: Plan, work: Work, job: Job, path: Path | None) -> dict[str, Found]:
    """A job in a process of its own."""
    keras.config.set_dtype_policy(plan.policy)
    found = {}
    for name, result in work(plan, job.argument):
        _keep(path, name, result)
        found[name] = result
    keras.backend.clear_session()
    return found


def _file_of(run: str) -> str:
    """The name of the file of a run: that of the settings is theirs, whatever a task is called."""
    name = f"{run}.json"
    return name if name.lower() != _SETTINGS else f"{run} (run).json"


def _keep(path: Path | None, name: str, result: Found) -> None:
    if path is not None:
        with replacing(path / _file_of(name), overwrite=True) as new:
            new.write_text(json.dumps({"run": name, "time": time.time(), "found": result}, indent=2), encoding="utf-8")


def _taken_up(path: Path, settings: Mapping[str, Any]) -> dict[str, Found]:
    """What a folder has already, after a check that it is of these settings."""
    if not (path / _SETTINGS).is_file():
        if path.exists() and (not path.is_dir() or os.listdir(path)):
            raise ValueError(
                f"Parameter `folder` should be a folder that is not there yet, is empty, or has results of the same "
                f"settings. Received: `{path}`, which has no {_SETTINGS}."
            )
        return {}
    before = json.loads((path / _SETTINGS).read_text(encoding="utf-8"))
    different = [key for key in settings if before.get(key) != settings[key]]
    if different:
        key = different[0]
        raise ValueError(
            f"The results in `{path}` were made with other settings: {different} differ. There: {key}="
            f"{before.get(key)!r}. Received: {key}={settings[key]!r}. Choose another folder, or the same settings."
        )
    found = {}
    for file in sorted(path.glob("*.json")):
        if file.name != _SETTINGS:
            result = json.loads(file.read_text(encoding="utf-8"))
            if _file_of(result["run"]) != file.name:
                raise ValueError(f"`{file}` should have the run {file.stem!r}. Received: {result['run']!r}")
            found[result["run"]] = result["found"]
    return found
