"""The section `search` of a spec: the explore stage."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from lab.errors import SpecError
from lab.spec.amounts import Many
from lab.spec.limits import SCORE, Limit, check_constraints, check_objectives, limits_of
from lab.spec.section import Section

ConstraintsField = Annotated[
    dict[str, float | dict[Literal["at_most", "at_least"], float]] | None, BeforeValidator(check_constraints)
]
ObjectivesField = Annotated[list[Literal["score", "parameters", "flops"]] | None, BeforeValidator(check_objectives)]
_FRESHNESS = 4
"""A search has at least this many times more trials than run at once."""
MOST_TRIALS = 64
"""Trials of a search that ends by itself."""


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
