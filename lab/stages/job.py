"""What the stages have in common: what they search, running a job, and reading the trials that came of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from lab.errors import StudyError
from lab.lanes.engine import Engine
from lab.record.folder import Record
from lab.record.trials import TrialRow, read_trials
from lab.response.encode import Encoding
from lab.spec.distributions import distribution
from lab.spec.plan import Job
from lab.spec.space import Choice, Float, Params, Space
from lab.spec.study import FROM_BOUNDS, StudySpec, without_range_test
from lab.spec.trial import Outcome
from lab.tasks.limits import within_limits

_SURE_STDS = 4.0
"""Standard deviations from end to end of a 95 % interval."""
_MARKS_STDS = 2.0
"""Standard deviations between the two marks of a suggestion, whose mean is off by about half of what parts them."""
_LEAST_SPREAD = 0.15
"""The range test finds the right order of magnitude, not the best rate of a whole training."""


def space_of(spec: StudySpec, record: Record) -> Space:
    """The space with `from: bounds` filled in by the range test."""
    if not spec.space.needs_bounds:
        return spec.space
    bounds = record.need("bounds")
    return spec.space.with_bounds(float(bounds["low"]), float(bounds["high"]))


def sampler_of(spec: StudySpec, record: Record) -> dict[str, Any]:
    """The sampler's options with a prior `from: bounds` filled in by the range test, or dropped where it says nothing.

    The bell lies at the suggested rate; it is as wide as the rate is unsure between runs, and as the two marks that it
    is the mean of lie apart, on the scale of the range.
    """
    prior = spec.search.sampler.get("prior")
    if not isinstance(prior, dict) or FROM_BOUNDS not in prior.values():
        return spec.search.sampler
    sampler = without_range_test(spec.search.sampler)
    bounds, dimension = record.need("bounds"), spec.space.get("max_lr")
    if not bounds.get("skipped") and isinstance(dimension, Float) and dimension.high > dimension.low:
        suggestion, units = bounds["suggestion"], Encoding({"max_lr": distribution(dimension)}).units
        runs, marks = (
            float(np.ptp(np.clip(units([{"max_lr": end} for end in ends]), 0, 1))) if ends else 0.0
            for ends in (bounds["sure"], bounds.get("marks"))
        )
        spread = max(runs / _SURE_STDS, marks / _MARKS_STDS, _LEAST_SPREAD)
        sampler["prior"]["max_lr"] = {"center": suggestion, "spread": spread}
    return sampler


def run_job(spec: StudySpec, record: Record, engine: Engine, job: Job) -> list[TrialRow]:
    """Run a job and give its trials back, in the order in which they were planned."""
    engine.run(job)
    rows = read_trials(record, job.stage, spec.store)
    return sorted(rows, key=lambda row: row.plan_index if row.plan_index is not None else row.number)


def completed(rows: list[TrialRow], what: str, advice: str) -> list[TrialRow]:
    """The completed trials.

    Raises:
        StudyError: there are none; with the outcomes, the last reason, and what to try.
    """
    good = [row for row in rows if row.outcome is Outcome.COMPLETED and row.score is not None]
    if good:
        return good
    counts = {o: sum(row.outcome is o for row in rows) for o in Outcome}
    told = ", ".join(f"{n} {outcome}" for outcome, n in counts.items() if n)
    reason = next((row.detail.splitlines()[-1] for row in reversed(rows) if row.detail), "")
    raise StudyError(f"{what}: no trial completed ({told}{': ' + reason if reason else ''}); {advice}")


def best_first(rows: list[TrialRow], direction: str) -> list[TrialRow]:
    """Completed trials, best score first; earlier trials first among equals."""
    sign = -1.0 if direction == "maximize" else 1.0
    return sorted(rows, key=lambda row: (sign * (row.score if row.score is not None else np.inf), row.number))


def mean_interval(values: list[float], metric: str, level: float = 0.95) -> dict[str, Any]:
    """Mean, standard deviation and Student-t interval of a few values of a metric, cut where it cannot lie; no interval
    for a single one."""
    n = len(values)
    mean = float(np.mean(values))
    if n < 2:
        return {"mean": mean, "std": None, "low": None, "high": None, "n": n}
    std = float(np.std(values, ddof=1))
    half = float(stats.t.ppf((1 + level) / 2, n - 1)) * std / n**0.5
    low, high = within_limits(mean - half, mean + half, metric, values)
    return {"mean": mean, "std": std, "low": low, "high": high, "n": n}


def with_cycles(params: Params, cycles: int) -> Params:
    """The same hyperparameters trained in another number of cycles."""
    return {**params, "cycles": cycles}


def open_to_cycles(space: Space, cycles: tuple[int, ...]) -> Space:
    """The space, able to hold trials with these cycle counts."""
    return Space({**space, "cycles": Choice(tuple(dict.fromkeys(cycles)))})
