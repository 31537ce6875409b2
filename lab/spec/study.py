"""A study as the user writes it, checked to the last key. Says what to study, not where to run it (except `execution`,
which flags override and which the resolved spec records so that a study can be repeated)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import unquote_plus, urlparse

from pydantic import BaseModel, BeforeValidator, Field, PlainSerializer, ValidationError, model_validator
from pydantic_core import ErrorDetails

from lab.errors import SpecError, nearest
from lab.spec.budget import Budget, parse_budget
from lab.spec.limits import COSTS, SCORE, Limit, check_constraints, check_objectives, limits_of
from lab.spec.plain_values import check_values, shown
from lab.spec.plan import OWN_LOOP, Recipe, Store, TaskRef, Training, Until, check_recipe, dump_task, parse_task
from lab.spec.section import Section
from lab.spec.space import Choice, Float, Int, Space, dump_dimension, ends, parse_dimension

_MOST_THREADS = 512
"""More than a machine's cores only slow it down; a hundred thousand end the process."""
_FRESHNESS = 4
"""A search has at least this many times more trials than run at once."""


def _parse_space(value: object) -> Space:
    if isinstance(value, Space):
        return value
    if not isinstance(value, Mapping):
        raise SpecError("space", f"{value!r} is not a mapping of hyperparameter to range")
    return Space({str(name): parse_dimension(f"space.{name}", d) for name, d in value.items()})


def _dump_space(space: Space) -> dict[str, Any]:
    return {name: dump_dimension(d) for name, d in space.items()}


Positive = Annotated[int, Field(ge=1)]
Few = Annotated[int, Field(ge=1, le=1000)]
"""Seeds, candidates, snapshots: whoever writes more has slipped, and would wait for the list of them alone."""
Many = Annotated[int, Field(ge=1, le=1_000_000)]
"""Trials, epochs, rows of a batch."""
TaskField = Annotated[TaskRef, BeforeValidator(parse_task), PlainSerializer(dump_task)]
BudgetField = Annotated[Budget | None, BeforeValidator(parse_budget)]
ConstraintsField = Annotated[
    dict[str, float | dict[Literal["at_most", "at_least"], float]] | None, BeforeValidator(check_constraints)
]
ObjectivesField = Annotated[list[Literal["score", "parameters", "flops"]] | None, BeforeValidator(check_objectives)]
SpaceField = Annotated[Space, BeforeValidator(_parse_space), PlainSerializer(_dump_space)]


_MOST_TRIALS = 64
"""Trials of a search that ends by itself."""
_WEIGHT_DECAYS = (0.001, 0.01, 0.1)
_TRIAL_SEEDS = 3


