"""The second half of stage 1: short 1cycle trainings at and around the rate that the range tests suggest."""

from __future__ import annotations

from dataclasses import replace

from lab.lanes.engine import Engine
from lab.lanes.job import make_job
from lab.range_test import MOST_MORE, MULTIPLES, Tried, beyond
from lab.record.folder import Record
from lab.record.trials import TrialRow, read_trials
from lab.spec.plan import Job
from lab.spec.space import Choice, Float, Params, Space
from lab.spec.study import StudySpec
from lab.spec.trial import Trial, derive_seed
from lab.stages.job import run_job

_SEEDS_BEFORE = 3
"""Seeds at each rate of an earlier version, with which a study that it has begun goes on."""


def at_most(spec: StudySpec) -> int:
    """Trainings, if the best rate lies at an end of what is tried until no more are."""
    return (len(MULTIPLES) + MOST_MORE) * _seeds(spec) if spec.needs_range_test else 0


def epochs_of(spec: StudySpec) -> int:
    """Epochs of each training."""
    return min(spec.bounds.trial_epochs or spec.search.epochs, spec.search.epochs)


def in_trials(spec: StudySpec, trainings: int) -> int:
    """As many trials of the search cost what so many of these trainings do."""
    return -(-trainings * epochs_of(spec) // spec.search.epochs)


def _seeds(spec: StudySpec) -> int:
    trials = spec.search.trials * spec.search.epochs // epochs_of(spec)
    return spec.bounds.affordable_seeds(trials, len(MULTIPLES))


def try_rates(
    spec: StudySpec, record: Record, engine: Engine, tests: Job, params: Params, suggestion: float
) -> tuple[Tried, ...]:
    """Train whole 1cycles at multiples of the suggestion, and on beyond an end that is best.

    Args:
        tests: the job of the range tests, which has ended; its plan goes on with these trials.
        params: all hyperparameters but max_lr.

    Returns:
        The rates in rising order.
    """
    asked = spec.space.get("max_lr")
    low, high = (asked.low, asked.high) if isinstance(asked, Float) else (spec.bounds.start, spec.bounds.end)
    rates = [lr for multiple in MULTIPLES if low <= (lr := multiple * suggestion) <= high]
    if len(rates) < 2 or not _seeds(spec):
        return ()
    seeds = _seeds_of_begun(spec, record, tests, params, rates)
    most = len(rates) + MOST_MORE
    space = _space(tests.space, params, Float(low, high, log=True))
    while True:
        tried = _train(spec, record, engine, tests, params, rates, seeds, space)
        further = beyond(tried, suggestion, tests.direction)
        if further is None or not low <= further <= high or len(rates) == most:
            return tried
        rates.append(further)


def _seeds_of_begun(spec: StudySpec, record: Record, tests: Job, params: Params, rates: list[float]) -> int:
    """Seeds at each rate: those of an earlier version where it has begun these trainings."""
    assert isinstance(tests.plan, tuple)
    own, tested = _seeds(spec), len(tests.plan)
    rows = read_trials(record, tests.stage, spec.store)
    begun = [(row.plan_index - tested, row) for row in rows if row.plan_index is not None and row.plan_index >= tested]
    return next((n for n in (own, _SEEDS_BEFORE) if _are_of(begun, _planned(spec, params, rates, n))), own)


def _train(
    spec: StudySpec,
    record: Record,
    engine: Engine,
    tests: Job,
    params: Params,
    rates: list[float],
    seeds: int,
    space: Space,
) -> tuple[Tried, ...]:
    """Train what has not been trained yet; the plan only grows, so that an interrupted one goes on where it was."""
    assert isinstance(tests.plan, tuple)
    planned = _planned(spec, params, rates, seeds)
    job = make_job(spec, record, engine, tests.stage, (*tests.plan, *planned), space)
    # No more slots than there are trials at first, beside the range tests; as many when there are more.
    job = replace(job, width=min(job.width, -(-len(MULTIPLES) * seeds // job.lanes)))
    rows = run_job(spec, record, engine, job)[len(tests.plan) :]
    scores = {lr: tuple(row.score for row in rows[i * seeds : (i + 1) * seeds]) for i, lr in enumerate(rates)}
    return tuple(Tried(lr, scores[lr]) for lr in sorted(rates))


def _planned(spec: StudySpec, params: Params, rates: list[float], seeds: int) -> tuple[Trial, ...]:
    return tuple(
        Trial(
            params={**params, "max_lr": lr},
            seed=derive_seed(spec.seed, "bounds", "short", seed),
            epochs=epochs_of(spec),
            role=f"max_lr={lr:.3g}",
        )
        for lr in rates
        for seed in range(seeds)
    )


def _are_of(begun: list[tuple[int, TrialRow]], planned: tuple[Trial, ...]) -> bool:
    """Whether trials that have begun, each with its index among these or beyond their end, are as planned."""
    return all(
        (row.trial.seed, row.params.get("max_lr")) == (planned[i].seed, planned[i].params["max_lr"])
        for i, row in begun
        if i < len(planned)
    )


def _space(tested: Space, params: Params, max_lr: Float) -> Space:
    """The range tests' space, able to hold these trials as well."""
    wider = {"max_lr": max_lr}
    for name, value in params.items():
        dimension = tested.get(name)
        if isinstance(dimension, Float):
            assert isinstance(value, (int, float))  # tested on a grid of numbers
            wider[name] = Float(min(dimension.low, value), max(dimension.high, value))
    return Space({**{name: Choice((value,)) for name, value in params.items()}, **tested, **wider})
