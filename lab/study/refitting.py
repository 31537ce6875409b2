"""One model more, trained with the setup that a study has confirmed: on all its rows, or on other data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from lab.errors import SpecError, StudyError
from lab.lanes.job import task_of
from lab.record.folder import Record
from lab.record.trust import refusal
from lab.spec.plan import parse_task
from lab.spec.space import Params
from lab.spec.study import StudySpec, parse_spec
from lab.spec.trial import Trial, derive_seed
from lab.stages import confirm
from lab.stages.job import with_cycles
from lab.study.epochs_shown import EpochsShown
from lab.study.fit import check_seed, fit, training_of
from lab.study.fitted import Fitted
from lab.study.same_data import require_same
from lab.tasks.load import load_task
from lab.tasks.table.from_frame import is_frame
from lab.tasks.to_spec import spec_value

if TYPE_CHECKING:
    from lab.spec.plan import Training
    from lab.tasks.task import Task

Rows: TypeAlias = Literal["train", "train+valid", "all"]
_ROWS: tuple[Rows, ...] = ("train", "train+valid", "all")


def refit(
    spec: StudySpec,
    record: Record,
    data: Any = None,
    *,
    rows: Rows | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    execution: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> Fitted:
    """See `Result.refit`."""
    from lab.tasks.checks import check_trainable

    params = _setup(spec, record)
    rows = rows or ("all" if data is None else "train")
    if rows not in _ROWS:
        raise SpecError("rows", f"{rows!r} is unknown; choices: {', '.join(_ROWS)}")
    epochs = spec.final.epochs if epochs is None else epochs
    _check_epochs(epochs)
    if seed is not None:
        check_seed(seed)
    task = _own(spec, record) if data is None else _other(spec, data)
    check_trainable(task, params)
    trial = Trial(
        params,
        derive_seed(spec.seed, "refit", rows) if seed is None else seed,
        epochs,
        "refit",
        own_schedule=spec.schedule.schedule(params),
    )
    training = training_of(_executed(spec, execution), params, with_valid=rows != "train")
    fitted = fit(_with_test(task) if rows == "all" else task, trial, training, EpochsShown(epochs, quiet))
    return replace(fitted, task=task)


def confirmed_of(spec: StudySpec, record: Record, name: str, epochs: int) -> tuple[Task, Trial, Training]:
    """The confirmed setup as one trial on the training rows, which `name` seeds, in this process.

    Raises:
        RecordError, SpecError, StudyError: as `Result.refit`.
    """
    from lab.tasks.checks import check_trainable

    params = _setup(spec, record)
    _check_epochs(epochs)
    task = _own(spec, record)
    check_trainable(task, params)
    trial = Trial(params, derive_seed(spec.seed, name), epochs, name, own_schedule=spec.schedule.schedule(params))
    return task, trial, training_of(_executed(spec, None), params)


def _setup(spec: StudySpec, record: Record) -> Params:
    """The confirmed hyperparameters, for one cycle."""
    if spec.task.foreign:
        raise refusal(record)
    setup = confirm.STAGE.need(record).chosen.one_cycle.params
    return with_cycles(setup, 1) if "cycles" in setup else dict(setup)


def _check_epochs(epochs: object) -> None:
    if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
        raise SpecError("epochs", f"{epochs!r} is not a whole number of at least 1")


def _executed(spec: StudySpec, execution: Mapping[str, Any] | None) -> StudySpec:
    """The spec, on machines as they are asked for; the study's own lanes may have been others."""
    of_any = {"name": "refit", "task": "digits", "space": {"max_lr": {"choice": [1]}}}
    kept = {name: getattr(spec.execution, name) for name in ("precision", "micro_batch")}
    asked = parse_spec({**of_any, "execution": {**kept, **(execution or {})}})
    return spec.model_copy(update={"execution": asked.execution})


def _own(spec: StudySpec, record: Record) -> Task:
    from lab.stages.predictor import task_that_learned
    from lab.tasks.task import Task

    if not isinstance(task_of(spec), Task):
        raise StudyError("a trial function trains by itself; call it with a lab.Trial of result.best_params")
    task = task_that_learned(spec.task, record)
    require_same(task, record)
    return task


def _other(spec: StudySpec, data: Any) -> Task:
    """A task of other data: of a frame, a table's with all the study's options."""
    from lab.tasks.task import Task

    if is_frame(data):
        from lab.tasks.table.task import Table

        if spec.task.kind != "table":
            raise SpecError("data", f"is a frame, and the study's task is {spec.task.kind}; give a task of that kind")
        options = {k: v for k, v in spec.task.options.items() if v is not None and k not in ("path", "test_path")}
        return Table(data, **options)
    try:
        task = load_task(parse_task(spec_value(data)))
    except SpecError as error:
        raise SpecError(error.path.replace("task", "data", 1), error.message) from None
    if not isinstance(task, Task):
        raise SpecError("data", "is a trial function, which trains by itself")
    return task


def _with_test(task: Task) -> Task:
    """The task with its test rows among those that it trains on."""
    from lab.tasks.task import Data, Split, joined

    parts: tuple[Split, ...] = ("train", "test")
    train = joined(task.data(part) for part in parts)

    def data(split: Split) -> Data:
        return train if split == "train" else task.data(split)

    # The same object but for its data: whatever a task of the user's own defines, and has learned, holds for it.
    whole = object.__new__(type(task))
    whole.__dict__.update(task.__dict__)
    whole.data = data  # type: ignore[method-assign]
    return whole
