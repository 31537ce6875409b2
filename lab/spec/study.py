"""A study as the user writes it, checked to the last key. Says what to study, not where to run it (except `execution`,
which flags override and which the resolved spec records so that a study can be repeated)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Self, get_args
from urllib.parse import unquote_plus, urlparse

from pydantic import BaseModel, BeforeValidator, Field, PlainSerializer, ValidationError, model_validator
from pydantic_core import ErrorDetails

from lab.errors import SpecError, nearest
from lab.spec.amounts import Many
from lab.spec.bounds import FROM_BOUNDS, BoundsSpec
from lab.spec.budget import Budget, parse_budget
from lab.spec.conclusion import ConfirmSpec, FinalSpec
from lab.spec.execution import ExecutionSpec
from lab.spec.limits import COSTS
from lab.spec.plain_values import check_values, shown
from lab.spec.plan import OWN_LOOP, Recipe, Store, TaskRef, Training, Until, check_recipe, dump_task, parse_task
from lab.spec.search import MOST_TRIALS, SearchSpec
from lab.spec.section import Section
from lab.spec.space import Choice, Float, Int, Space, dump_dimension, ends, parse_dimension


def _parse_space(value: object) -> Space:
    if isinstance(value, Space):
        return value
    if not isinstance(value, Mapping):
        raise SpecError("space", f"{value!r} is not a mapping of hyperparameter to range")
    return Space({str(name): parse_dimension(f"space.{name}", d) for name, d in value.items()})


def _dump_space(space: Space) -> dict[str, Any]:
    return {name: dump_dimension(d) for name, d in space.items()}


TaskField = Annotated[TaskRef, BeforeValidator(parse_task), PlainSerializer(dump_task)]
BudgetField = Annotated[Budget | None, BeforeValidator(parse_budget)]
SpaceField = Annotated[Space, BeforeValidator(_parse_space), PlainSerializer(_dump_space)]


_LATER = (
    ("search", SearchSpec, "constraints"),
    ("search", SearchSpec, "objectives"),
    ("bounds", BoundsSpec, "trial_seeds"),
    ("bounds", BoundsSpec, "trial_epochs"),
    ("final", FinalSpec, "refit"),
    ("final", FinalSpec, "refit_seeds"),
    ("final", FinalSpec, "controls"),
    ("final", FinalSpec, "ema_decay"),
    ("search", SearchSpec, "objective"),
)
"""Fields of sections that earlier versions did not have."""


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
        return {**value, "search": {**search, "trials": MOST_TRIALS}, "until": ends}

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
            sharded=execution.sharded,
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
