"""More threads are taken while each doubling is faster, and what they train is what one trains."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from lab.lanes.engine import Probe
from lab.lanes.speed.kept_times import KeptTimes
from lab.lanes.speed.threads import on_more_threads
from lab.record.trials import read_trials
from lab.spec.plan import Job
from lab.spec.space import Float, Space
from lab.study.study import Study
from tests.lanes.speed.test_probe import Noise, job_of
from tests.small import small_spec
from tests.training.zoo import Residual

Times = dict[tuple[str, int], float]
SEQUENTIAL = Probe("sequential", 1, "nothing else is open", {("sequential", 1): 8.0})
STACKED = Probe("stacked", 4, "timed", {("sequential", 1): 8.0, ("stacked", 4): 1.0, ("stacked", 8): 1.1}, 4)


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Job:
    """One whose steps take what 4 threads can share, and a half of it in stacks of 8."""

    def pace(job: Job) -> float:
        return 1 / min(job.training.threads, 4)

    def time_rows(path: str, job: Job, rows: Iterable[int], times: Times, kept: KeptTimes, best_ms: float) -> None:
        times.update({(path, k): pace(job) * (0.5 if k == 8 else 1.0) for k in rows})

    monkeypatch.setattr("lab.lanes.speed.threads.time_alone", lambda job, kept: 8 * pace(job))
    monkeypatch.setattr("lab.lanes.speed.threads.time_rows", time_rows)
    return job_of(Noise(lambda params: Residual(), 1, 6, 6), Space({"weight_decay": Float(1e-4, 0.1)}))


def test_threads_double_while_that_is_faster(job: Job):
    probed = on_more_threads(job, SEQUENTIAL, widest=8, most=16)
    assert (probed.threads, probed.width, probed.milliseconds) == (4, 1, {("sequential", 1): 2.0})
    assert probed.reason == "nothing else is open; 4.0 times that on 4 threads"
    assert on_more_threads(job, SEQUENTIAL, widest=8, most=3).threads == 2
    assert on_more_threads(job, SEQUENTIAL, widest=8, most=1) is SEQUENTIAL


def test_with_more_threads_a_lane_may_be_wider(job: Job):
    assert on_more_threads(job, STACKED, widest=4, most=2).width == 4
    probed = on_more_threads(job, STACKED, widest=8, most=2)
    assert (probed.threads, probed.width, probed.stack) == (2, 8, 8)
    assert probed.reason == "timed; 4.0 times that on 2 threads"


def test_threads_that_are_no_faster_are_not_taken(job: Job, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lab.lanes.speed.threads.time_alone", lambda job, kept: 7.9)
    assert on_more_threads(job, SEQUENTIAL, widest=8, most=16) is SEQUENTIAL


def test_a_function_has_its_own_threads(job: Job):
    function = Probe("function", 1, "a trial function runs by itself", {})
    assert on_more_threads(job, function, widest=8, most=16) is function


def test_threads_are_really_timed():
    job = job_of(Noise(lambda params: Residual(), 1, 6, 6), Space({"weight_decay": Float(1e-4, 0.1)}))
    slow = Probe("stacked", 1, "timed", {("sequential", 1): 1e6, ("stacked", 1): 1e6}, 1)
    probed = on_more_threads(job, slow, widest=2, most=2)
    assert probed.threads == 2
    assert {rows for path, rows in probed.milliseconds if path == "stacked"} >= {1}


@pytest.mark.parametrize("path", ["stacked", "sequential"])
def test_on_two_threads_a_study_still_equals_the_one_trained_alone(tmp_path: Path, path: str):
    """Slots by one or four: the same scores to the last bit."""

    def curves(width: int, folder: str) -> list[object]:
        execution = {"engine": "local", "lanes": 1, "width": width, "path": path, "threads": 2}
        space = {"max_lr": {"low": 0.001, "high": 0.1, "log": True}, "dropout": {"low": 0.0, "high": 0.5}}
        search = {"sampler": {"kind": "random"}, "trials": 8, "epochs": 2}
        study = Study.from_spec(small_spec(execution=execution, search=search, space=space), tmp_path / folder)
        study.run(until="explore")
        return [(row.number, row.params, row.curve) for row in read_trials(study.record, "explore")]

    assert curves(1, "alone") == curves(4, "beside others")
