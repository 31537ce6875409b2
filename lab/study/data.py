"""A study's data: looked at once before anything trains, and the same for as long as the study lives."""

from __future__ import annotations

import contextlib
import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.errors import Interrupted, LabError, RecordError, SpecError, plain
from lab.record.folder import Record, json_form, write_json
from lab.spec.batch_size import BATCH_SIZE, batch_sizes
from lab.spec.init import INIT, LSUV, draws_anew
from lab.spec.optimizer import check_optimizer
from lab.spec.plain_values import shown
from lab.spec.plan import TaskRef, Training
from lab.spec.points import end_params, template_params
from lab.spec.processes import processes_of
from lab.spec.space import Params
from lab.spec.study import StudySpec
from lab.study.check import check_beside, check_values
from lab.study.same_data import compare, digest_of, names_of
from lab.study.undecided import assumed
from lab.tasks.description import Description
from lab.tasks.load import load_task, paths_of
from lab.tasks.options import is_path
from lab.tasks.transfer.adapter_options import RANK

if TYPE_CHECKING:
    from lab.tasks.task import Task


def open_data(spec: StudySpec, record: Record) -> tuple[StudySpec, tuple[str, ...]]:
    """Let the task look at its data, and keep what it learned and said; with the task opened, and what it doubts.

    Raises:
        RecordError: the data are not those that the study began with.
        LabError: they cannot be trained on.
    """
    from lab.stages.rehearsal import rehearse
    from lab.tasks.checks import check_data, check_refit, check_trainable
    from lab.tasks.folds import folds_of
    from lab.tasks.task import TRAIN_AND_VALID, TrialFunction
    from lab.training.threads import on_threads
    from lab.training.trainer import steps_per_epoch

    if record.begun:
        _check_paths(spec.task, record)
    task = load_task(spec.task)
    if isinstance(task, TrialFunction):
        if (count := spec.execution.processes) not in (1, "auto"):
            said = "a trial function trains in one process, on all of its GPUs"
            raise SpecError("execution.processes", f"{count}: {said}; leave it out")
        if spec.execution.sharded:
            raise SpecError("execution.sharded", "true: a trial function divides its model itself; leave it out")
        return spec, ()
    task.cache = record.data_folder.resolve()  # first: what was read before is asked for from here on
    kept = record.task()
    if kept is not None and record.begun and kept["fitted"] not in (None, json_form(task.fitted())):
        task.restore(kept["fitted"])  # by an earlier version, which told less or something else
    task.assumed = assumed(task, spec) if record.begun else {}
    check_optimizer(spec.optimizer, spec.space)
    processes_of(spec)
    sizes = batch_sizes(spec.batch_size, spec.space)
    spec = spec.model_copy(update={"task": replace(spec.task, opened=task, assumed=task.assumed)})
    resumed = kept if record.begun else None
    # To look at the same data again takes seconds, and says the same.
    described = task.describe() if resumed is None else Description(warnings=_kept_warnings(resumed, record))
    lacks: tuple[str, ...] = ()
    if record.begun:
        for split in TRAIN_AND_VALID:
            check_data(task, split)
    else:
        check_values(spec.space, spec.task)
        check_beside(spec, described.kind)
        middle = template_params(spec.space, {BATCH_SIZE: spec.batch_size})
        # A few examples are not worth sharing: threads that wait for a busy machine's cores took 700 times as long.
        with on_threads(1):
            check_trainable(task, middle)
            lacks = rehearse(task, middle)
            check_ranks(spec, task)
            _check_freezing(spec, task, middle)
            check_weights(spec, task, middle)
    check_data(task, "test")
    if spec.final.refit:
        check_refit(task)
    folds = folds_of(task)
    examples = len(task.data("train")[0])
    if folds is not None:
        check_folds(spec, folds.count)
        examples = min(examples, folds.least_trained_on)
    for size in sizes:
        steps_per_epoch(examples, Training(spec.optimizer, size))
    data = digest_of(task, folds)
    if resumed is None:
        value: dict[str, Any] = {"fitted": task.fitted(), "data": data, "names": names_of(task)}
        value |= {"facts": described.facts, "warnings": described.warnings}
        write_json(record.task_path, value | ({"drift": described.drift} if described.drift else {}))
    else:
        compare(task, data, resumed, record)
    return spec, (*described.warnings, *lacks)


def _kept_warnings(kept: Mapping[str, Any], record: Record) -> tuple[str, ...]:
    """What a study doubted when it began."""
    lines = kept["warnings"]
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise RecordError(f"{record.task_path}: warnings: {shown(lines)} is no list of lines; restore it from a copy")
    return tuple(map(plain, lines))


def _check_paths(task: TaskRef, record: Record) -> None:
    """Say how a study goes on whose data have moved."""
    for name in paths_of(task, needed=True):
        value = task.options.get(name)
        if not isinstance(value, str) or not is_path(name, value):
            continue
        path = Path(task.root) / (value.rpartition(":")[0] if name == "metric" else value)
        if not path.exists():
            raise RecordError(
                f"task.{name}: {path} does not exist; if it has moved, say where: lab study resume "
                f"{shlex.quote(str(record.folder))} --set task.{name}=PATH"
            )


def _check_freezing(spec: StudySpec, task: Task, params: Params) -> None:
    """Refuse a path, where the spec fixes it, on which models are computed together and cannot be frozen one by one."""
    from lab.tasks.build import group_count

    path = spec.execution.path
    if path in ("stacked", "vmap") and spec.schedule.freezes and group_count(task, params) > 1:
        raise SpecError(
            "execution.path",
            f"{path!r} is not open to a schedule that freezes parts of a model; choose auto or sequential",
        )


def check_ranks(spec: StudySpec, task: Task) -> None:
    """Refuse ranks of an adapter that a layer cannot have: a trial that fails would say so late.

    Raises:
        SpecError: with the layer.
    """
    from lab.tasks.build import build_model

    if spec.task.options.get("adapter") is not None and RANK in spec.space:
        for params in end_params(spec.space, RANK, {BATCH_SIZE: spec.batch_size}):
            build_model(task, params, 0)


def check_weights(spec: StudySpec, task: Task, params: Params) -> None:
    """Refuse to draw weights anew that were trained before.

    Raises:
        SpecError: they would be.
    """
    from lab.tasks.build import first_examples, group_count

    if not draws_anew(spec.space):
        return
    examples = task.model_input(first_examples(task.data("train"))[0])
    if task.learned_before or group_count(task, params, examples) > 1:
        raise SpecError(
            f"space.{INIT}",
            f"{LSUV!r} draws all weights anew, and parts of this task's net were trained before; leave it out",
        )


def check_folds(spec: StudySpec, folds: int) -> None:
    """Refuse more folds than there are final runs to leave one out each.

    Raises:
        SpecError: with how many of either would do.
    """
    if spec.final.seeds < folds:
        raise SpecError(
            "final.seeds",
            f"{spec.final.seeds} is below the {folds} folds, each of which a run leaves out; set it to {folds}, "
            "or choose fewer folds",
        )


def is_fresh(folder: Path) -> bool:
    """Whether nothing lies in a study's folder yet, or there is none."""
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


@contextlib.contextmanager
def undone_if_refused(folder: Path, fresh: bool) -> Iterator[None]:
    """Leave nothing of a study that was refused before it began; one that was stopped goes on."""
    try:
        yield
    except LabError as error:
        if fresh and not isinstance(error, Interrupted):
            shutil.rmtree(folder, ignore_errors=True)
        raise
