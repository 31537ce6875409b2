"""The training work of a stage, complete enough for any engine: jobs, plans, recipes. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from lab.errors import SpecError
from lab.schedules import Schedule, parse_schedule, schedule_class
from lab.spec.folds import Folds
from lab.spec.limits import FLOPS, Limit
from lab.spec.section import Section
from lab.spec.space import Params, Space, ends
from lab.spec.trial import Observed, Trial

Direction: TypeAlias = Literal["maximize", "minimize"]


class Recipe(Section):
    """The rule by which hyperparameters become a schedule: one kind for one cycle, another for several.

    It is the section `schedule` of a spec.

    A parameter named like a field of the schedule (max_lr, cycles, weight_decay, pct_start, ...) sets it; what
    `one` and `several` say holds for everything not searched.
    """

    one: dict[str, Any] = Field(default_factory=lambda: {"kind": "one_cycle"})
    several: dict[str, Any] = Field(default_factory=lambda: {"kind": "snapshot"})

    @property
    def freezes(self) -> bool:
        """Whether parameter groups of a model may be frozen for some of the steps."""
        return any(schedule_class(base.get("kind")).freezes for base in (self.one, self.several))

    def divisor(self, groups: int) -> float:
        """What the lr of each of `groups` parameter groups is its successor's divided by, where that is not searched,
        in one cycle."""
        return parse_schedule({"max_lr": 1.0, **self.one}).divisor(groups)

    def schedule(self, params: Mapping[str, Any]) -> Schedule:
        """The schedule that `params` describe; `cycles` (default 1) decides which kind."""
        section, base = ("one", self.one) if int(params.get("cycles", 1)) == 1 else ("several", self.several)
        names = {f.name for f in fields(schedule_class(base.get("kind"), f"schedule.{section}"))}
        searched = {name: value for name, value in params.items() if name in names}
        return parse_schedule({**base, **searched}, f"schedule.{section}")


class Until(Section):
    """The conditions that end a search before its last trial: the section `until` of a spec.

    Trials that run when one is met are finished.
    """

    gain_below_noise: bool = False
    """The expected gain of a further trial is below the noise of a seed, eight trials in a row."""
    hours: Annotated[float, Field(gt=0)] | None = None
    """Hours of searching; breaks do not count."""
    target_score: float | None = None

    @property
    def reads_no_score(self) -> bool:
        """Whether trials end it by their number and time alone."""
        return not self.gain_below_noise and self.target_score is None


@dataclass(frozen=True)
class TaskRef:
    """The section `task` of a spec: a built-in kind, or `file.py:Name` relative to `root`, with the task's options."""

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """The task's own options."""
    root: str = "."
    instance: object = None
    """The task itself, when a study was made in Python from an object; never written."""
    cache: str = ""
    """The folder in which the task may keep what is costly to read again."""
    assumed: Mapping[str, Any] = field(default_factory=dict)
    """What holds for undecided options that no trial says, in a study begun before they were tried; never written."""
    opened: object = None
    """The task, opened by this process and with its data checked. It stays in the process."""
    foreign: bool = False
    """Whether it comes from a folder that another user has begun, so that its code is not run; never written."""
    handed: object = None
    """The engine's own reference to the data that the driver read, for lanes elsewhere."""


OWN_LOOP = "lab.tasks.own_loop:OwnLoop"
"""The kind of a task that a loop of the user's own trains: it is asked for trials and told of them."""


def parse_task(value: object) -> TaskRef:
    """A task as a spec writes it: a kind, or a mapping of `kind`, `root` and the task's own options.

    Raises:
        SpecError: it is neither.
    """
    if isinstance(value, TaskRef):
        return value
    if isinstance(value, str):
        return TaskRef(value)
    if not isinstance(value, Mapping):
        raise SpecError("task", f"{value!r} is not a mapping of options to values")
    options = dict(value)
    if "kind" not in options:
        raise SpecError("task.kind", "is missing")
    kind, root, instance = options.pop("kind"), options.pop("root", "."), options.pop("given", None)
    for name, text in (("kind", kind), ("root", root)):
        if not isinstance(text, str):
            raise SpecError(f"task.{name}", f"{text!r}: input should be a valid string")
    for name in options:
        if not isinstance(name, str):
            raise SpecError(f"task.{name}", f"{name!r}: keys should be strings")
    return TaskRef(kind, options, root, instance)


def dump_task(task: TaskRef) -> dict[str, Any]:
    """The value that `parse_task` reads back to the same task, without what is never written."""
    return {"kind": task.kind, "root": task.root, **task.options}


@dataclass(frozen=True)
class Store:
    """A database that holds the trials of many studies."""

    url: str = field(repr=False)
    """May hold a password."""
    study: str
    """The name that separates this study's trials from others'."""
    foreign: bool = False
    """Whether it comes from a folder that another user has begun, so that it is not connected to."""

    def name(self, stage: str) -> str:
        """The Optuna study of a stage."""
        return f"{self.study}/{stage}"


