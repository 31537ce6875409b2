"""A study within a budget: its parts get epochs in the order of what they were measured to gain for them.

On nine tasks a refit on all rows took a fifth of the loss away, and further seeds of it more; a dozen trials came as
far as 64 on three tasks of four; what is trained beside the models, to compare with, gains them nothing.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from lab.errors import SpecError
from lab.spec.space import ends
from lab.spec.study import StudySpec, parse_spec
from lab.study.cost import trainings
from lab.study.pace import pace_of, steps_of_epoch

_PLANNED = ("bounds", "search", "until", "confirm", "final")
_TRIALS, _MORE_TRIALS = 12, 24
_LEAST_TRIALS = 6
_CORRECTIONS = 3
"""Times that a plan is timed and cut down to what its own pace pays for."""
_LEAST_EPOCHS = 3
"""A training is no shorter: the rate has to rise and to fall."""

_Fits: TypeAlias = Callable[[StudySpec], bool]


@dataclass(frozen=True)
class _Smallest:
    """The least that a study is begun with, at some length of its trainings."""

    trials: int
    final_seeds: int


_SMALLEST = (_Smallest(_TRIALS, 2), _Smallest(_LEAST_TRIALS, 1))
"""Shorter trainings come before fewer than a dozen of them."""


def divided(spec: StudySpec) -> StudySpec:
    """The spec with its budget divided, if it has one that is not; its data are opened for it, and where the budget is
    one of time, the pace of this machine is measured.

    Raises:
        SpecError: not even the smallest study fits, or nobody knows how long an epoch takes.
    """
    budget = spec.budget
    if budget is None or budget.asked is not None:
        return spec
    steps = steps_of_epoch(spec)
    if budget.limit_epochs is not None:
        return within(spec, budget.limit_epochs, steps)
    limit_s = budget.seconds
    assert limit_s is not None  # it is one or the other
    plan, epochs = spec, math.inf
    for _ in range(_CORRECTIONS):
        whole_s = pace_of(plan).seconds
        if not whole_s:
            raise SpecError("budget", f"{budget.limit!r}: how long an epoch takes is not known here; say it in epochs")
        # A smaller search trains fewer at once, so that each takes longer than in the one that was timed before.
        epochs = min(limit_s / whole_s * cost(plan, steps), epochs)
        plan = within(spec, epochs, steps)
    return plan


def within(spec: StudySpec, epochs: float, epoch_steps: float | None) -> StudySpec:
    """The spec with its trials, seeds and lengths cut down to what so many epochs pay for, and the decisions.

    What the search leaves, since it ends where another trial gains less than the noise of a seed, trains more final
    seeds (`lab.stages.final`).

    Args:
        epoch_steps: optimizer steps of an epoch, where they are known; the range test is counted in steps.

    Raises:
        SpecError: not even the smallest study fits.
    """
    assert spec.budget is not None  # whoever calls has one
    plan, shortened = _smallest(spec, epochs, epoch_steps)
    plan = _filled(spec, plan, lambda candidate: cost(candidate, epoch_steps) <= epochs)
    if isinstance(plan.search.concurrency, int):
        plan = plan.changed(search={"concurrency": min(plan.search.concurrency, plan.search.trials)})
    decisions = [*_decisions(spec, plan, shortened), f"at most {cost(plan, epoch_steps):.0f} of {epochs:.0f} epochs"]
    asked = {name: getattr(spec, name).model_dump(mode="json") for name in _PLANNED}
    trials = epochs - (cost(plan, epoch_steps) - cost(plan, None))
    budget = spec.budget.model_copy(update={"epochs": trials, "asked": asked, "decisions": decisions})
    return plan.changed(until={"gain_below_noise": True}).model_copy(update={"budget": budget})


def as_asked(stored: StudySpec) -> StudySpec:
    """A stored spec as it was before its budget was divided.

    Raises:
        SpecError: what is stored of it is damaged.
    """
    if stored.budget is None or stored.budget.asked is None:
        return stored
    sections = {name: value for name, value in stored.budget.asked.items() if name in _PLANNED}
    parsed = parse_spec({"name": stored.name, "task": stored.task, "space": stored.space} | sections)
    budget = stored.budget.model_copy(update={"epochs": None, "asked": None, "decisions": []})
    return stored.model_copy(update={name: getattr(parsed, name) for name in _PLANNED} | {"budget": budget})


def cost(spec: StudySpec, epoch_steps: float | None) -> float:
    """Epochs of a whole study, if no trial ends early; without its range test where no steps are known."""
    stages = trainings(spec, epoch_steps).values()
    steps = sum(stage.steps for stage in stages)
    return sum(stage.epochs for stage in stages) + (steps / epoch_steps if epoch_steps else 0.0)


def _smallest(spec: StudySpec, epochs: float, epoch_steps: float | None) -> tuple[StudySpec, bool]:
    """The smallest study with the longest trainings that fits, and whether these are shorter than asked."""
    least = 0.0
    for smallest in _SMALLEST:
        for shortened, lengths in enumerate(_lengths(spec)):
            plan = lengths.changed(
                bounds={"seeds": 1},
                search={"trials": min(spec.search.trials, smallest.trials)},
                confirm={
                    "one_cycle": min(spec.confirm.one_cycle, 2),
                    "several": min(spec.confirm.several, 1),
                    "seeds": min(spec.confirm.seeds, 2),
                },
                final={"seeds": min(spec.final.seeds, smallest.final_seeds), "refit_seeds": 1, "controls": "none"},
            )
            least = cost(plan, epoch_steps)
            if least <= epochs:
                return plan, shortened > 0
    assert spec.budget is not None  # as above
    raise SpecError(
        "budget", f"{spec.budget.limit!r} pays for {epochs:.0f} epochs; the smallest study takes {math.ceil(least)}"
    )


def _lengths(spec: StudySpec) -> Iterator[StudySpec]:
    """The spec with trainings as long as asked, three quarters of that, and so on, each long enough for its cycles."""
    cycles = max((int(end) for end in ends(spec.space["cycles"]) or ()), default=1) if "cycles" in spec.space else 1
    snapshots = spec.final.snapshots if isinstance(spec.final.snapshots, int) else 1
    search, final = spec.search.epochs, spec.final.epochs
    least_search = min(search, max(_LEAST_EPOCHS, cycles))
    least_final = min(final, max(_LEAST_EPOCHS, cycles, snapshots))
    while True:
        yield spec.changed(search={"epochs": search}, final={"epochs": final})
        if (search, final) == (least_search, least_final):
            return
        search, final = max(3 * search // 4, least_search), max(3 * final // 4, least_final)


def _filled(spec: StudySpec, plan: StudySpec, fits: _Fits) -> StudySpec:
    """What else is asked for and still fits, in the order of what it gains."""
    plan = _most(plan, "final", "seeds", spec.final.seeds, fits)
    plan = _most(plan, "search", "trials", min(spec.search.trials, _MORE_TRIALS), fits)
    plan = _most(plan, "final", "refit_seeds", spec.final.refit_seeds, fits)
    for name in ("seeds", "one_cycle", "several"):
        plan = _most(plan, "confirm", name, getattr(spec.confirm, name), fits)
    plan = _most(plan, "bounds", "seeds", spec.bounds.seeds, fits)
    plan = _most(plan, "search", "trials", spec.search.trials, fits)
    compared = plan.changed(final={"controls": spec.final.controls})
    return compared if fits(compared) else plan


def _most(plan: StudySpec, section: str, name: str, asked: int, fits: _Fits) -> StudySpec:
    """The plan with as many of something as fit, and no more than asked."""

    def with_count(count: int) -> StudySpec:
        return plan.changed(**{section: {name: count}})

    counts = range(getattr(getattr(plan, section), name) + 1, asked + 1)
    fitting = bisect_left(counts, True, key=lambda count: not fits(with_count(count)))  # more never cost less
    return with_count(counts[fitting - 1]) if fitting else plan


def _decisions(spec: StudySpec, plan: StudySpec, shortened: bool) -> Iterator[str]:
    """What each part gets, and why, for people."""
    if shortened:
        yield (
            f"trainings are shortened to {plan.search.epochs} of {spec.search.epochs} epochs in the search and "
            f"{plan.final.epochs} of {spec.final.epochs} in the final models, so that {plan.search.trials} trials fit"
        )
    yield (
        f"final models: {_of(plan.final.seeds, spec.final.seeds)} seeds, first of all: a refit on all rows gains most"
        if spec.final.refit
        else f"final models: {_of(plan.final.seeds, spec.final.seeds)} seeds, first of all: they are handed out"
    )
    yield (
        f"search: {_of(plan.search.trials, spec.search.trials)} trials; it ends where another gains less than a seed's "
        "noise, and what it leaves trains more final seeds"
    )
    yield (
        f"confirmation: {_of(plan.confirm.one_cycle, spec.confirm.one_cycle)} candidates of one cycle, "
        f"{_of(plan.confirm.several, spec.confirm.several)} of several, "
        f"{_of(plan.confirm.seeds, spec.confirm.seeds)} seeds each"
    )
    if spec.needs_range_test:
        yield f"range test: {_of(plan.bounds.seeds, spec.bounds.seeds)} seeds"
    if plan.final.controls != spec.final.controls:
        yield "no controls: what is only to be compared with gains the models nothing"


def _of(count: int, asked: int) -> str:
    return str(count) if count == asked else f"{count} of {asked}"
