"""The time that a lane takes for a step of a job's trials, on this machine and now."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from statistics import median

from lab.errors import TaskError
from lab.lanes.lane import make_trainer, template_of
from lab.lanes.speed.kept_times import KeptTimes
from lab.lanes.speed.thresholds import SLOWER
from lab.schedules import Constant
from lab.spec.exchange import Assignment
from lab.spec.plan import Job
from lab.spec.trial import Outcome, Trial
from lab.training.device import DeviceLost
from lab.training.memory import out_of_memory
from lab.training.stacking.layouts import NotStackable

_STEPS = 16
_ROUNDS = 3
_ROUND_S = 0.2
"""Target length of a round, in seconds: slow steps make rounds of fewer steps.

A net of 50 ms a step was timed for a third as long as its search took.
"""
_MOST_S = 2 * _ROUNDS * _ROUND_S
"""Seconds after which no further round begins: threads that wait for a core of their own may take fifty times as long
as was expected."""


def time_alone(job: Job, kept: KeptTimes) -> float:
    """Milliseconds of an optimizer step, with one trial after the other."""
    one = "sequential", 1
    return kept.of(
        *one, job.training.threads, lambda: _milliseconds(job, *one, _enough(_milliseconds(job, *one, steps=1)))
    )


def time_rows(
    path: str,
    job: Job,
    rows: Iterable[int],
    times: dict[tuple[str, int], float],
    kept: KeptTimes,
    best_ms: float = math.inf,
) -> None:
    """Add milliseconds per row and step of stacked models with ever more rows: as long as they fit into memory and are
    not clearly slower than what has been timed.

    Args:
        kept: what has been timed by earlier studies, and is not timed again.
        best_ms: what has been timed on other threads.

    Raises:
        NotStackable: the path is not to be had in the job's precision.
        TaskError: a trial cannot be trained at all.
    """
    row_ms = times["sequential", 1]
    for width in rows:
        timed = partial(_milliseconds, job, path, width, _enough(row_ms * width))
        try:
            row_ms = kept.of(path, width, job.training.threads, timed)
        except TaskError as error:
            if job.training.precision == "float32":
                raise
            # It was checked in full precision; some operations cannot be had in this one.
            raise NotStackable(f"not in {job.training.precision} ({error})") from error
        except Exception as error:
            if width == 1 or not out_of_memory(error):
                raise
            return
        times[path, width] = row_ms
        if row_ms > SLOWER * min(best_ms, *times.values()) and width > 1:
            return


def _enough(step_ms: float) -> int:
    """Steps of a round, where one step of all slots is expected to take `step_ms`."""
    return max(min(round(_ROUND_S * 1000 / step_ms), _STEPS), 1)


def _milliseconds(job: Job, path: str, width: int, steps: int) -> float:
    """Median milliseconds of one trial's optimizer step, over rounds of `steps` steps."""
    steps = min(steps, job.training.epoch_steps or steps)
    training = replace(job.training, path=path, epoch_steps=steps, record_losses=True, stop_at=None)
    trainer = make_trainer(replace(job, training=training, width=width, stack=None))
    params = template_of(job)
    for slot in range(width):
        trial = Trial(params, slot, _ROUNDS + 1, own_schedule=Constant(max_lr=1e-4))
        trainer.start(Assignment(slot, trial, slot, 0))
    rounds_s: list[float] = []
    while len(rounds_s) <= _ROUNDS and (len(rounds_s) < 2 or sum(rounds_s) < _MOST_S):
        begin = time.perf_counter()
        try:
            results = trainer.epoch()
        except DeviceLost as error:
            raise TaskError(f"its speed could not be measured: {error}") from error
        rounds_s.append(time.perf_counter() - begin)
        failed = next((result.detail for result in results if result.outcome is Outcome.FAILED), "")
        if failed or len(results) != width:
            why = failed.strip().splitlines()[-1] if failed else "its trial ended"
            raise TaskError(f"its speed could not be measured: {why}")
    return median(rounds_s[1:]) * 1000 / steps / width