class BoundsSpec(Section):
    """The learning-rate range test."""

    seeds: Few = 3
    weight_decays: list[Annotated[float, Field(ge=0)]] | None = Field(default=None, min_length=1)
    """None: see `affordable`."""
    dropouts: list[Annotated[float, Field(ge=0, lt=1)]] | None = Field(default=None, min_length=1)
    """None: the middle of the space's own range, where it has one."""
    steps: Annotated[int, Field(ge=10, le=1_000_000)] = 100
    start: Annotated[float, Field(gt=0)] = 1e-6
    end: Annotated[float, Field(gt=0)] = 10.0
    exponential: bool = True
    stop_at: Annotated[float, Field(gt=1)] = 4.0
    trial_seeds: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """Seeds of short 1cycle trainings, of the search's length, at each of a few rates around the suggestion; 0: there
    are none. `auto`: see `affordable_seeds`."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.end <= self.start:
            raise SpecError("bounds.end", f"{self.end!r} is not above start {self.start!r}")
        return self

    def affordable(self, search_steps: float | None) -> list[float]:
        """The weight decays to test at: three, or the middle one if three would take more than a tenth of the search's
        optimizer steps. Steps of the search tell more of what it asks."""
        if self.weight_decays is not None:
            return self.weight_decays
        dear = search_steps is not None and 10 * len(_WEIGHT_DECAYS) * self.seeds * self.steps > search_steps
        return [_WEIGHT_DECAYS[1]] if dear else list(_WEIGHT_DECAYS)

    def affordable_seeds(self, trials: int, rates: int) -> int:
        """Seeds on which to train at each of so many rates: up to three, and none where one would already take more
        than a quarter of the search's trials, which are as long. Rates beyond an end that is best come on top."""
        if self.trial_seeds != "auto":
            return self.trial_seeds
        return min(_TRIAL_SEEDS, trials // (4 * rates))


FROM_BOUNDS = {"from": "bounds"}
"""A prior of the sampler that stands for what the range test suggests for max_lr."""


def without_range_test(sampler: Mapping[str, Any]) -> dict[str, Any]:
    """A sampler's options as they are where the range test says nothing."""
    prior = sampler.get("prior")
    if not isinstance(prior, dict):
        return dict(sampler)
    return {**sampler, "prior": {name: belief for name, belief in prior.items() if belief != FROM_BOUNDS}}


class SearchSpec(Section):
    """The explore stage."""

    sampler: dict[str, Any] = Field(default_factory=lambda: {"kind": "forest"})
    pruner: dict[str, Any] = Field(default_factory=lambda: {"kind": "none"})
    trials: Many = 64
    concurrency: Many | Literal["auto"] | None = "auto"
    """Trials that may be open at once, on however many lanes: it and the order of their numbers say which results each
    proposal is made from. `auto`: a quarter of the trials, and null with a pruner, whose decisions depend on who is
    first. null: proposals are made from whatever has finished, so that another machine makes others."""
    epochs: Many = 27
    max_failed_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    objective: Literal["metric", "loss", "auto"] = "metric"
    """What search and confirmation rank trials by: the task's metric, or the validation loss. `auto` is replaced before
    the study starts: by the loss where the metric's steps are coarser than what it is to tell apart. It is not the
    default: on ten splits of wine and breast cancer the loss of what was handed over was 35 and 9 % higher by it, its
    accuracy the same (`reports/outcome`)."""

    constraints: ConstraintsField = None
    """What a trial must keep to, by name: `parameters` and `flops` of its model, or a metric of the task's own; a
    number is what it may be at most, `{at_least: number}` the other way round. A trial that breaks one is infeasible:
    it is never the best, nor confirmed. By its costs that is known before it is trained."""
    objectives: ObjectivesField = None
    """What the search trades off: the `score`, and `parameters` or `flops` or both. null: the score alone is searched.
    What is confirmed and trained at the end has the best score all the same; `constraints` bound what it costs."""

    @model_validator(mode="after")
    def _trades_off(self) -> Self:
        """A pruner or another sampler goes by the score alone, and would leave small models behind."""
        if self.objectives is None:
            return self
        sampler, pruner = self.sampler.get("kind", "forest"), self.pruner.get("kind", "none")
        if sampler != "forest":
            raise SpecError(
                "search.objectives", f"need search.sampler.kind 'forest'; {sampler!r} searches one objective"
            )
        if pruner != "none":
            raise SpecError(
                "search.objectives", f"need search.pruner.kind 'none'; {pruner!r} stops trials by their score"
            )
        return self

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The limits that the constraints set."""
        return limits_of(self.constraints)

    @property
    def costs(self) -> tuple[str, ...]:
        """The objectives beside the score."""
        return tuple(name for name in self.objectives or () if name != SCORE)

    @model_validator(mode="after")
    def _has_as_many(self) -> Self:
        if isinstance(self.concurrency, int) and self.concurrency > self.trials:
            raise SpecError("search.concurrency", f"{self.concurrency} is above search.trials {self.trials}")
        return self

    @property
    def most_open(self) -> int:
        """Trials that train at once at most. The search could learn nothing before its end if all of them did."""
        return self.concurrency if isinstance(self.concurrency, int) else self.quarter

    @property
    def quarter(self) -> int:
        return max(self.trials // _FRESHNESS, 1)

    @property
    def promise(self) -> str:
        """What can be said of the proposals of another run, as a line of text."""
        if self.concurrency is None:
            return "made from whatever has finished: other lanes, widths and speeds give other trials"
        return f"the same on any lanes, widths and engine; at most {self.most_open} trials are open"

    def settled(self) -> SearchSpec:
        """The section with `concurrency: auto` replaced, once its trials are counted."""
        if self.concurrency != "auto":
            return self
        prunes = self.pruner.get("kind", "none") != "none"
        return self.model_copy(update={"concurrency": None if prunes else self.most_open})


class ConfirmSpec(Section):
    """Fresh seeds for the best candidates."""

    one_cycle: Few = 3
    several: Annotated[int, Field(ge=0, le=1000)] = 2
    seeds: Annotated[int, Field(ge=2, le=1000)] = 4


class FinalSpec(Section):
    """The final models: `epochs` each, on `seeds` seeds, and beside them shorter ones and a cyclical one.

    Where the task has folds, each run leaves out one, in turn: 5 seeds are then 5 folds of one seed each.
    """

    epochs: Many = 60
    seeds: Few = 3
    snapshots: Few | Literal["auto"] = "auto"
    """Cycles of a cyclical run. `auto`: those that were confirmed, and no such run where it was clearly beaten."""
    refit: bool = True
    """Whether what was chosen is trained once more on training and validation rows together, and handed out so."""
    refit_seeds: Few = 3
    """Seeds on which each chosen run is then trained: more models of one setup are the cheapest gain that there is.
    Three for one took 16 +- 9 % off the loss on wine, 6 +- 3 % on digits (`reports/outcome`)."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay per step of the moving average of each 1cycle run's weights, which may then join the ensemble. None: there
    is none."""
    controls: Literal["none", "final", "full"] = "final"
    """What is trained beside, to be compared with: plain 1cycle runs, and runs at settings that need no search, each
    for the cost of the final models with one refit of each; `full`: the latter for the cost of the whole study."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if isinstance(self.snapshots, int) and self.snapshots > self.epochs:
            raise SpecError("final.snapshots", f"{self.snapshots} is above final.epochs {self.epochs}")
        return self

    @property
    def cyclical_seeds(self) -> int:
        """Cyclical runs, if there are any: one snapshot run may join two runs of one cycle."""
        return 0 if self.snapshots == 1 else max(self.seeds // 2, 1)


_LATER = (
    ("search", SearchSpec, "constraints"),
    ("search", SearchSpec, "objectives"),
    ("bounds", BoundsSpec, "trial_seeds"),
    ("final", FinalSpec, "refit"),
    ("final", FinalSpec, "refit_seeds"),
    ("final", FinalSpec, "controls"),
    ("final", FinalSpec, "ema_decay"),
    ("search", SearchSpec, "objective"),
)
"""Fields of sections that earlier versions did not have."""


class ExecutionSpec(Section):
    """The engine, and how its lanes run. `auto` is replaced before the study starts."""

    engine: Literal["auto", "ray", "local"] = "auto"
    """`auto`: `local` where training takes less time than starting Ray's lanes would save."""
    lanes: Many | Literal["auto"] = "auto"
    width: Many | Literal["auto"] = "auto"
    stack: Many | Literal["auto"] = "auto"
    """Slots that are trained as one stacked model, where trials differ in batch size or architecture."""
    path: Literal["auto", "stacked", "vmap", "sequential", "function"] = "auto"
    threads: Annotated[int, Field(ge=1, le=_MOST_THREADS)] | Literal["auto"] = "auto"
    """Threads that share a step. `auto`: one or all `cpus_per_lane` on Ray, and as many as help in this process."""
    precision: Literal["float32", "bf16"] = "float32"
    """`bf16`: forward passes under PyTorch's autocast, with weights and optimizer in float32."""
    micro_batch: Many | None = None
    """Examples of a batch that are computed at once, where a whole one is larger than the memory. Gradients of the
    parts are added up before the optimizer's step, so that schedule and range test stay as they are."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|(cuda|mps|xpu)(:\d+)?)$")] = "auto"
    processes: Annotated[int, Field(ge=1, le=_MOST_THREADS)] | Literal["auto"] = "auto"
    """Processes of a lane among which each batch of its one model is divided. `auto`: one for each of its GPUs."""
    cpus_per_lane: Annotated[float, Field(gt=0)] = 1
    gpus_per_lane: Annotated[float, Field(ge=0)] = 0
    checkpoint_s: Annotated[float, Field(gt=0)] = 30.0
    hang_s: Annotated[float, Field(gt=0)] = 900.0
    """A lane on Ray that finishes nothing for so long, and for 20 times its longest epoch, is restarted."""
    beside_s: Annotated[float, Field(ge=0)] = 300.0
    """Most seconds for all baselines together. One that has not come by then is left out."""
    epoch_metrics: bool = False
    """Whether every metric of every epoch is kept, and not the score alone: `--track` with runs for trials asks for it.
    Trials then take twice the room."""

    @model_validator(mode="after")
    def _whole_gpus(self) -> Self:
        if self.gpus_per_lane > 1 and self.gpus_per_lane % 1:
            raise SpecError("execution.gpus_per_lane", f"{self.gpus_per_lane} is neither below 1 nor a whole number")
        return self


class StudySpec(Section):
    """A whole study."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    task: TaskField
    space: SpaceField
    schedule: Recipe = Recipe()
    optimizer: dict[str, Any] = Field(default_factory=lambda: {"kind": "adamw"})
    batch_size: Many = 64
    bounds: BoundsSpec = BoundsSpec()
    search: SearchSpec = SearchSpec()
    until: Until = Until()
    confirm: ConfirmSpec = ConfirmSpec()
    final: FinalSpec = FinalSpec()
    budget: BudgetField = None
    """What the whole study may cost; it is divided when the study begins."""
    execution: ExecutionSpec = ExecutionSpec()
    storage: str | None = None
    provenance: dict[str, Any] = Field(default_factory=dict)
    """Written by `lab` into a resolved spec: versions, commit, probe. Read to know one of an earlier version."""

    @model_validator(mode="before")
    @classmethod
    def _as_many_as_pay(cls, value: Any) -> Any:
        """`search.trials: auto` is a number that hardly any search needs, and an end where more trials gain nothing."""
        search = value.get("search") if isinstance(value, Mapping) else None
        if not isinstance(search, Mapping) or search.get("trials") != "auto":
            return value
        until = value.get("until", {})
        ends = {"gain_below_noise": True, **until} if isinstance(until, Mapping) else until  # else it is refused
        return {**value, "search": {**search, "trials": _MOST_TRIALS}, "until": ends}

    @model_validator(mode="before")
    @classmethod
    def _with_a_schedule(cls, value: Any) -> Any:
        """A loop of the user's own may have no learning rate: then the peak of its schedule is 1, a factor."""
        if not isinstance(value, Mapping) or "schedule" in value or "max_lr" in (value.get("space") or {}):
            return value
        task = value.get("task")
        kind = task.get("kind") if isinstance(task, Mapping) else getattr(task, "kind", task)
        if kind != OWN_LOOP:
            return value
        kinds = Recipe()
        return {**value, "schedule": {"one": {**kinds.one, "max_lr": 1.0}, "several": {**kinds.several, "max_lr": 1.0}}}

    @model_validator(mode="before")
    @classmethod
    def _of_an_earlier_version(cls, value: Any) -> Any:
        """A study that began when proposals were made from whatever had finished goes on so."""
        resolved = value.get("provenance") if isinstance(value, Mapping) else None
        search = value.get("search", {}) if isinstance(resolved, Mapping) and "machine" in resolved else None
        if not isinstance(search, Mapping) or "concurrency" in search:
            return value
        return {**value, "search": {**search, "concurrency": None}}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self.space.check_conditions()
        check_recipe(self.schedule, self.space)
        for value in ends(self.space["cycles"]) if "cycles" in self.space else ():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SpecError("space.cycles", f"{value!r} is not a whole number of at least 1")
            if value > self.search.epochs:
                raise SpecError("space.cycles", f"{value} cycles do not fit into {self.search.epochs} epochs")
        if isinstance(self.space.get("cycles"), Float):
            raise SpecError("space.cycles", "is a real number; add 'int: true', or give a choice")
        return self

    @model_validator(mode="after")
    def _counts(self) -> Self:
        """A loop of the user's own has no model to be counted; a search of several ends by none of them alone."""
        search = self.search
        counted = [name for name in search.constraints or () if name in COSTS]
        if self.task.kind == OWN_LOOP and (counted or search.objectives):
            path = f"constraints.{counted[0]}" if counted else "objectives"
            said = "a loop of one's own has no model to count; tell a metric of it, and constrain that"
            raise SpecError(f"search.{path}", said)
        if search.objectives and not self.until.reads_no_score:
            until = (
                "gain_below_noise (as search.trials 'auto' sets it)" if self.until.gain_below_noise else "target_score"
            )
            raise SpecError(
                "search.objectives", f"cannot be searched with until.{until}, which goes by the score alone"
            )
        return self

    @model_validator(mode="after")
    def _no_secret(self) -> Self:
        """A password in the spec would stand in `study.yaml` and in every copy of it."""
        if self.storage is not None:
            try:
                secret = _holds_password(self.storage)
            except ValueError:
                raise SpecError("storage", "is no URL of a database") from None
            if secret:
                raise SpecError("storage", "holds a password; leave it out, and set PGPASSWORD (or use ~/.pgpass)")
        return self

    @model_validator(mode="after")
    def _believable(self) -> Self:
        """A prior over what is not searched, or around what never is, would say nothing without a word."""
        prior = self.search.sampler.get("prior")
        for name, belief in prior.items() if isinstance(prior, dict) else ():
            path, dimension = f"search.sampler.prior.{name}", self.space.get(str(name))
            if belief == FROM_BOUNDS:
                if not (name == "max_lr" and isinstance(dimension, Float)):
                    raise SpecError(path, "'from: bounds' is possible for a max_lr of low and high")
            elif dimension is None:
                raise SpecError(
                    path, f"is not searched{nearest(str(name), self.space)}; searched are {', '.join(self.space)}"
                )
            elif isinstance(dimension, Choice):
                raise SpecError(path, "is a choice, whose options have no order to lie near to")
            elif isinstance(dimension, (Float, Int)) and isinstance(belief, dict):
                center = belief.get("center")
                if isinstance(center, (int, float)) and not dimension.low <= center <= dimension.high:
                    raise SpecError(
                        f"{path}.center",
                        f"{center!r} is not within space.{name}, {dimension.low!r} to {dimension.high!r}",
                    )
        return self

    def changed(self, **sections: Mapping[str, Any]) -> Self:
        """The spec with other values for fields of sections, `changed(final={"seeds": 5})`; they are not checked."""
        return self.model_copy(
            update={name: getattr(self, name).model_copy(update=dict(values)) for name, values in sections.items()}
        )

    def training(self) -> Training:
        """The settings with which lanes train, as far as the spec says."""
        execution = self.execution
        return Training(
            self.optimizer,
            self.batch_size,
            path=execution.path,
            threads=execution.threads if isinstance(execution.threads, int) else 1,
            device=execution.device,
            precision=execution.precision,
            micro_batch=execution.micro_batch,
            processes=execution.processes if isinstance(execution.processes, int) else 1,
        )

    @property
    def needs_range_test(self) -> bool:
        """Whether the range test is needed: for max_lr's range, or for a prior within a range of the spec."""
        prior = self.search.sampler.get("prior")
        return self.space.needs_bounds or (isinstance(prior, dict) and FROM_BOUNDS in prior.values())

    @property
    def store(self) -> Store | None:
        """The database that keeps the trials; None: the study folder. Studies that ask the same share their trials."""
        if self.storage is None:
            return None
        said = self.model_dump(mode="json", exclude={"execution", "provenance", "storage"})
        # What says nothing new is left out: studies begun before there was a word for it keep their name.
        if self.until == Until():
            del said["until"]
        if self.budget is None:
            del said["budget"]
        if self.search.concurrency in (None, "auto", self.search.quarter):
            del said["search"]["concurrency"]
        for section, kind, name in _LATER:
            if said[section][name] == kind.model_fields[name].default:
                del said[section][name]
        asked = json.dumps(said, sort_keys=True)
        name = f"{self.name}-{hashlib.sha256(asked.encode()).hexdigest()[:12]}"
        return Store(self.storage, name, foreign=self.task.foreign)

    def what(self) -> dict[str, Any]:
        """The question alone, without where it runs and what was resolved: two equal ones are the same study."""
        return self.model_dump(exclude={"execution", "provenance"})


_PASSWORD = re.compile(r"pass(?!file)|pwd|\bpw\b|secret|token", re.IGNORECASE)
"""Names under which drivers take a password; `passfile` names the file that it stands in."""


def _holds_password(address: str) -> bool:
    """Whether a URL has a password: before the host, among the options, or in an option that is a list of them.

    Raises:
        ValueError: it is no URL.
    """
    parts = urlparse(address)
    user, _, _ = parts.netloc.rpartition("@")
    options = re.split(
        r"[?&;#\s]",
        unquote_plus(unquote_plus("&".join([parts.path.partition(";")[2], parts.params, parts.query, parts.fragment]))),
    )
    named = any(_PASSWORD.search(option.partition("=")[0]) for option in options if "=" in option)
    return parts.password is not None or ":" in unquote_plus(unquote_plus(user)) or named


def parse_spec(value: object) -> StudySpec:
    """A spec from plain values.

    Raises:
        SpecError: the first thing that is wrong, with its path, its value and what is allowed.
    """
    if not isinstance(value, Mapping):
        raise SpecError("spec", f"{shown(value)} is not a mapping" if value is not None else "is empty")
    check_values(value, "")
    try:
        return StudySpec.model_validate(dict(value))
    except ValidationError as error:
        raise _as_spec_error(error) from None


def _as_spec_error(error: ValidationError) -> SpecError:
    first: ErrorDetails = next((e for e in error.errors() if e["type"] == "extra_forbidden"), error.errors()[0])
    path = _path_of(first)
    if first["type"] == "extra_forbidden":
        section: type[BaseModel] = StudySpec
        for part in first["loc"][:-1]:
            annotation = section.model_fields[str(part)].annotation
            annotation = next((kind for kind in get_args(annotation) if kind is not type(None)), annotation)
            assert isinstance(annotation, type)  # extras occur in sections only
            assert issubclass(annotation, BaseModel)
            section = annotation
        names = [n for n in section.model_fields if n != "provenance"]
        return SpecError(path, f"is unknown{nearest(str(first['loc'][-1]), names)}; allowed: {', '.join(names)}")
    if first["type"] == "missing":
        return SpecError(path, "is missing")
    if first["type"] == "model_type":
        return SpecError(path, f"{first['input']!r} is not a mapping of options to values")
    messages = [e["msg"][0].lower() + e["msg"][1:] for e in error.errors() if _path_of(e) == path]
    return SpecError(path, f"{first['input']!r}: {', or '.join(messages)}")


def _path_of(error: ErrorDetails) -> str:
    """The keys that lead to an error; where several types are possible, pydantic names the type tried as well."""
    return ".".join(str(p) for p in error["loc"] if p not in ("constrained-int", "literal['auto']", "[key]")) or "spec"
