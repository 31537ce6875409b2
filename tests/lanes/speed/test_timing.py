"""Nothing is timed for longer than it takes to see that it is slow."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lab.lanes.speed import timing
from lab.lanes.speed.kept_times import KeptTimes
from lab.lanes.speed.timing import time_alone, time_rows
from lab.spec.plan import Job
from lab.spec.space import Float, Space
from tests.lanes.speed.test_probe import Noise, job_of
from tests.training.zoo import Residual

ROWS = (1, 2, 4, 8)


@pytest.fixture
def job() -> Job:
    return job_of(Noise(lambda params: Residual(), 1, 6, 6), Space({"weight_decay": Float(1e-4, 0.1)}))


@pytest.mark.parametrize(("best_ms", "timed"), [({}, ROWS), ({"best_ms": 0.9}, ROWS), ({"best_ms": 0.5}, (1, 2))])
def test_rows_end_where_other_threads_were_clearly_faster(
    best_ms: dict[str, float], timed: tuple[int, ...], job: Job, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(timing, "_milliseconds", lambda path, job, width, steps: 1.0)
    times = {("sequential", 1): 1.0}
    time_rows("stacked", job, ROWS, times, KeptTimes(job), **best_ms)
    assert tuple(rows for path, rows in times if path == "stacked") == timed


@pytest.mark.parametrize(("round_s", "rounds"), [(0.2, 4), (0.9, 2), (60.0, 2)])
def test_slow_rounds_are_fewer(round_s: float, rounds: int, job: Job, monkeypatch: pytest.MonkeyPatch):
    clock, lasted = [0.0], []

    class Trainer:
        def start(self, assignment: Any) -> None:
            pass

        def epoch(self) -> tuple[Any, ...]:
            lasted.append(round_s)
            clock[0] += round_s
            return (SimpleNamespace(outcome=None, detail=""),)

    monkeypatch.setattr(timing, "make_trainer", lambda job: Trainer())
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])
    time_alone(job, KeptTimes(job))
    assert len(lasted) == 2 * rounds, "time_alone takes one step first, and then as many as fit"
