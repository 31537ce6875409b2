"""What the run of a trial shows: its settings, its epochs, how it ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from lab.errors import LabError
from lab.record.trials import TrialRow
from lab.schedules import Schedule
from lab.spec.study import StudySpec

Epoch: TypeAlias = dict[str, float]
"""What is shown of an epoch, by name."""

_STEPS = 100
"""Optimizer steps by which an epoch is divided to find rates at its end; how many it has in truth nobody has kept."""
_LONGEST_TAG = 64


def config_of(stage: str, row: TrialRow) -> dict[str, Any]:
    """A trial's hyperparameters by name, and what else it was trained with."""
    trial = row.trial
    more = {"stage": stage, "trial": row.number, "seed": trial.seed, "epochs": trial.epochs, "role": trial.role}
    return more | ({} if trial.fold is None else {"fold": trial.fold}) | dict(trial.params)


def tags_of(spec: StudySpec, stage: str, row: TrialRow) -> list[str]:
    tags = (spec.task.kind.rpartition(":")[2], stage, row.trial.role)
    return list(dict.fromkeys(tag[:_LONGEST_TAG] for tag in tags if tag))


def epochs_of(spec: StudySpec, row: TrialRow, after: int) -> Iterator[tuple[int, Epoch]]:
    """The epochs that a trial has had beyond the first `after`, with what is known of each: its score, lr and momentum
    at its end, and its metrics where the study keeps them."""
    # While it trains, what has no score yet is about to have one.
    ended = row.epoch_metrics if row.outcome is not None else ()
    had = sorted(epoch for epoch in {*row.curve, *ended} if epoch > after)
    rates = _rates(spec, row, had)
    for epoch in had:
        measured = {**row.epoch_metrics.get(epoch, {}), "score": row.curve.get(epoch)}
        yield epoch, {"epoch": epoch, **_numbers(measured), **rates.get(epoch, {})}


def summary_of_trial(row: TrialRow) -> dict[str, float | str]:
    """How a trial ended. Why one failed is left out: its task's own words may hold anything."""
    measured = {"score": row.score, "seconds": row.seconds, "epochs": max({*row.curve, *row.epoch_metrics}, default=0)}
    return {**_numbers(row.metrics), **_numbers(measured), "outcome": str(row.outcome)}


def _rates(spec: StudySpec, row: TrialRow, epochs: list[int]) -> dict[int, Epoch]:
    total = row.trial.epochs
    within = [epoch for epoch in epochs if 1 <= epoch <= total]
    try:
        curves = _schedule(spec, row).curves([epoch * _STEPS - 1 for epoch in within], total * _STEPS)
    except LabError:  # of a version whose schedules were others
        return {}
    pairs = zip(curves.lr.tolist(), curves.momentum.tolist(), strict=True)
    return {epoch: {"lr": lr, "momentum": momentum} for epoch, (lr, momentum) in zip(within, pairs, strict=True)}


def _schedule(spec: StudySpec, row: TrialRow) -> Schedule:
    return row.trial.own_schedule or spec.schedule.schedule(row.params)


def _numbers(values: Mapping[str, float | None]) -> Epoch:
    return {name: value for name, value in values.items() if value is not None}
