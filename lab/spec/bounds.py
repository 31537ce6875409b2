"""The section `bounds` of a spec: the learning-rate range test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from lab.errors import SpecError
from lab.spec.amounts import Few
from lab.spec.section import Section

_WEIGHT_DECAYS = (0.001, 0.01, 0.1)
_TRIAL_SEEDS = 2
"""A third seed costs half as much again and decided on no better range (`reports/fidelity`)."""


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
    """Seeds of short 1cycle trainings at each of a few rates around the suggestion; 0: there are none. `auto`: see
    `affordable_seeds`."""
    trial_epochs: Few | None = None
    """Epochs of each of them, if no more than a trial of the search has. None: as many as that. With wrong labels a
    third of the length decided on another range (`reports/fidelity`)."""

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
        """Seeds on which to train at each of so many rates: two at most, and none where one would already take more
        than a quarter of the search. Rates beyond an end that is best come on top.

        Args:
            trials: trainings as long as these for which the search's epochs would do.
        """
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
