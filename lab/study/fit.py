"""One model trained in this process, as a study trains a trial: for who knows what to train, or wants to see first."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from lab.errors import SpecError, StudyError
from lab.report.number import number
from lab.schedules import KINDS, Schedule, parse_schedule
from lab.spec.batch_size import batch_size_of
from lab.spec.plain_values import as_plain
from lab.spec.processes import processes_of
from lab.spec.space import Choice, Params, Value
from lab.spec.study import StudySpec, parse_spec
from lab.spec.trial import Trial
from lab.study.check import always_read, check_components, unread
from lab.study.data import check_weights
from lab.study.epochs_shown import EpochsShown
from lab.study.fitted import Fitted
from lab.study.range_test import RangeTest, lr_range_of
from lab.tasks.load import load_task
from lab.tasks.to_spec import spec_value

if TYPE_CHECKING:
    from lab.spec.plan import Training
    from lab.tasks.task import Task
    from lab.training.interface import EpochResult

_RANGE_TEST_SEEDS = 3
_OF_A_TRIAL = {"space.": "", "search.epochs": "epochs"}
"""Places in the spec that is made here, by what the caller has written."""


def fit_one_cycle(
    task: str | Mapping[str, Any] | Task,
    max_lr: float | None = None,
    *,
    epochs: int,
    schedule: Schedule | Mapping[str, Any] | None = None,
    batch_size: int = 64,
    optimizer: str | Mapping[str, Any] = "adamw",
    seed: int = 0,
    execution: Mapping[str, Any] | None = None,
    quiet: bool = False,
    **params: Value,
) -> Fitted:
    """Train one model of a task, as a study trains a trial: the same loop, schedule and random numbers.

    A trial of a study that was trained on the same path has the same numbers, to the last bit, with its parameters,
    `seed` and `epochs` from `result.trials`. The process's own random states stay as they are.

    Args:
        task: a kind (`"digits"`), `"file.py:Name"`, a mapping of kind and options, or a `Task`.
        max_lr: the peak of the learning rate; None: range tests on three seeds suggest it (see `lab.lr_range`).
        schedule: any schedule in place of the 1cycle, with its own rates.
        optimizer: its kind, or a mapping of kind and options.
        seed: of the weights, of the order of examples, and of all else that is drawn.
        execution: `path`, `device`, `precision`, `threads`, `micro_batch`, as the spec's section has them; models
            are trained on the path `sequential` unless it says otherwise.
        quiet: whether no epochs are shown.
        params: the trial's hyperparameters: `weight_decay`, `dropout`, `cycles`, `pct_start`, what the model reads.

    Raises:
        SpecError: something cannot be; the message names the argument.
        TaskError: the task breaks its contract.
        StudyError: the training diverged or failed, or the range tests say nothing.

    >>> fitted = lab.fit_one_cycle("digits", max_lr=0.01, epochs=2, weight_decay=0.1, quiet=True)
    >>> fitted.score > 0.8, len(fitted.curve)
    (True, 2)
    >>> fitted.predict(fitted.task.data("test")[0][:3]).shape
    torch.Size([3, 10])
    """
    asked = asked_of(task, max_lr, params, epochs, schedule, batch_size, optimizer, seed, execution, quiet)
    return fit(asked.task, asked.trial, asked.training, asked.shown, asked.range_test)


@dataclass(frozen=True)
class Asked:
    """One training that was asked for, checked."""

    task: Task
    trial: Trial
    training: Training
    shown: EpochsShown
    range_test: RangeTest | None


def asked_of(
    task: str | Mapping[str, Any] | Task,
    max_lr: float | None,
    params: Mapping[str, Value],
    epochs: int,
    schedule: Schedule | Mapping[str, Any] | None,
    batch_size: int,
    optimizer: str | Mapping[str, Any],
    seed: int,
    execution: Mapping[str, Any] | None,
    quiet: bool,
) -> Asked:
    """What `fit_one_cycle` is asked for; arguments and errors as there."""
    max_lr, params = as_plain(max_lr), {name: as_plain(value) for name, value in params.items()}
    own = _own_schedule(schedule, max_lr, params)
    setting = params if max_lr is None else {"max_lr": max_lr, **params}
    spec = _spec(task, setting, own, epochs, batch_size, optimizer, execution)
    check_seed(seed)
    opened = _opened(spec)
    spec = spec.model_copy(update={"task": replace(spec.task, opened=opened)})
    shown = EpochsShown(epochs, quiet)
    for name in unread(opened, [params], always_read(spec.schedule, spec.optimizer, spec.space)):
        shown.say(f"warning   {name}: the task was not seen to read it; then it changes nothing")
    range_test = None
    if own is None and max_lr is None:
        range_test = _suggested(spec, opened)
        setting = {"max_lr": range_test.suggestion, **params}
        shown.say(f"max_lr    {number(range_test.suggestion)} by range tests on {_RANGE_TEST_SEEDS} seeds")
    trial = Trial(setting, seed, epochs, own_schedule=own or spec.schedule.schedule(setting))
    return Asked(opened, trial, training_of(spec, setting), shown, range_test)


def fit(
    task: Task, trial: Trial, training: Training, shown: EpochsShown, range_test: RangeTest | None = None
) -> Fitted:
    """Train a trial that has its schedule, on a path that is resolved; errors as `fit_one_cycle`."""
    import pandas as pd

    from lab.tasks.task import TRAIN_AND_VALID
    from lab.training.alone import train_alone
    from lab.training.trainer import steps_per_epoch

    splits = TRAIN_AND_VALID if training.with_valid else TRAIN_AND_VALID[:1]
    steps = steps_per_epoch(sum(len(task.data(split)[0]) for split in splits), training)
    lrs = trial.schedule.curves(None, trial.epochs * steps).lr
    began = time.monotonic()

    def watch(result: EpochResult) -> None:
        nonlocal began
        ended, metrics = time.monotonic(), dict(result.metrics)
        epoch = len(shown.rows) + 1
        row = {"epoch": epoch, "train_loss": metrics.pop("train_loss", None), **metrics}
        shown.add({**row, "lr": float(lrs[epoch * steps - 1]), "seconds": ended - began})
        began = ended

    ended = train_alone(task, training, trial, watch)
    if ended.model is None:
        detail = (ended.detail.strip().splitlines() or [""])[-1]
        advice = "; a lower max_lr may help" if ended.outcome == "diverged" else ""
        raise StudyError(f"the training {ended.outcome}: {detail}{advice}")
    curve = pd.DataFrame(shown.rows).set_index("epoch")
    score = float(curve[task.metric].iloc[-1]) if task.metric in curve else None
    return Fitted(task, trial, task.metric, score, curve, ended.model, range_test)


def training_of(spec: StudySpec, params: Params, with_valid: bool = False) -> Training:
    """How a spec trains one model of these hyperparameters: on the path and with the threads that it says, else one
    after the other, with those that the process has."""
    import torch

    threads = spec.execution.threads
    return replace(
        spec.training(),
        path="sequential" if spec.execution.path == "auto" else spec.execution.path,
        batch_size=batch_size_of(spec.batch_size, params),
        threads=threads if isinstance(threads, int) else torch.get_num_threads(),
        with_valid=with_valid,
    )


def _own_schedule(
    schedule: Schedule | Mapping[str, Any] | None, max_lr: float | None, params: Mapping[str, Value]
) -> Schedule | None:
    """The schedule that was given, which then has all that one says."""
    if schedule is None:
        return None
    if isinstance(schedule, Mapping):
        schedule = parse_schedule(schedule)
    if not isinstance(schedule, Schedule):
        raise SpecError("schedule", f"{schedule!r} is neither of lab.schedules nor a mapping of kind and fields")
    said = {"max_lr", "cycles"} | {f.name for cls in (type(schedule), *KINDS.values()) for f in fields(cls)}
    for name in (*(["max_lr"] if max_lr is not None else []), *params):
        if name in said:
            raise SpecError(name, "is given beside a schedule, which says it itself; leave out one of them")
    return schedule


def _spec(
    task: object,
    params: Mapping[str, Value],
    own: Schedule | None,
    epochs: int,
    batch_size: int,
    optimizer: str | Mapping[str, Any],
    execution: Mapping[str, Any] | None,
) -> StudySpec:
    """The spec of a study whose space is one point, so that all is checked as a study's is."""
    # Where the rate is found out later, or is the schedule's own business, any stands in for it.
    named = params if "max_lr" in params else {"max_lr": 1e-3, **params}
    value = {
        "name": "fit",
        "task": spec_value(task),
        "space": {name: Choice((value,)) for name, value in named.items()},
        "optimizer": {"kind": optimizer} if isinstance(optimizer, str) else optimizer,
        "batch_size": batch_size,
        "search": {"epochs": epochs},
        "execution": {} if execution is None else execution,
    }
    try:
        spec = parse_spec(value)
        if spec.execution.path == "function":
            raise SpecError("execution.path", "'function' is of a trial function, which trains by itself")
        if (count := processes_of(spec)) > 1:
            raise SpecError("execution", f"{count} processes are a study's; one model is trained in this process alone")
        check_components(spec)
    except SpecError as error:
        raise _named(error) from None
    return spec


