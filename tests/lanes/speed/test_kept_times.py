"""A second study decides as the first did, from the first one's times; what cannot be read or kept stops nobody."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.lanes.speed import timing
from lab.lanes.speed.kept_times import KeptTimes
from lab.lanes.speed.probe import probe
from lab.spec.plan import Job
from lab.spec.space import Float, Space
from tests.lanes.speed.test_probe import Noise, job_of
from tests.training.zoo import Residual


def a_job(width: int = 6) -> Job:
    return job_of(Noise(lambda params: Residual(), 1, 6, width), Space({"weight_decay": Float(1e-4, 0.1)}))


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Every time that is really measured: the first study's favour width 4, later ones would favour 1."""
    asked: list[tuple[str, int]] = []

    def milliseconds(job: Job, path: str, width: int, steps: int) -> float:
        later = len(asked) > 5
        asked.append((path, width))
        return width if later else 8.0 / width

    monkeypatch.setattr(timing, "_milliseconds", milliseconds)
    return asked


def test_a_second_study_times_nothing_and_decides_alike(measured: list[tuple[str, int]]):
    first = probe(a_job(), 4)
    count = len(measured)
    assert first.width == 4
    assert not first.kept
    second = probe(a_job(), 4)
    assert len(measured) == count
    assert (second.path, second.width, second.milliseconds) == (first.path, first.width, first.milliseconds)
    assert second.kept
    assert "timed (by an earlier study on this machine): " in second.reason


def test_a_wider_one_times_what_is_missing_alone(measured: list[tuple[str, int]]):
    probe(a_job(), 2)
    before = len(measured)
    probe(a_job(), 4)
    assert measured[before:] == [("stacked", 4)]


@pytest.mark.parametrize(
    "other",
    [
        lambda job: replace(job, training=replace(job.training, batch_size=3)),
        lambda job: replace(job, training=replace(job.training, precision="bf16")),
        lambda job: replace(job, task=replace(job.task, options={"shift": 2})),
    ],
)
def test_what_changes_a_steps_time_is_timed_anew(other: Callable[[Job], Job], times_folder: Path):
    KeptTimes(a_job()).of("stacked", 1, 1, lambda: 1.0)
    assert KeptTimes(other(a_job())).of("stacked", 1, 1, lambda: 2.0) == 2.0
    assert KeptTimes(a_job()).of("stacked", 1, 1, lambda: 3.0) == 1.0
    assert len(list(times_folder.iterdir())) == 2


def test_threads_that_wait_otherwise_have_times_of_their_own(monkeypatch: pytest.MonkeyPatch):
    KeptTimes(a_job()).of("stacked", 1, 2, lambda: 1.0)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert KeptTimes(a_job()).of("stacked", 1, 2, lambda: 2.0) == 2.0


def test_threads_have_times_of_their_own():
    kept = KeptTimes(a_job())
    assert kept.of("stacked", 1, 1, lambda: 1.0) == 1.0
    assert kept.of("stacked", 1, 2, lambda: 2.0) == 2.0
    assert kept.of("stacked", 1, 1, lambda: 3.0) == 1.0


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"null", b'{"milliseconds": 3}'),
        *(
            b'{"milliseconds": {"stacked x 1 on 1": ' + value + b"}}"
            for value in (b'"x"', b'"5"', b"true", b"-1", b"0", b"NaN", b"Infinity", b"1e300", b"1e-300", b"1" * 400)
        ),
    ],
)
def test_a_damaged_file_counts_as_none(content: bytes, times_folder: Path):
    KeptTimes(a_job()).of("stacked", 1, 1, lambda: 1.0)
    (path,) = times_folder.iterdir()
    path.write_bytes(content)
    assert KeptTimes(a_job()).of("stacked", 1, 1, lambda: 2.0) == 2.0
    assert json.loads(path.read_text())["milliseconds"] == {"stacked x 1 on 1": 2.0}


def test_a_folder_that_cannot_be_written_is_one_line(times_folder: Path, caplog: pytest.LogCaptureFixture):
    times_folder.parent.mkdir(parents=True)
    times_folder.write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        kept = KeptTimes(a_job())
        assert [kept.of("stacked", rows, 1, lambda: 1.0) for rows in (1, 2, 1)] == [1.0, 1.0, 1.0]
    (line,) = [record.getMessage() for record in caplog.records]
    assert str(times_folder) in line
    assert "\n" not in line


def test_times_of_a_busy_machine_are_not_kept(monkeypatch: pytest.MonkeyPatch, times_folder: Path):
    monkeypatch.setattr("lab.lanes.speed.contention.Contention.is_quiet", lambda watch: False)
    assert KeptTimes(a_job()).of("stacked", 1, 1, lambda: 1.0) == 1.0
    assert not times_folder.exists()


def test_a_quiet_time_does_not_take_a_busy_one_along(monkeypatch: pytest.MonkeyPatch, times_folder: Path):
    quiet = iter([False, True])
    monkeypatch.setattr("lab.lanes.speed.contention.Contention.is_quiet", lambda watch: next(quiet))
    kept = KeptTimes(a_job())
    assert [kept.of("stacked", rows, 1, lambda: 1.0) for rows in (1, 2, 1)] == [1.0, 1.0, 1.0]
    (path,) = times_folder.iterdir()
    assert json.loads(path.read_text())["milliseconds"] == {"stacked x 2 on 1": 1.0}


def test_no_home_is_no_matter(monkeypatch: pytest.MonkeyPatch):
    def homeless() -> Any:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    assert KeptTimes(a_job()).of("stacked", 1, 1, lambda: 1.0) == 1.0