def study_name(store: Store | None, stage: str) -> str:
    """The name of a stage's Optuna study: a database holds the stages of many studies, a journal those of one."""
    return store.name(stage) if store else stage


ENDED = "ended"
"""The attribute of a search in the storage that holds why it ended before its last trial."""


@dataclass(frozen=True)
class SearchPlan:
    """A stage whose trials a sampler proposes."""

    sampler: Mapping[str, Any]
    pruner: Mapping[str, Any]
    trials: int
    epochs: int
    until: Until = field(default_factory=Until)
    observed: tuple[Observed, ...] = ()
    """Trials of another study: they teach the sampler and count as none of this one's."""
    concurrency: int | None = None
    """Trials that may be open at once; None: proposals see whatever has finished."""
    enqueued: tuple[Params, ...] = ()
    """Settings that are tried before anything is proposed; what one does not say is proposed for it."""
    costs: tuple[str, ...] = ()
    """The costs that are traded off against the score; none where the score alone is searched."""


@dataclass(frozen=True)
class Training:
    """The settings with which a lane trains any trial."""

    optimizer: Mapping[str, Any]
    batch_size: int
    path: str = "auto"
    """`stacked`, `vmap`, `sequential` or `function`; `auto` until it has been probed."""
    threads: int = 1
    device: str = "auto"
    epoch_steps: int | None = None
    """Optimizer steps of an epoch, when fewer than the data have (a range test on large data)."""
    record_losses: bool = False
    """Whether every step's training loss is reported when a trial ends."""
    stop_at: float | None = None
    """A trial ends as diverged when its smoothed loss exceeds this multiple of its best."""
    weights: str = "final"
    """The folder inside the study's in which kept weights are left."""
    ema_decay: float | None = None
    """Decay per step of the moving average of the weights, which is then kept as well for trials of one cycle whose
    weights are kept. None: there is none."""
    with_valid: bool = False
    """Whether the validation rows are trained on as well; then nothing is left to validate on, and nothing is."""
    folds: Folds | None = None
    """Those of which each trial leaves one out, and is validated on it. None: all are trained on the same rows."""
    precision: str = "float32"
    """Precision of forward and backward passes: `float32` or `bf16`. Weights and the optimizer are always float32."""
    micro_batch: int | None = None
    """Examples of a batch that are computed at once, where a whole one is larger than the memory; None: all."""
    processes: int = 1
    """Processes among which each batch is divided, with a device each."""
    sharded: bool = False
    """Whether the model is divided among them too."""


@dataclass(frozen=True)
class Job:
    """One stage's training work, complete: an engine needs nothing else to do it."""

    stage: str
    folder: Path
    task: TaskRef
    space: Space
    recipe: Recipe
    training: Training
    direction: Direction
    metric: str
    seed: int
    width: int
    """Slots of a lane."""
    lanes: int
    plan: tuple[Trial, ...] | SearchPlan
    stack: int | None = None
    """Slots that are trained as one stacked model, where trials differ in what one must share. None: all of them."""
    max_failed_share: float = 0.5
    checkpoint_s: float = 30.0
    store: Store | None = None
    """None: the journal in the study folder."""
    working_folder: Path | None = None
    """The driver's, for lanes in other processes: what a user's task opens by a relative path lies there. None: this
    process's own."""
    limits: tuple[Limit, ...] = ()
    """What a trial has to meet; one that does not is infeasible."""
    epoch_metrics: bool = False
    """Whether the ledger keeps every metric of every epoch, and not the score alone."""

    @property
    def counts_flops(self) -> bool:
        """Whether flops of models are asked for."""
        costs = self.plan.costs if isinstance(self.plan, SearchPlan) else ()
        return FLOPS in (*costs, *(limit.name for limit in self.limits))

    @property
    def trials(self) -> int:
        return self.plan.trials if isinstance(self.plan, SearchPlan) else len(self.plan)

    @property
    def epochs(self) -> int:
        """Epochs of all trials together, if none ends early."""
        if isinstance(self.plan, SearchPlan):
            return self.plan.trials * self.plan.epochs
        return sum(p.epochs for p in self.plan)


def check_recipe(recipe: Recipe, space: Space) -> None:
    """Refuse a recipe that could not make a schedule from the space's parameters, at either end of each."""
    for section, base in (("one", recipe.one), ("several", recipe.several)):
        if "max_lr" not in base and "max_lr" not in space:
            raise SpecError("space.max_lr", f"is missing, and schedule.{section}.max_lr is not given either")
        if "max_lr" not in base and space["max_lr"].when:
            raise SpecError("space.max_lr.when", f"every trial needs max_lr, or schedule.{section}.max_lr")
        whole = {"max_lr": 1e-3, **base}
        parse_schedule(whole, f"schedule.{section}")
        names = {f.name for f in fields(schedule_class(base.get("kind")))}
        for name, dimension in space.items():
            for value in ends(dimension) if name in names else ():
                try:
                    parse_schedule({**whole, name: value})
                except SpecError as error:
                    raise SpecError(f"space.{name}", f"{error.message} (schedule.{section})") from None