def _named(error: SpecError) -> SpecError:
    """An error of the spec, at the place that the caller has written."""
    path = error.path
    for in_spec, name in _OF_A_TRIAL.items():
        if path.startswith(in_spec):
            path = name + path.removeprefix(in_spec)
    return SpecError(path.removesuffix(".choice"), error.message)


def check_seed(seed: object) -> None:
    """Refuse what seeds no generator (`SpecError`)."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise SpecError("seed", f"{seed!r} is not a whole number from 0 to {2**32 - 1}")


def _opened(spec: StudySpec) -> Task:
    """The task, with data that can be trained on."""
    from lab.spec.points import template_params
    from lab.tasks.checks import check_trainable
    from lab.tasks.task import Task

    task = load_task(spec.task)
    if not isinstance(task, Task):
        raise SpecError("task", "is a trial function, which trains by itself: call it with a lab.Trial")
    params = template_params(spec.space)
    check_trainable(task, params)
    check_weights(spec, task, params)
    return task


def _suggested(spec: StudySpec, task: Task) -> RangeTest:
    """What range tests suggest at these hyperparameters. The task keeps nothing of the folder in which they ran."""
    weight_decay = spec.space.get("weight_decay")
    at = {"weight_decays": [weight_decay.options[0]]} if isinstance(weight_decay, Choice) else {"weight_decays": [0.01]}
    asks = spec.changed(bounds={"seeds": _RANGE_TEST_SEEDS, "trial_seeds": 0, **at})
    before = task.cache
    try:
        return lr_range_of(asks)
    finally:
        task.cache = before
